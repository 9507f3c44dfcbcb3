"""What a study is, and how one machine works on it: two frozen records.

`StudyConfig` holds what all machines of a study share and what its fingerprint is made of; `WorkConfig` what each
machine decides for itself. Nothing here imports torch or Optuna.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab import __version__
from lab.base import ConfigError, StudyError, require, require_choice, require_range
from lab.tune.dimension import Dimension

OBJECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "maximize",
        "loss": "minimize",
        "parameters": "minimize",
        "flops": "minimize",
        "latency": "minimize",
        "seconds": "minimize",
    }
)
"""Objective of a run -> its direction. Accuracy and loss are those of the selection split, never of the test split."""
REPORTED = ("accuracy", "loss")
"""Objectives that a run reports after each epoch, by which a trial can be pruned."""
SAMPLERS = ("tpe", "nsga2", "random", "grid", "gp")
PRUNERS = ("hyperband", "none")
DIRECTIONS = ("minimize", "maximize")
STUDIES_ROOT = Path("studies")
"""Folder of studies where none is named."""
RUN_TARGET = "lab.tune.evaluate:evaluate_run"
"""What evaluates a trial that is a run of `lab train`."""
MACHINE_FIELDS = ("devices", "threads", "workers")
"""Settings of a run that may differ between the machines of a study."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study, whole."""

    name: str
    """Its name: letters, digits, `.`, `_`, `-`."""
    dimensions: tuple[Dimension, ...]
    """What is searched, at least one field."""
    base: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every trial as JSON data, but for the searched ones; those of `RunConfig` for a run."""
    objectives: tuple[str, ...] = ("accuracy",)
    """Names of what is optimized, at least one."""
    directions: tuple[str, ...] = ("maximize",)
    """minimize or maximize, one for each objective."""
    sampler: str = "tpe"
    """tpe, nsga2, random, grid (ranges give `grid_points` values each) or gp."""
    grid_points: int = 3
    """Values that sampler grid takes of a range, evenly spaced, >= 2."""
    pruner: str = ""
    """hyperband or none; empty for hyperband where one reported objective is optimized, none elsewhere."""
    patience: int = 0
    """Reports without improvement that a trial may have before the pruner is asked, >= 0; 0 asks it always."""
    epochs: int = 10
    """Reports that a trial makes at most, >= 1; Hyperband's largest budget."""
    retries: int = 1
    """Further attempts of a trial after failures that are counted, >= 0."""
    seed: int = 0
    """Seed of the sampler, >= 0."""
    target: str = RUN_TARGET
    """MODULE:FUNCTION that evaluates a trial: `function(task, report)` gives {objective: value}."""

    def __post_init__(self) -> None:
        require(bool(self.dimensions), expected="a searched field", got="none", hint="name one with --search")
        require(bool(self.objectives), expected="an objective", got="none", hint="name one with --objectives")
        for direction in self.directions:
            require_choice("directions", direction, DIRECTIONS)
        require(
            len(self.directions) == len(self.objectives) == len(set(self.objectives)),
            expected="one direction for each objective, none twice",
            got=f"{', '.join(self.objectives)} and {', '.join(self.directions)}",
            hint="give as many of both",
        )
        require_choice("sampler", self.sampler, SAMPLERS)
        require_choice("pruner", self.pruner, ("", *PRUNERS))
        for name, low in (("patience", 0), ("epochs", 1), ("retries", 0), ("seed", 0), ("grid_points", 2)):
            require_range(name, getattr(self, name), low)
        require(
            self.pruner != "hyperband" or (len(self.objectives) == 1 and self._reports),
            expected="one objective that is reported after each epoch, for pruning",
            got=", ".join(self.objectives),
            hint="give --pruner none",
        )

    @property
    def _reports(self) -> bool:
        return self.target != RUN_TARGET or self.objectives[0] in REPORTED

    @property
    def prunes(self) -> bool:
        """Whether trials are pruned."""
        return self.pruner == "hyperband" or (not self.pruner and len(self.objectives) == 1 and self._reports)

    def to_json(self) -> dict[str, Any]:
        """The study as JSON data."""
        data = {**dataclasses.asdict(self), "dimensions": [each.to_json() for each in self.dimensions]}
        # As it comes back from a file, where tuples are lists.
        found: dict[str, Any] = json.loads(json.dumps(data))
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StudyConfig":
        """The study that `to_json` wrote.

        Raises:
            ConfigError: other fields, or values outside their range.
        """
        try:
            dimensions = tuple(Dimension.from_json(each) for each in data["dimensions"])
            lists = {name: tuple(data[name]) for name in ("objectives", "directions")}
            return cls(**{**data, **lists, "dimensions": dimensions})
        except (TypeError, KeyError) as error:
            raise ConfigError("the settings of a study as lab tune saved them", str(error), "check the file") from error

    def fingerprint(self) -> dict[str, str]:
        """What must be equal for two supervisors to work on one study: name of a part -> its text or digest."""
        base = {key: value for key, value in self.base.items() if key not in (*MACHINE_FIELDS, "data")}
        return {
            "space": "; ".join(sorted(map(str, self.dimensions))),
            "objectives": ", ".join(f"{n} {d}" for n, d in zip(self.objectives, self.directions, strict=True)),
            "sampler": f"{self.sampler}, seed {self.seed}, {self.grid_points} values of a range",
            "pruner": f"{'hyperband' if self.prunes else 'none'}, patience {self.patience}, {self.epochs} epochs",
            "data": _digest(self.base.get("data", {})) + _file_digest(self.base.get("data", {}).get("name", "")),
            "settings": _digest(base),
            "evaluation": self.target,
            "code": __version__,
        }


