"""Progress of a training run on a terminal; nothing where the output is no terminal."""

import os
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """A bar over all steps of a run, with phase and loss; messages above it.

    Args:
        console: where to draw; the error stream by default, so that results on the output stream stay clean.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = _bar(self.console)
        self.task = self.progress.add_task("starting", total=1.0)

    def __enter__(self) -> "TrainingProgress":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_step(self, epoch: int, epochs: int, phase: str, batch: int, batches: int, loss: float) -> None:
        """Move the bar."""
        if self.progress.disable:
            return
        self.progress.update(
            self.task,
            total=float(epochs),
            completed=epoch + batch / max(batches, 1),
            description=f"epoch {epoch + 1}/{epochs} {phase} loss {loss:.3f}",
        )

    def on_text(self, text: str) -> None:
        """Say `text` above the bar."""
        # A line of a log stays one line; a terminal wraps it itself.
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class StudyProgress:
    """A bar over the trials of a study, with the best value; messages above it.

    Args:
        console: where to draw; the error stream by default, so that results on the output stream stay clean.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = _bar(self.console)
        self.task = self.progress.add_task("loading once for all trials", total=1.0)

    def __enter__(self) -> "StudyProgress":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_trials(self, ended: int, total: int, running: int, best: float | None) -> None:
        """Move the bar."""
        found = "" if best is None else f", best {best:.5g}"
        text = f"trial {ended}/{total}, {running} running{found}"
        self.progress.update(self.task, total=float(total), completed=float(ended), description=text)

    def on_text(self, text: str) -> None:
        """Say `text` above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    """A bar with a text and the time left; nothing is drawn where the console is no terminal."""
    shown = console.is_terminal and not os.environ.get("LAB_PLAIN")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not shown, refresh_per_second=4)
