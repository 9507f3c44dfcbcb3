"""Where a run is told: to its store, or to nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lab.store import Command, Record, RunWriter, control
from lab.train.group import Group


class Sink(Protocol):
    """Takes what happens and gives what people ask."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""

    def record(self, step: int, record: Record) -> None:
        """One event."""

    def commands(self) -> tuple[Command, ...]:
        """Commands that wait; each is given once."""


class NullSink:
    """Told nothing, asked nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Forget the numbers."""

    def record(self, step: int, record: Record) -> None:
        """Forget the event."""

    def commands(self) -> tuple[Command, ...]:
        """None."""
        return ()


class StoreSink:
    """The run store: rows go to the writer, commands come from the run's folder.

    Args:
        writer: open for this run; whoever opened it closes it.
        run_dir: in which the page leaves its commands.
    """

    def __init__(self, writer: RunWriter, run_dir: Path) -> None:
        self.writer = writer
        self.scalars = writer.scalars
        self.record = writer.record
        self.commands = control.Inbox(run_dir).take


class SharedSink:
    """A rank's sink: rank 0's is told, and what people ask of it every rank gets, at the same step.

    Args:
        sink: the store on rank 0, a `NullSink` on the others.
        group: the ranks.
    """

    def __init__(self, sink: Sink, group: Group) -> None:
        self.sink = sink
        self.group = group
        self.scalars = sink.scalars
        self.record = sink.record

    def commands(self) -> tuple[Command, ...]:
        """Rank 0's commands."""
        waiting = self.sink.commands()
        # Asked at every step and nearly always empty: one number costs less than a pickled broadcast.
        return self.group.broadcast(waiting) if self.group.any(bool(waiting)) else ()


class Observer(Protocol):
    """Follows a run inside its own process, for a progress bar."""

    def on_step(self, epoch: int, epochs: int, phase: str, batch: int, batches: int, loss: float) -> None:
        """One step is done."""

    def on_text(self, text: str) -> None:
        """Something that a person should read."""


class SilentObserver:
    """Shows nothing."""

    def on_step(self, epoch: int, epochs: int, phase: str, batch: int, batches: int, loss: float) -> None:
        """Nothing."""

    def on_text(self, text: str) -> None:
        """Nothing."""
