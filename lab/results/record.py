"""Pieces of a long measurement: one JSON for each, written whole, and found again by a repeated call."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lab.base import ConfigError
from lab.store import translate_piece


class Records:
    """JSON files of one measurement in one folder; a piece belongs to the settings that it was measured with.

    Args:
        folder: where the files lie; made where it is absent.
        settings: what the pieces depend on, as JSON data.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        # As they come back from a file, where tuples are lists: `read` compares the two.
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("a folder that can be written", str(error), "give another --folder") from error

    def read(self, name: str) -> dict[str, Any] | None:
        """The piece `name`; None where it is not there yet.

        Raises:
            ConfigError: it is damaged, or was measured with other settings.
        """
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        try:
            data: dict[str, Any] = translate_piece(json.loads(path.read_text(encoding="utf-8")))
            settings = data.pop("settings")
        except (ValueError, KeyError, AttributeError) as error:
            raise ConfigError(f"a piece of this measurement in {path}", str(error), "remove that file") from error
        differing = sorted(key for key in self.settings | settings if self.settings.get(key) != settings.get(key))
        if differing:
            raise ConfigError(
                f"a piece measured with these settings in {path}",
                f"another {', '.join(differing)}",
                "give another --folder, or the settings of that folder",
            )
        return data

    def write(self, name: str, data: dict[str, Any]) -> None:
        """Keep the piece `name`: the file is there whole or not at all, whenever the process ends."""
        path = self.folder / f"{name}.json"
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps({"settings": self.settings, **data}, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)


class Clock:
    """CPU seconds of this process against a budget; other processes on the machine do not count.

    Args:
        budget: seconds, > 0.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.began = time.process_time()

    @property
    def used(self) -> float:
        """CPU seconds since the clock was made."""
        return time.process_time() - self.began

    @property
    def share(self) -> float:
        """Used share of the budget, at most 1."""
        return min(self.used / self.budget, 1.0)

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.used >= self.budget


class Bar:
    """A bar over the pieces of a measurement.

    Args:
        progress: on which it is drawn; `progress_bar` gives one on the error stream.
        total: what the amounts of all steps add up to.
    """

    def __init__(self, progress: Progress, total: float) -> None:
        self.progress = progress
        self.task = progress.add_task("starting", total=total)

    def step(self, text: str, amount: float = 1.0) -> None:
        """Move the bar on; `text` says what comes or was done."""
        self.progress.update(self.task, advance=amount, description=text)


@contextmanager
def progress_bar(total: float) -> Iterator[Bar]:
    """A bar on the error stream; nothing is drawn where that is no terminal."""
    with make_progress(Console(stderr=True)) as progress:
        yield Bar(progress, total)


def make_progress(console: Console) -> Progress:
    """Bars with a text and the time left; nothing is drawn where `console` is no terminal, or LAB_PLAIN is set."""
    shown = console.is_terminal and not os.environ.get("LAB_PLAIN")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not shown, refresh_per_second=4)
