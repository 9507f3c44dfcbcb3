"""One checkpoint on disk: `NAME.pt` for tensors, `NAME.json` that a person can read.

The `.pt` file is written first and the `.json`, which holds the SHA-256 of the `.pt` and of its own content, last; each
by temporary file, fsync and atomic rename. So a checkpoint exists exactly when its `.json` does, and a torn, changed or
exchanged half is found out.
"""

import contextlib
import json
import os
import pickle
import time
import zipfile
from pathlib import Path

import torch

from lab.base import CheckpointError, ConfigError
from lab.checkpoint.checkpoint import SCHEMA, Checkpoint
from lab.checkpoint.folder import list_checkpoints, unreadable_heads
from lab.checkpoint.head import (
    FORMAT,
    HEAD_DIGEST,
    CheckpointFile,
    describe_file,
    file_digest,
    first_line,
    head_digest,
    verify,
)
from lab.store import translate_state


def save_checkpoint(directory: str | Path, checkpoint: Checkpoint, *, name: str = "") -> CheckpointFile:
    """Write `checkpoint` into `directory` under a new name; existing files are not touched.

    Args:
        name: the files' name without suffix, in place of one made of step and reason; one that is there is replaced.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    directory = Path(directory)
    stem = f"step_{checkpoint.step:08d}_{checkpoint.reason}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        serial = 0
        while (directory / f"{stem}_{serial:03d}.json").exists():
            serial += 1
        path = directory / f"{name or f'{stem}_{serial:03d}'}.pt"
        temporary = path.with_suffix(".pt.tmp")
        with temporary.open("wb") as handle:
            torch.save({"format": FORMAT, "schema": SCHEMA, "state": checkpoint.state}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        digest = file_digest(temporary)
        size = temporary.stat().st_size
        # A head without its tensors' digest would be a damaged checkpoint: while one is replaced there is none.
        path.with_suffix(".json").unlink(missing_ok=True)
        os.replace(temporary, path)
        head = {
            "format": FORMAT,
            "schema": SCHEMA,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "reason": checkpoint.reason,
            "sha256": digest,
            "bytes": size,
            "parent": checkpoint.parent,
            "written": time.time_ns(),
            "base": checkpoint.base,
            "plans": list(checkpoint.plans),
            "environment": checkpoint.environment,
            "training_history": list(checkpoint.training_history),
        }
        head[HEAD_DIGEST] = head_digest(head)
        _write_text(path.with_suffix(".json"), json.dumps(head, indent=1))
        _sync_folder(directory)
    except (OSError, RuntimeError) as error:
        # Torch's own writer reports a full disk as a RuntimeError with the name of its file in it.
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        for left in directory.glob("*.tmp"):
            with contextlib.suppress(OSError):
                left.unlink()
        # What failed stands behind torch's own error, which says where the file was left.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(
            f"a folder that can be written: {directory}",
            first_line(cause),
            "free space or choose another --save-dir",
        ) from error
    return describe_file(path, head)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint after its digest was verified; `path` is the `.pt` or the `.json` file.

    Raises:
        CheckpointError: no such file, a damaged one, one of another program or of a newer form.
    """
    head, tensors = verify(Path(path))
    try:
        # To the CPU, since the machine that reads may lack the GPU; only weights, since a pickle can run code.
        content = torch.load(tensors, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise CheckpointError(f"tensors in {tensors}", first_line(error), "use an earlier checkpoint") from error
    if content.get("schema", 1) != head["schema"]:
        raise CheckpointError(
            f"one format in {tensors.name} and {tensors.with_suffix('.json').name}",
            f"{content.get('schema', 1)} and {head['schema']}",
            "use an earlier checkpoint",
        )
    try:
        return Checkpoint(
            base=head["base"],
            state=translate_state(content["state"]),
            epoch=head["epoch"],
            step=head["step"],
            reason=head["reason"],
            plans=tuple(head["plans"]),
            training_history=tuple(head["training_history"]),
            environment=head["environment"],
            parent=head["sha256"],
        )
    except (TypeError, KeyError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"a checkpoint in {tensors}", first_line(error), "use an earlier checkpoint") from error


def latest_checkpoint(
    directory: str | Path, reasons: tuple[str, ...] | None = None
) -> tuple[Checkpoint, CheckpointFile, tuple[CheckpointError, ...]]:
    """The last checkpoint that reads whole, its file, and what was wrong with the newer ones that were passed over.

    Args:
        reasons: only checkpoints made for one of these.

    Raises:
        CheckpointError: there is no good one.
    """
    passed = unreadable_heads(directory)
    for file in reversed(list_checkpoints(directory)):
        if reasons is not None and file.reason not in reasons:
            continue
        try:
            return load_checkpoint(file.path), file, tuple(passed)
        except CheckpointError as error:
            passed.append(error)
    raise CheckpointError(
        f"a readable checkpoint in {directory}",
        f"{len(passed)} damaged ones" if passed else "none",
        "start a new run",
    )


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _sync_folder(directory: Path) -> None:
    # Not every file system lets a folder be synced; the files themselves are.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
