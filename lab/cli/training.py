"""The training that a command line asks for: a new run, or a resumed one with its own settings."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import ConfigError
from lab.cli.budget import parse_budget
from lab.cli.progress import TrainingProgress
from lab.cli.recipes import PlannedRunFlags, RunFlags
from lab.runs import (
    RECORDS,
    Exporter,
    Planned,
    Run,
    RunConfig,
    TensorBoardExporter,
    TrackioExporter,
    find_checkpoint,
    plan_run,
    run_device,
    saved_config,
)
from lab.runs.plan import WIDTHS
from lab.store import RUNS_ROOT, check_new_run
from lab.train import open_group

BUDGET = "2m"
"""What a run may spend where the command line says nothing of its length."""
PHASES = ("warmup_epochs", "arch_training_epochs", "weight_training_epochs", "total_cycles", "retraining_epochs")
"""Settings of a search that give its length."""
EXPORTERS: Mapping[str, type[Exporter]] = MappingProxyType(
    {"tensorboard": TensorBoardExporter, "trackio": TrackioExporter}
)
"""Name after `--export` -> the tool."""


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


def execute(given: RunConfig, plain: RunConfig, command: Any, resumed: Resumed | None) -> int:
    """Plan, train and print the report; the exit code.

    Args:
        given: the settings that the command line describes.
        plain: those of a command line without options.
        command: the command line itself: where the run lies, what it may spend, how its report is printed.
        resumed: the run that goes on, with its own settings.
    """
    flags: RunFlags = command.run
    if resumed is not None and isinstance(flags, PlannedRunFlags) and (flags.budget or flags.plan):
        got = f"--budget {flags.budget}" if flags.budget else "--plan"
        raise ConfigError("the plan that the run was started with", got, "remove it; --extend EPOCHS lengthens a run")
    config = given if resumed is None else _resumed(given, plain, resumed.config)
    if resumed is None and flags.name:
        # A plan takes seconds.
        check_new_run(flags.save_dir, flags.name)
    exporters = [exporter() for exporter in chosen(flags.export)]
    with open_group(run_device(config)) as group, ExitStack() as stack:
        planned = None
        if resumed is None and isinstance(flags, PlannedRunFlags):
            # One rank measures: seconds differ between processes.
            planned = group.broadcast(
                plan(given, plain, flags, command.network.init_channels) if group.rank == 0 else None
            )
            config = planned.config if planned is not None else _fitted(given, plain)
            if flags.plan and planned is not None:
                if group.rank == 0:
                    sys.stdout.write((planned.plan.to_json() if flags.json else str(planned.plan)) + "\n")
                return 0
        training = Run(
            config,
            save_dir=flags.save_dir,
            name=flags.name,
            resume=None if resumed is None else resumed.path,
            extend=flags.extend,
            allow_different_bits=flags.allow_different_bits,
            planned=planned,
            observer=stack.enter_context(TrainingProgress()) if group.rank == 0 else None,
            group=group,
            exporters=exporters,
        )
        report = training.execute()
        if group.rank > 0:
            return 0
    sys.stdout.write((report.to_json() if flags.json else str(report)) + "\n")
    return 0


def chosen(names: Sequence[str]) -> list[type[Exporter]]:
    """The tools behind `--export`.

    Raises:
        ConfigError: another name.
    """
    for name in names:
        if name not in EXPORTERS:
            raise ConfigError(f"--export with {' or '.join(EXPORTERS)}", repr(name), "give one of these, or both")
    return [EXPORTERS[name] for name in dict.fromkeys(names)]


def plan(given: RunConfig, plain: RunConfig, flags: PlannedRunFlags, width: int | None) -> Planned | None:
    """Width and length for the budget; None where the command line gives the length itself.

    Args:
        given: the settings that the command line describes.
        plain: those of a command line without options.
        flags: the budget.
        width: channels of the first stage that the command line gives; None for a planned width.

    Raises:
        ConfigError: a budget beside a length, or in another form.
    """
    lengths = [*(["epochs"] if given.epochs is not None else []), *_stated_phases(given, plain)]
    if lengths and (flags.budget or flags.plan):
        got = ", ".join(f"--{name.replace('_', '-')}" for name in lengths)
        raise ConfigError("a budget to plan for, or a length", f"a plan beside {got}", "give one of the two")
    if lengths:
        return None
    return plan_run(given, parse_budget(flags.budget or BUDGET), widths=WIDTHS if width is None else (width,))


def _stated_phases(given: RunConfig, plain: RunConfig) -> list[str]:
    return [name for name in PHASES if getattr(given.search, name) != getattr(plain.search, name)]


def _fitted(given: RunConfig, plain: RunConfig) -> RunConfig:
    """A search whose length alone was given has phases that fit it."""
    if given.recipe != "aso-se" or given.epochs is None or _stated_phases(given, plain):
        return given
    return dataclasses.replace(given, search=given.search.fitted(given.epochs))


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
