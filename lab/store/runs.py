"""The folder of all runs: what is in it, and a name for the next one."""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

from lab.base import StoreError
from lab.store import launch
from lab.store.control import FOLDER as COMMANDS
from lab.store.place import RUNS_ROOT
from lab.store.reader import RunReader, RunSummary

RUN_FOLDERS = ("checkpoints", COMMANDS)
"""Folders of a run: one that has lost its files is still to be seen by them."""


def list_runs(root: Path | str = RUNS_ROOT) -> tuple[RunSummary, ...]:
    """All folders in `root`, the latest begun first; a foreign or damaged one has state unreadable and the reason.

    A run that another process has started is `starting` until it has a database, or `failed` where it ended before.

    Args:
        root: folder of runs; a folder in it whose name begins with a dot is none, and neither is one that holds
            folders alone and none of a run's, such as that of measurements.

    Raises:
        StoreError: `root` is no folder, or cannot be read; a missing one is an empty list.
    """
    folder = Path(root)
    if not folder.exists():
        return ()
    if not folder.is_dir():
        raise StoreError(f"a folder of runs at {folder}", "a file", "give the folder that holds the run folders")
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        paths = [path for path in paths if not _holds_other_folders(path)]
    except OSError as error:
        raise StoreError(f"a readable folder {folder}", str(error), "grant read permission there") from error
    found = [_summary(path) for path in paths]
    return tuple(sorted(found, key=lambda run: (-max(run.attempt_started, run.started), run.name)))


def holds_study(path: Path | str) -> bool:
    """Whether the store in the folder `path` is that of a study, whose trials are runs in folders of their own.

    What cannot be read is taken for a run, whose summary has the reason.
    """
    try:
        return isinstance(RunReader(path).config().get("study"), Mapping)
    except StoreError:
        return False


def new_run_name(root: Path | str = RUNS_ROOT, prefix: str = "run") -> str:
    """`prefix` with the local date and time, and a count where that name is taken in `root`.

    Args:
        root: folder of runs; it need not exist. The name is not reserved: another process may take it.
        prefix: how the name begins.
    """
    stem = f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}"
    name, count = stem, 1
    while (Path(root) / name).exists():
        count += 1
        name = f"{stem}-{count}"
    return name


def _summary(path: Path) -> RunSummary:
    try:
        return RunReader(path).summary()
    except StoreError as error:
        begun, found = launch.read(path), launch.state(path)
        if begun is None or found is None:
            return RunSummary(name=path.name, path=path, state="unreadable", reason=str(error), started=_changed(path))
        return RunSummary(name=path.name, path=path, state=found[0], reason=found[1], started=begun.started)


def _holds_other_folders(path: Path) -> bool:
    try:
        with os.scandir(path) as entries:
            kinds = [entry.is_dir() and entry.name not in RUN_FOLDERS for entry in entries]
    except OSError:
        # Gone since, or not ours to read: the summary says so.
        return False
    return bool(kinds) and all(kinds)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return -math.inf