@dataclass(frozen=True, kw_only=True)
class WorkConfig:
    """How one machine works on a study."""

    outdir: Path = STUDIES_ROOT
    """Folder of studies; the study's own folder in it holds its events and the trials' runs."""
    storage: str = ""
    """journal:FILE, sqlite:FILE or postgresql://...; empty for journal.log in the study's folder."""
    n_trials: int = 20
    """Logical trials that the study is to have, >= 1, those of earlier calls counted."""
    parallel: int = 1
    """Children that evaluate at once, >= 1."""
    trial_timeout: float = 0.0
    """Seconds that a trial may take, >= 0; 0 for no limit."""
    heartbeat: float = 5.0
    """Seconds between two beats of a supervisor in a storage of several machines, > 0."""
    grace: float = 30.0
    """Seconds without a beat after which a supervisor on another machine counts as dead, > 2 heartbeats."""
    resume: bool = False
    """Go on with a study that is there; else it must not exist."""

    def __post_init__(self) -> None:
        require_range("n_trials", self.n_trials, 1)
        require_range("parallel", self.parallel, 1)
        require_range("trial_timeout", self.trial_timeout, 0)
        require_range("heartbeat", self.heartbeat, 0, open_low=True)
        require_range("grace", self.grace, 2 * self.heartbeat, open_low=True)


def check_fingerprint(stored: Mapping[str, str], own: Mapping[str, str], name: str) -> None:
    """Refuse to work on a study of another kind.

    Raises:
        StudyError: the parts that differ, in one line.
    """
    different = [key for key in sorted({*stored, *own}) if stored.get(key) != own.get(key)]
    if different:
        expected = "; ".join(f"{key}: {stored.get(key, 'nothing')}" for key in different)
        got = "; ".join(f"{key}: {own.get(key, 'nothing')}" for key in different)
        raise StudyError(f"study {name} with {expected}", got, "give the study's own settings, or another --study")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _file_digest(name: str) -> str:
    """Digest of a data file that is given by its path; empty for data sets that are named."""
    path = Path(name)
    if not name or not path.is_file():
        return ""
    with path.open("rb") as handle:
        return f"+{hashlib.file_digest(handle, 'sha256').hexdigest()[:12]}"
