"""A run told to another tool as well, while it trains: TensorBoard or Trackio, where they are installed.

Exact: every scalar of the run's store with its step. Events go where the tool has a place for text: TensorBoard's
Text page takes phases, changes and alerts; Trackio takes numbers alone. The run's own store stays the record: a run
goes on where a tool can no longer write, and says so.
"""

import contextlib
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lab.base import ConfigError
from lab.store import AlertEvent, Record
from lab.train import Sink

EVENTS = frozenset({"phase", "mutation", "action", "rollback", "alert"})
"""Kinds of event that are short enough to be told as text."""
FOLDER = "tensorboard"
"""Folder of TensorBoard's files inside the run's."""


class Exporter(Protocol):
    """Another tool's record of one run."""

    name: str
    """As messages call it."""
    package: str
    """What it imports."""

    def open(self, run_dir: Path, config: Mapping[str, Any], step: int | None) -> None:
        """Begin, or go on at `step`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""

    def event(self, step: int, record: Record) -> None:
        """One event of `EVENTS`."""

    def close(self) -> None:
        """Write what waits."""


class TensorBoardExporter:
    """Event files in the run's folder; `tensorboard --logdir` on the folder of runs shows them beside each other."""

    name, package = "TensorBoard", "tensorboard"

    def open(self, run_dir: Path, config: Mapping[str, Any], step: int | None) -> None:
        """A new event file; what an earlier attempt wrote from `step` on is hidden."""
        module = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(run_dir / FOLDER), purge_step=step)
        self._writer.add_text("settings", _code(dict(config)), step or 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Each number under its own name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def event(self, step: int, record: Record) -> None:
        """The event as text, under its kind."""
        self._writer.add_text(record.kind, _code(dataclasses.asdict(record)), step)

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


class TrackioExporter:
    """A run of the project `lab` in Trackio's own folder on this machine; `trackio show --project lab` shows it.

    Rows of an attempt that was killed behind its last checkpoint stay there beside those of the attempt that went on.
    """

    name, package = "Trackio", "trackio"

    def open(self, run_dir: Path, config: Mapping[str, Any], step: int | None) -> None:
        """A new run of that name, or the one that was begun."""
        module = importlib.import_module("trackio")
        # It prints a welcome to stdout, where --json promises a report alone.
        with contextlib.redirect_stdout(sys.stderr):
            self._run = module.init(
                project="lab",
                name=run_dir.name,
                config=dict(config),
                resume="never" if step is None else "allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers as one row."""
        self._run.log(dict(values), step=step)

    def event(self, step: int, record: Record) -> None:
        """Nothing: its pages have no place for a run's events."""

    def close(self) -> None:
        """Write what waits."""
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()


class ExportedSink:
    """The run's sink, and the tools that are told the same.

    Args:
        sink: the run's own; asked for commands.
        exporters: open.
    """

    def __init__(self, sink: Sink, exporters: Sequence[Exporter]) -> None:
        self.sink = sink
        self.exporters = list(exporters)
        self.commands = sink.commands

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Tell the run's store, then each tool."""
        self.sink.scalars(step, values)
        for exporter in list(self.exporters):
            with self._told(step, exporter):
                exporter.scalars(step, values)

    def record(self, step: int, record: Record) -> None:
        """Tell the run's store, then each tool, if the event is short."""
        self.sink.record(step, record)
        for exporter in list(self.exporters) if record.kind in EVENTS else ():
            with self._told(step, exporter):
                exporter.event(step, record)

    @contextlib.contextmanager
    def _told(self, step: int, exporter: Exporter) -> Iterator[None]:
        """A tool that cannot write is told no more; the run's store says so."""
        try:
            yield
        except OSError as error:
            self.exporters.remove(exporter)
            text = f"{exporter.name} is told no more: {error}; the run's own store goes on"
            self.sink.record(step, AlertEvent(level="warning", title="Export ended", text=text))


@contextlib.contextmanager
def exported(
    sink: Sink, exporters: Sequence[Exporter], run_dir: Path, config: Mapping[str, Any], step: int | None
) -> Iterator[Sink]:
    """The sink that tells `exporters` too, each opened before and closed after."""
    with contextlib.ExitStack() as stack:
        for exporter in exporters:
            exporter.open(run_dir, config, step)
            stack.callback(exporter.close)
        yield ExportedSink(sink, exporters) if exporters else sink


def check_exporters(exporters: Sequence[Exporter]) -> None:
    """Raise unless each tool can be imported.

    Raises:
        ConfigError: one is not installed.
    """
    for package in [exporter.package for exporter in exporters]:
        if importlib.util.find_spec(package) is None:
            hint = f"run pip install {package}, or leave --export {package} out"
            raise ConfigError(f"{package} for --export", f"no {package}", hint)


def _code(value: Mapping[str, Any]) -> str:
    """As a block of JSON in Markdown."""
    return "".join(f"    {line}\n" for line in json.dumps(value, indent=1, default=str).splitlines())
