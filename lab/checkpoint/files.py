"""One checkpoint on disk: `NAME.pt` for tensors, `NAME.json` that a person can read.

The `.pt` file is written first and the `.json`, which holds the SHA-256 of the `.pt` and of its own content, last; each
by temporary file, fsync and atomic rename. So a checkpoint exists exactly when its `.json` does, and a torn, changed or
exchanged half is found out.
"""

import contextlib
import hashlib
import json
import os
import pickle
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lab.base import CheckpointError, ConfigError, parse_json
from lab.checkpoint.checkpoint import SCHEMA, Checkpoint
from lab.store import translate_head, translate_state

FORMAT = "lab checkpoint"
HEAD = (
    *("sha256", "bytes", "parent", "epoch", "step", "reason"),
    *("base", "plans", "environment", "training_history"),
)
"""What every `.json` of a checkpoint has."""
HEAD_DIGEST = "head_sha256"
"""In the `.json` from form 3 on: its digest, see `head_digest`."""
FIRST_WITH_DIGEST = 3


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """A checkpoint's place and the head of its `.json`."""

    path: Path
    """The `.pt` file."""
    epoch: int
    step: int
    reason: str
    bytes: int
    digest: str
    """SHA-256 of the `.pt` file."""
    parent: str = ""
    """Digest of the checkpoint that its run last came from; empty for none."""
    written: int = 0
    """When it was written, nanoseconds since 1970: orders the checkpoints of a folder and decides nothing else."""


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
        digest = _file_digest(temporary)
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
    except OSError as error:
        raise CheckpointError(
            f"a folder that can be written: {directory}", str(error), "free space or choose another --save-dir"
        ) from error
    return _file(path, head)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint after its digest was verified; `path` is the `.pt` or the `.json` file.

    Raises:
        CheckpointError: no such file, a damaged one, one of another program or of a newer form.
    """
    path = Path(path)
    head = read_head(path)
    tensors = path.with_suffix(".pt")
    if not tensors.is_file():
        raise CheckpointError(f"the tensors beside {path.name}", f"no {tensors}", "use another checkpoint")
    if _file_digest(tensors) != head["sha256"]:
        raise CheckpointError(
            f"the tensors in {tensors} that {path.with_suffix('.json').name} was written for",
            "a damaged or changed file",
            "use an earlier checkpoint",
        )
    try:
        content = torch.load(tensors, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise CheckpointError(f"tensors in {tensors}", _first_line(error), "use an earlier checkpoint") from error
    if content.get("schema", 1) != head["schema"]:
        raise CheckpointError(
            f"one form in {tensors.name} and {path.with_suffix('.json').name}",
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
        raise CheckpointError(f"a checkpoint in {tensors}", _first_line(error), "use an earlier checkpoint") from error


def read_head(path: Path) -> dict[str, Any]:
    """The `.json` of a checkpoint.

    Raises:
        CheckpointError: no such file, damaged, of another program, or of a newer form.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise CheckpointError(
            f"a checkpoint {path.with_suffix('.pt')} with {beside.name} beside it",
            "nothing there" if not path.exists() else "a file without its .json",
            "give the path of a checkpoint that `lab train` wrote",
        )
    try:
        head = parse_json(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"readable JSON in {beside}", _first_line(error), "use another checkpoint") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError("a checkpoint that `lab train` wrote", f"a foreign file {beside}", "give another path")
    schema = head.get("schema")
    if type(schema) is not int or schema > SCHEMA:
        raise CheckpointError(f"a checkpoint of form {SCHEMA} or older", f"form {schema} in {beside}", "update lab")
    if schema >= FIRST_WITH_DIGEST and head.get(HEAD_DIGEST) != head_digest(head):
        raise CheckpointError(
            f"the head {beside.name} that was written for {path.with_suffix('.pt')}",
            "a damaged or changed one",
            "use another checkpoint; settings are changed by starting a new run",
        )
    head = translate_head(head)
    missing = set(HEAD) - set(head)
    if missing:
        raise CheckpointError("a whole checkpoint head", f"{beside} without {sorted(missing)}", "use another one")
    return head


def head_digest(head: Mapping[str, Any]) -> str:
    """SHA-256 of a head without its own digest, as JSON text with sorted keys."""
    content = {name: value for name, value in head.items() if name != HEAD_DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_file(path: Path) -> CheckpointFile:
    """Place and head of a checkpoint, its tensors not looked at; raises `CheckpointError` as `read_head`."""
    return _file(path.with_suffix(".pt"), read_head(path))


def _file(path: Path, head: dict[str, Any]) -> CheckpointFile:
    return CheckpointFile(
        path=path,
        epoch=head["epoch"],
        step=head["step"],
        reason=head["reason"],
        bytes=head["bytes"],
        digest=head["sha256"],
        parent=head["parent"],
        written=head.get("written", 0),
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


def _file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
