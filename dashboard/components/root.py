"""Where the runs lie: `--root PATH` behind the script's name, else the environment variable LAB_RUNS, else `runs`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.base import ConfigError
from lab.store import RUNS_ROOT


def runs_root(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of all runs.

    Raises:
        ConfigError: `--root` without a path behind it.
    """
    words = list(arguments)
    for place, word in enumerate(words):
        if word.startswith("--root="):
            return Path(word.removeprefix("--root="))
        if word == "--root":
            if place + 1 == len(words):
                raise ConfigError("a path behind --root", "nothing", "write --root PATH")
            return Path(words[place + 1])
    return Path(environment.get("LAB_RUNS") or RUNS_ROOT)


def run_folders(root: Path) -> frozenset[str]:
    """Names of the folders in `root`; a cheap way to see that a run has come or gone."""
    if not root.is_dir():
        return frozenset()
    with os.scandir(root) as entries:
        return frozenset(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
