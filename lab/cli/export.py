"""`lab export`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lab.export
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.cli.runs import find_run
from lab.store import RUNS_ROOT


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Export the evolved network of a run to files that load without lab.

    pt2: torch.export.load(PATH).module(). onnx: onnxruntime and others (needs the extra export). state: a state dict
    and the source of a plain module that needs only torch. A .json file beside each describes the input.
    """

    run: str = field(metadata={POSITIONAL: True})
    """The run: its folder, or its name inside --save-dir."""
    to: str
    """pt2, onnx or state."""
    checkpoint: str = "latest"
    """latest, best, last (the end of the run) or the path of a checkpoint."""
    out: Path | None = None
    """File to write; default: export/network.* in the run's folder."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    json: bool = False
    """Print the report as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab export NAME --to onnx", "lab export runs/NAME --to state --checkpoint best")
    command = parse(ExportCommand, arguments, prog="lab export", examples=examples)
    run_dir = find_run(command.run, command.save_dir)
    report = lab.export.export_run(run_dir, command.to, checkpoint=command.checkpoint, out=command.out)
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return 0
