"""The training that a command line asks for: a new run, or a resumed one with its own settings."""

import dataclasses
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import ConfigError
from lab.cli.progress import TrainingProgress
from lab.cli.recipes import RunFlags
from lab.runs import RECORDS, Run, RunConfig, find_checkpoint, run_device, saved_config
from lab.store import RUNS_ROOT
from lab.train import open_group


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The run that `--resume` names."""

    path: Path
    """Its checkpoint."""
    config: RunConfig
    """The settings that it was started with."""


def find_resumed(request: str, save_dir: str) -> Resumed:
    """The run behind `--resume request`; `save_dir` is the folder of runs, empty for the usual one.

    Raises:
        CheckpointError: there is none.
    """
    path = find_checkpoint(request, save_dir or RUNS_ROOT)
    return Resumed(path=path, config=saved_config(path))


def execute(given: RunConfig, plain: RunConfig, flags: RunFlags, resumed: Resumed | None) -> int:
    """Train and print the report; the exit code.

    Args:
        given: the settings that the command line describes.
        plain: those of a command line without options.
        flags: where the run lies and how its report is printed.
        resumed: the run that goes on, with its own settings.
    """
    config = given if resumed is None else _resumed(given, plain, resumed.config)
    with open_group(run_device(config)) as group, ExitStack() as stack:
        training = Run(
            config,
            save_dir=flags.save_dir,
            name=flags.name,
            resume=None if resumed is None else resumed.path,
            extend=flags.extend,
            allow_different_bits=flags.allow_different_bits,
            observer=stack.enter_context(TrainingProgress()) if group.rank == 0 else None,
            group=group,
        )
        report = training.execute()
        if group.rank > 0:
            return 0
    sys.stdout.write((report.to_json() if flags.json else str(report)) + "\n")
    return 0


def _resumed(given: RunConfig, plain: RunConfig, saved: RunConfig) -> RunConfig:
    """The saved settings; options may repeat them, other values are refused."""
    different = [
        f"{name} {value} for {saved_value}"
        for name, value, default, saved_value in _settings(given, plain, saved)
        if value not in (default, saved_value)
    ]
    if given.recipe != saved.recipe:
        different.insert(0, f"recipe {given.recipe} for {saved.recipe}")
    if different:
        raise ConfigError(
            "the settings that the run was started with", ", ".join(different), "remove these flags to resume"
        )
    return saved


def _settings(given: RunConfig, plain: RunConfig, saved: RunConfig) -> list[tuple[str, Any, Any, Any]]:
    rows: list[tuple[str, Any, Any, Any]] = []
    parts: list[tuple[Any, Any, Any]] = [(given, plain, saved)]
    parts += [tuple(getattr(each, name) for each in (given, plain, saved)) for name in RECORDS if name != "monitor"]
    for one, two, three in parts:
        for item in dataclasses.fields(one):
            if item.name not in RECORDS or one is not given:
                rows.append((item.name, *(getattr(part, item.name) for part in (one, two, three))))
    return rows
