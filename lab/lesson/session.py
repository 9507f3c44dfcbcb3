"""What a lesson runs on: versions, seed, device, threads."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

import lab
from lab.base import ReportTable, require_range
from lab.device import choose_device
from lab.lesson.report import LessonReport

PACKAGES = ("torch", "numpy", "plotly")


@dataclass(frozen=True, kw_only=True, repr=False)
class Session(LessonReport):
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

    def tables(self) -> tuple[ReportTable, ...]:
        """One line for each fact."""
        rows = [(name, number) for name, number in self.versions.items()]
        rows += [("device", f"{self.device}: {self.reason}"), ("seed", str(self.seed)), ("threads", str(self.threads))]
        return (ReportTable(title="This session", columns=("what", "value"), rows=tuple(rows)),)


def set_up(seed: int = 0, device: str = "auto", threads: int = 1) -> Session:
    """Seed torch on every device, set its CPU threads and tell what this session runs on.

    Args:
        seed: >= 0, for `torch.manual_seed`.
        device: as for `lab.device.choose_device`.
        threads: CPU threads of one operation, >= 1. A lesson's networks are so small that more than one costs time,
            and very much time beside another process that trains.

    Raises:
        ConfigError: a negative seed, or no thread.
        PlacementError: a device that this machine does not have.
    """
    require_range("seed", seed, 0, 2**63 - 1)
    require_range("threads", threads, 1)
    choice = choose_device(device)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    versions = {"python": platform.python_version(), "lab": lab.__version__}
    versions |= {name: version(name) for name in PACKAGES}
    return Session(
        device=choice.device, reason=choice.reason, seed=seed, threads=torch.get_num_threads(), versions=versions
    )
