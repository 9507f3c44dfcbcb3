"""What a run's bits depend on besides its settings."""

import platform
from typing import Any

import torch

from lab.base import CheckpointError


def read_environment(device: torch.device) -> dict[str, Any]:
    """Versions, processor, device and threads, as JSON data."""
    return {
        "torch": torch.__version__,
        "device": str(device),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "workers": 0,
        "compiled": False,
    }


def check_environment(recorded: dict[str, Any], present: dict[str, Any], *, allow_different_bits: bool) -> None:
    """Refuse to resume where the bits may differ.

    Raises:
        CheckpointError: something differs and different bits were not allowed.
    """
    # A fact that the checkpoint does not state counts as different.
    different = [name for name in present if recorded.get(name) != present[name]]
    if different and not allow_different_bits:
        got = ", ".join(f"{name} {recorded.get(name)} -> {present[name]}" for name in different)
        raise CheckpointError(
            "the machine, versions and threads that the checkpoint was made with",
            got,
            "resume there, or give --allow-different-bits",
        )


def _processor() -> str:
    try:
        # Kernels are chosen by the model; platform.processor() on Linux names the architecture alone.
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            facts = dict(line.split(":", 1) for line in handle if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    described = {name.strip(): value.strip() for name, value in facts.items()}
    return " ".join(described.get(name, "") for name in ("model name", "cpu family", "model")).strip()
