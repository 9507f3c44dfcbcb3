"""`lab runs`."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from lab.base import Table
from lab.store import RUNS_ROOT, list_runs


@dataclass(frozen=True, kw_only=True)
class RunsCommand:
    """List the runs of a folder, newest first: running, finished, failed, stale (its process is gone), unreadable."""

    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    command = tyro.cli(RunsCommand, args=list(arguments), prog="lab runs")
    runs = list_runs(command.save_dir)
    if command.json:
        told: list[dict[str, Any]] = [{**asdict(summary), "path": str(summary.path)} for summary in runs]
        for row in told:
            # JSON has no infinity; an unreadable folder has no heartbeat.
            row["heartbeat_age"] = row["heartbeat_age"] if math.isfinite(row["heartbeat_age"]) else None
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return 0
    if not runs:
        sys.stdout.write(f"no runs in {command.save_dir}; start one with: lab train --save-dir {command.save_dir}\n")
        return 0
    rows = tuple(
        (summary.name, summary.state, _number(summary.last_step), f"{summary.attempt}", summary.reason)
        for summary in runs
    )
    table = Table(title=f"runs in {command.save_dir}", columns=("run", "state", "step", "attempt", "why"), rows=rows)
    sys.stdout.write(f"{table}\n")
    return 0


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
