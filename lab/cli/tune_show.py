"""`lab tune show`: one study, or the list of them; needs neither Optuna nor torch."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.base import ConfigError, LabError, ReportTable
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.store import list_runs
from lab.tune import StudyReport
from lab.tune.config import STUDIES_ROOT


@dataclass(frozen=True, kw_only=True)
class TuneShowCommand:
    """Print a study: how far it is, its best trials, what matters, what failed; without STUDY, list the studies."""

    study: str = field(default="", metadata={POSITIONAL: True})
    """Name of a study in --outdir, or its folder."""
    outdir: Path = STUDIES_ROOT
    """Folder of studies."""
    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab tune show", "lab tune show NAME", "lab tune show studies/NAME --json")
    command = parse(TuneShowCommand, arguments, prog="lab tune show", examples=examples)
    if command.study:
        report = StudyReport.read(find_study(command.study, command.outdir))
        sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
        return 0
    found = [_readable(summary.path) for summary in list_runs(command.outdir)]
    reports = [each for each in found if each is not None]
    if command.json:
        sys.stdout.write(json.dumps([report.to_dict() for report in reports], indent=2) + "\n")
        return 0
    if not reports:
        sys.stdout.write(f"no studies in {command.outdir}; begin one with: lab tune --search FIELD=low:high\n")
        return 0
    rows = tuple(
        (each.name, each.state, f"{each.counts()['logical']} of {each.n_trials}", ", ".join(each.objectives))
        for each in reports
    )
    columns = ("study", "state", "trials", "objectives")
    sys.stdout.write(f"{ReportTable(title=f'studies in {command.outdir}', columns=columns, rows=rows)}\n")
    return 0


def find_study(name: str, outdir: Path = STUDIES_ROOT) -> Path:
    """The folder of the study `name`: a folder, or a name in `outdir`.

    Raises:
        ConfigError: there is none.
    """
    for folder in (Path(name), outdir / name):
        if (folder / "events.db").is_file():
            return folder
    raise ConfigError(f"a study's folder, or its name in {outdir}", repr(name), "lab tune show lists the studies")


def _readable(folder: Path) -> StudyReport | None:
    """The study in a folder; None for the folder of anything else."""
    try:
        return StudyReport.read(folder)
    except LabError:
        return None
