"""What a lesson runs on: versions, seed, device, threads."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

import lab
from lab.base import Report, Table, require_range
from lab.device import choose_device

PACKAGES = ("torch", "numpy", "plotly")


@dataclass(frozen=True, kw_only=True)
class Session(Report):
    """Versions, seed and device of a lesson."""

    device: torch.device
    """Where the lesson computes."""
    reason: str
    """Why this device."""
    seed: int
    """Seed that torch's generators were set to."""
    threads: int
    """Threads of one operation on the CPU."""
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Every field, the device as text."""
        return {
            "device": str(self.device),
            "reason": self.reason,
            "seed": self.seed,
            "threads": self.threads,
            "versions": dict(self.versions),
        }

    def tables(self) -> tuple[Table, ...]:
        """One line for each fact."""
        rows = [(name, number) for name, number in self.versions.items()]
        rows += [("device", f"{self.device}: {self.reason}"), ("seed", str(self.seed)), ("threads", str(self.threads))]
        return (Table(title="This session", columns=("what", "value"), rows=tuple(rows)),)


def set_up(seed: int = 0, device: str = "auto") -> Session:
    """Seed torch on every device and tell what this session runs on.

    Args:
        seed: >= 0, for `torch.manual_seed`.
        device: as for `lab.device.choose_device`.

    Raises:
        ConfigError: a negative seed.
        PlacementError: a device that this machine does not have.
    """
    require_range("seed", seed, 0, 2**63 - 1)
    choice = choose_device(device)
    torch.manual_seed(seed)
    versions = {"python": platform.python_version(), "lab": lab.__version__}
    versions |= {name: version(name) for name in PACKAGES}
    return Session(
        device=choice.device, reason=choice.reason, seed=seed, threads=torch.get_num_threads(), versions=versions
    )
