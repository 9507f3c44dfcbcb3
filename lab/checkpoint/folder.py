"""A folder of checkpoints: list, the last good one, removal of old ones."""

from pathlib import Path

from lab.base import CheckpointError, require_range
from lab.checkpoint.head import CheckpointFile, read_file, verify


def list_checkpoints(directory: str | Path) -> tuple[CheckpointFile, ...]:
    """The checkpoints of `directory` whose head can be read, in the order of writing; an absent folder has none.

    A run that was taken up again from an earlier checkpoint writes lower steps after higher ones: those that were
    written last are the run's present.
    """
    directory = Path(directory)
    found: list[CheckpointFile] = []
    for beside in directory.glob("step_*.json"):
        try:
            file = read_file(beside)
        except CheckpointError:
            continue
        found.append(file)
    return tuple(sorted(found, key=lambda file: (file.written, file.step, file.path.name)))


def unreadable_heads(directory: str | Path) -> list[CheckpointError]:
    """What is wrong with each checkpoint that `list_checkpoints` leaves out; a `.pt` alone was never finished."""
    found = []
    for beside in sorted(Path(directory).glob("step_*.json")):
        try:
            read_file(beside)
        except CheckpointError as error:
            found.append(error)
    return found


def examine_checkpoints(directory: str | Path) -> tuple[tuple[Path, CheckpointFile | None, str], ...]:
    """Every checkpoint of `directory` read whole: its `.pt`, its head, and what is wrong with it (empty: nothing).

    Those in order come first, oldest first; the head is None where it cannot be read, or was never written because
    the writer died before.
    """
    directory = Path(directory)
    listed = list_checkpoints(directory)
    known = {file.path for file in listed}
    found: list[tuple[Path, CheckpointFile | None, str]] = [(file.path, file, fault(file.path)) for file in listed]
    others = {path.with_suffix(".pt") for path in directory.glob("step_*") if path.suffix in (".pt", ".json")}
    return (*found, *((path, None, fault(path)) for path in sorted(others - known)))


def fault(path: Path) -> str:
    """Why the checkpoint at `path` does not read whole; empty where it does."""
    try:
        verify(path)
    except CheckpointError as error:
        return str(error)
    return ""


def prune_checkpoints(directory: str | Path, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest `keep` checkpoints of each reason; the removed `.pt` paths.

    Raises:
        ConfigError: keep is below 1.
    """
    require_range("kept checkpoints", keep, 1)
    counts: dict[str, int] = {}
    removed: list[Path] = []
    for file in reversed(list_checkpoints(directory)):
        counts[file.reason] = counts.get(file.reason, 0) + 1
        if counts[file.reason] > keep:
            # The head goes first, so that no head is ever left without its tensors.
            file.path.with_suffix(".json").unlink(missing_ok=True)
            file.path.unlink(missing_ok=True)
            removed.append(file.path)
    for left in Path(directory).glob("step_*.tmp"):
        left.unlink(missing_ok=True)
    return tuple(removed)
