"""`lab runs restore`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lab.checkpoint
import lab.export
import lab.state
from lab.base import CheckpointError
from lab.checkpoint import Checkpoint, CheckpointFile
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.cli.runs import find_run
from lab.store import RUNS_ROOT, AlertEvent, CheckpointEvent, RunWriter, new_run_name


@dataclass(frozen=True, kw_only=True)
class RestoreCommand:
    """Make a new run from a checkpoint of an old one, which is not changed.

    The first checkpoint of the new run is a verified copy; lab train --resume FOLDER continues from it.
    """

    run: str = field(metadata={POSITIONAL: True})
    """The old run: its folder, or its name inside --save-dir."""
    checkpoint: str = "latest"
    """latest, best, last (the end of the run) or the path of a checkpoint."""
    name: str = ""
    """Folder of the new run inside --save-dir; default: date and time."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    command = parse(
        RestoreCommand,
        arguments,
        prog="lab runs restore",
        examples=("lab runs restore NAME", "lab runs restore NAME --checkpoint best --name again"),
    )
    source = lab.export.choose_checkpoint(find_run(command.run, command.save_dir), command.checkpoint)
    name = command.name or new_run_name(command.save_dir, "restored")
    copy = restore_run(source, command.save_dir, name)
    payload: dict[str, Any] = {
        "run": str(command.save_dir / name),
        "checkpoint": str(copy.path),
        "epoch": copy.epoch,
        "step": copy.step,
        "parent": str(source.path),
        "parent_digest": copy.parent,
    }
    text = f"{payload['run']} begins at epoch {copy.epoch} of {source.path}\nlab train --resume {payload['run']}"
    sys.stdout.write((json.dumps(payload, indent=2) if command.json else text) + "\n")
    return 0


def restore_run(source: CheckpointFile, save_dir: Path, name: str) -> CheckpointFile:
    """A new run `name` whose one checkpoint is a copy of `source`, read back and compared; its place.

    Raises:
        StoreError: there is a run of that name, or the folder cannot be written.
        CheckpointError: the source does not read whole, belongs to no run of lab train, or the copy differs.
    """
    checkpoint = lab.checkpoint.load_checkpoint(source.path)
    if "config" not in checkpoint.base:
        raise CheckpointError("a checkpoint of lab train", f"{source.path} without settings", "give another checkpoint")
    with RunWriter(save_dir, name, checkpoint.base["config"]) as writer:
        copy = lab.checkpoint.save_checkpoint(writer.run_dir / "checkpoints", replace(checkpoint, reason="restored"))
        # Read back: what counts is what lies on the disk.
        if _digest(lab.checkpoint.load_checkpoint(copy.path)) != _digest(checkpoint):
            raise CheckpointError(
                f"a copy equal to {source.path}", "another state", f"remove {writer.run_dir}, try again"
            )
        text = f"from {source.path}, epoch {source.epoch}, step {source.step}"
        writer.record(0, AlertEvent(level="info", title="Restored", text=text))
        path = str(copy.path.relative_to(writer.run_dir))
        event = CheckpointEvent(path=path, reason=copy.reason, epoch=copy.epoch, bytes=copy.bytes)
        writer.record(0, event)
        # No process works on it; left open it would be stale in ten seconds.
        writer.finish("finished", f"{text}; resume with --resume {writer.run_dir}")
    return copy


def _digest(checkpoint: Checkpoint) -> str:
    return lab.state.state_digest(checkpoint.state)
