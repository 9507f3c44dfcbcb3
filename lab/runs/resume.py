"""The checkpoint that a run goes on from, and what it says of its run."""

import warnings
from pathlib import Path

from lab.base import CheckpointError
from lab.checkpoint import Checkpoint, latest_checkpoint, list_checkpoints, load_checkpoint
from lab.checkpoint.head import verify
from lab.runs.config import RunConfig
from lab.runs.report import REPORT_FILE, RunReport
from lab.store import list_runs

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints inside its own."""


def finished_report(run_dir: Path, checkpoint: Checkpoint) -> RunReport | None:
    """The report of the run at `run_dir` where it has finished and `checkpoint` is not of a later attempt.

    Raises:
        StoreError: it cannot be read.
    """
    if not (run_dir / REPORT_FILE).is_file():
        return None
    report = RunReport.read(run_dir)
    return report if report.state == "finished" and checkpoint.step <= report.steps else None


def find_checkpoint(request: str, save_dir: str | Path) -> Path:
    """The checkpoint file behind `--resume`.

    Args:
        request: latest or best (of the newest run in `save_dir` that has one), a run's folder, or a checkpoint file.

    Raises:
        CheckpointError: there is none, or none that reads whole.

    Warns:
        UserWarning: newer checkpoints are damaged and were passed over.
    """
    if request in ("latest", "best"):
        reasons = ("best",) if request == "best" else None
        for summary in list_runs(save_dir):
            folder = Path(save_dir) / summary.name / CHECKPOINTS
            if any(reasons is None or file.reason in reasons for file in list_checkpoints(folder)):
                return _latest(folder, reasons)
        raise CheckpointError(f"a run with a checkpoint in {save_dir}", "none", "start one with lab train")
    path = Path(request)
    if path.is_dir():
        folder = path if path.name == CHECKPOINTS else path / CHECKPOINTS
        return _latest(folder, None)
    load_checkpoint(path)
    return path.with_suffix(".pt")


def _latest(folder: Path, reasons: tuple[str, ...] | None) -> Path:
    _, file, passed = latest_checkpoint(folder, reasons)
    for error in passed:
        warnings.warn(f"passed over a newer checkpoint: {error}", UserWarning, stacklevel=3)
    return file.path


def saved_config(path: Path) -> RunConfig:
    """The settings of the run that a checkpoint belongs to; its tensors are verified and not read.

    Raises:
        CheckpointError: the checkpoint is damaged, or none of a training run.
    """
    base = verify(path)[0].get("base")
    if not isinstance(base, dict) or "config" not in base:
        raise CheckpointError("a checkpoint of lab train", f"{path} without settings", "give another checkpoint")
    return RunConfig.from_json(base["config"])
