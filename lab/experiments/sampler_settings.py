"""What the experiment on samplers can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import require_choice, require_range

COMPARED: Mapping[str, str] = MappingProxyType(
    {
        "tpe": "TPE",
        "nsga2": "NSGA-II",
        "random": "random",
        "grid": "grid, 3 values of a range, in random order",
    }
)
"""Sampler -> what it is."""


@dataclass(frozen=True, kw_only=True)
class SamplersBench:
    """Settings of `lab experiment samplers`.

    Studies of one small network on digits: which sampler of `lab tune` finds the best settings in equally many trials.
    """

    samplers: tuple[str, ...] = tuple(COMPARED)
    """What is compared."""
    seeds: int = 10
    """Studies with each sampler, >= 2."""
    trials: int = 40
    """Trials of a study, >= 10; the grid has 54 points."""
    epochs: int = 3
    """Epochs of a trial, >= 1."""
    train_limit: int = 600
    """Images outside the test split, >= 100."""
    search: tuple[str, ...] = (
        "weight_lr=0.001:1:log",
        "weight_decay=1e-6:1e-2:log",
        "batch_size=16,32,64",
        "init_channels=2,4",
    )
    """The searched fields, as `lab tune --search` takes them."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/samplers")
    """Where finished studies are kept, one JSON for each; a repeated call goes on."""

    def __post_init__(self) -> None:
        for sampler in self.samplers:
            require_choice("sampler", sampler, COMPARED.keys())
        for name, low in (("seeds", 2), ("trials", 10), ("epochs", 1), ("train_limit", 100), ("threads", 1)):
            require_range(name, getattr(self, name), low)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a study depends on, beside its sampler and its seed."""
        ignored = ("samplers", "seeds", "threads", "folder")
        return {name: value for name, value in vars(self).items() if name not in ignored}
