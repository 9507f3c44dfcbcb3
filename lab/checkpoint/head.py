"""What a checkpoint's `.json` says, and whether the `.pt` beside it holds the bytes that it tells of; without torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import CheckpointError, parse_json
from lab.checkpoint.checkpoint import SCHEMA
from lab.store import translate_head

FORMAT = "lab checkpoint"
HEAD = (
    *("sha256", "bytes", "parent", "epoch", "step", "reason"),
    *("base", "plans", "environment", "training_history"),
)
"""What every `.json` of a checkpoint has."""
HEAD_DIGEST = "head_sha256"
"""In the `.json` from format 3 on: its digest, see `head_digest`."""
FIRST_WITH_DIGEST = 3
TYPES = {**dict.fromkeys(("epoch", "step", "bytes"), int), **dict.fromkeys(("sha256", "parent", "reason"), str)}
TYPES |= {**dict.fromkeys(("base", "environment"), dict), **dict.fromkeys(("plans", "training_history"), list)}
"""Field of a head -> what it is."""


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
        raise CheckpointError(f"readable JSON in {beside}", first_line(error), "use another checkpoint") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError("a checkpoint that `lab train` wrote", f"a foreign file {beside}", "give another path")
    schema = head.get("schema")
    if type(schema) is not int or schema > SCHEMA:
        raise CheckpointError(f"a checkpoint of format {SCHEMA} or older", f"format {schema} in {beside}", "update lab")
    if schema >= FIRST_WITH_DIGEST and head.get(HEAD_DIGEST) != head_digest(head):
        raise CheckpointError(
            f"the head {beside.name} that was written for {path.with_suffix('.pt')}",
            "a damaged or changed one",
            "use another checkpoint; for other settings start a new run",
        )
    head = translate_head(head)
    missing = set(HEAD) - set(head)
    if missing:
        raise CheckpointError("a complete checkpoint head", f"{beside} without {sorted(missing)}", "use another one")
    wrong = [name for name, kind in TYPES.items() if type(head[name]) is not kind]
    if wrong:
        raise CheckpointError("a checkpoint head of the known form", f"another {wrong} in {beside}", "use another one")
    return head


def head_digest(head: Mapping[str, Any]) -> str:
    """SHA-256 of a head without its own digest, as JSON text with sorted keys."""
    content = {name: value for name, value in head.items() if name != HEAD_DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_file(path: Path) -> CheckpointFile:
    """Place and head of a checkpoint, its tensors not looked at; raises `CheckpointError` as `read_head`."""
    return describe_file(path.with_suffix(".pt"), read_head(path))


def describe_file(path: Path, head: dict[str, Any]) -> CheckpointFile:
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


def verify(path: Path) -> tuple[dict[str, Any], Path]:
    """The head of a checkpoint and its `.pt`, whose bytes are those that were written.

    Raises:
        CheckpointError: no such file, a damaged one, one of another program or of a newer form.
    """
    head = read_head(path)
    tensors = path.with_suffix(".pt")
    if not tensors.is_file():
        raise CheckpointError(f"the tensors beside {path.name}", f"no {tensors}", "use another checkpoint")
    if file_digest(tensors) != head["sha256"]:
        raise CheckpointError(
            f"the tensors in {tensors} that {path.with_suffix('.json').name} was written for",
            "a damaged or changed file",
            "use an earlier checkpoint",
        )
    return head, tensors


def file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
