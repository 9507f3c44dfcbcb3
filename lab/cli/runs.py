"""`lab runs`: the list of runs; `lab runs show`, `report` and `restore` have modules of their own."""

import importlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.base import ConfigError, ReportTable
from lab.cli.parse import parse
from lab.cli.suggest import unknown
from lab.store import RUNS_ROOT, RunLabel, RunSummary, holds_study, list_runs, read_label

ACTIONS = ("show", "report", "restore")


@dataclass(frozen=True, kw_only=True)
class RunsCommand:
    """List the runs of a folder, newest first: running, finished, failed, stale (its process is gone), unreadable.

    lab runs show RUN shows one run; lab runs report RUN writes it as an HTML file; lab runs restore RUN makes a new run
    from a checkpoint of RUN.
    """

    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if arguments and arguments[0] in ACTIONS:
        code: int = importlib.import_module(f"lab.cli.runs_{arguments[0]}").run(arguments[1:])
        return code
    if arguments and not arguments[0].startswith("-"):
        raise unknown("an action", arguments[0], ACTIONS, "lab runs --help")
    examples = ("lab runs", "lab runs show NAME", "lab runs restore NAME --checkpoint best")
    command = parse(RunsCommand, arguments, prog="lab runs", examples=examples)
    found = list_runs(command.save_dir)
    studies = [summary.name for summary in found if holds_study(summary.path)]
    runs = [summary for summary in found if summary.name not in studies]
    labels = [read_label(summary.path) for summary in runs]
    if command.json:
        payload: list[dict[str, Any]] = [
            {**asdict(summary), "path": str(summary.path), **asdict(label)}
            for summary, label in zip(runs, labels, strict=True)
        ]
        for row in payload:
            # JSON has no infinity; an unreadable folder has no heartbeat.
            row["heartbeat_age"] = row["heartbeat_age"] if math.isfinite(row["heartbeat_age"]) else None
        sys.stdout.write(json.dumps(payload, indent=2) + "\n")
        return 0
    if not runs:
        sys.stdout.write(f"no runs in {command.save_dir}; start one with: lab train --save-dir {command.save_dir}\n")
        sys.stdout.write(_studies_text(studies, command.save_dir))
        return 0
    rows = tuple(
        (summary.name, summary.state, _number(summary.last_step), f"{summary.attempt}", _why(summary, label))
        for summary, label in zip(runs, labels, strict=True)
    )
    table = ReportTable(
        title=f"runs in {command.save_dir}", columns=("run", "state", "step", "attempt", "why, note"), rows=rows
    )
    sys.stdout.write(f"{table}\n{_studies_text(studies, command.save_dir)}")
    return 0


def _why(summary: RunSummary, label: RunLabel) -> str:
    """Why the run ended, and what a person said of it, in one line."""
    said = [summary.reason, label.title and f"title: {label.title}", label.note and f"note: {label.note}"]
    return "; ".join(" ".join(text.split()) for text in [*said, "archived" if label.archived else ""] if text)


def _studies_text(names: Sequence[str], folder: Path) -> str:
    """A line about the studies beside the runs, empty where there are none."""
    if not names:
        return ""
    return f"studies there: {', '.join(names)}; lab tune show --outdir {folder} lists them\n"


def find_run(request: str, save_dir: Path) -> Path:
    """The folder of a run, given as a folder or as a name inside `save_dir`.

    Raises:
        ConfigError: there is none.
    """
    for folder in (Path(request), save_dir / request):
        if (folder / "checkpoints").is_dir() or (folder / "events.db").is_file():
            return folder
    raise ConfigError(
        f"a run: a folder, or a name inside {save_dir}", repr(request), "lab runs lists those of --save-dir"
    )


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
