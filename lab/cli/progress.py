"""Progress of a run or a study on a terminal; nothing is drawn where the output is no terminal."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console

from lab.results.record import make_progress


class TerminalBar(ABC):
    """A bar on a terminal, with messages above it; where there is no terminal, the messages alone.

    Args:
        console: where to draw; the error stream by default, so that results on the output stream stay clean.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = make_progress(self.console)
        self.task = self.progress.add_task(self._begins, total=1.0)

    @property
    @abstractmethod
    def _begins(self) -> str:
        """What is shown before there is a number."""

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_text(self, text: str) -> None:
        """Say `text` above the bar."""
        # A line of a log stays one line; a terminal wraps it itself.
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class TrainingProgress(TerminalBar):
    """A bar over all steps of a run, with phase and loss."""

    @property
    def _begins(self) -> str:
        return "starting"

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


class StudyProgress(TerminalBar):
    """A bar over the trials of a study, with the best value.

    Args:
        place: said before the first trial: where the study is. Nothing is said of one that is refused.
        console: as of `TerminalBar`.
    """

    def __init__(self, place: str, console: Console | None = None) -> None:
        super().__init__(console)
        self._place = place

    @property
    def _begins(self) -> str:
        return "loading once for all trials"

    def on_trials(self, ended: int, total: int, running: int, best: float | None) -> None:
        """Move the bar."""
        if self._place:
            self.on_text(self._place)
            self._place = ""
        found = "" if best is None else f", best {best:.5g}"
        text = f"trial {ended}/{total}, {running} running{found}"
        self.progress.update(self.task, total=float(total), completed=float(ended), description=text)
