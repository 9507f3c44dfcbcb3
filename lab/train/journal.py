"""What the training loop tells of a run: epochs, memory, stability, interventions, answers to commands."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from lab.device import process_memory, tensor_bytes
from lab.monitor import Verdict
from lab.store import (
    EVENT_RECORDS,
    AlertEvent,
    Command,
    ControlEvent,
    InterventionEvent,
    MemoryEvent,
    PhaseEvent,
    Record,
    StabilityEvent,
)
from lab.train.commands import Offers, Outcome, Request, advised, offered
from lab.train.sink import Observer, Sink
from lab.train.strategy import EpochReport


class Journal:
    """Writes to `sink`, and what a person should read at once to `observer`.

    Args:
        device: where the run computes; its allocator is read where it is CUDA.
    """

    def __init__(self, sink: Sink, observer: Observer, device: torch.device | None) -> None:
        self.sink = sink
        self.observer = observer
        self.cuda = device if device is not None and device.type == "cuda" else None
        self.recent: list[tuple[int, Record]] = []
        """The events of the latest step that had any, each with that step."""

    def _record(self, step: int, record: Record) -> None:
        self.recent = [(at, told) for at, told in self.recent if at == step]
        self.recent.append((step, record))
        self.sink.record(step, record)

    def state_dict(self, step: int) -> list[list[Any]]:
        """The events told at `step`, the next one of the training, as JSON data.

        A run that is resumed there supersedes all rows from that step on, and does not bring these about again.
        """
        return [[record.kind, asdict(record)] for at, record in self.recent if at >= step]

    def load_state_dict(self, state: list[list[Any]], step: int) -> None:
        """Tell the events of `state_dict` once more."""
        for kind, payload in state:
            self._record(step, EVENT_RECORDS[kind](**payload))

    def tell(self, step: int, record: Record | None) -> None:
        """One event of the loop itself; None is nothing to tell."""
        if record is not None:
            self._record(step, record)

    def records(self, step: int, records: Sequence[Record], offers: Offers) -> None:
        """A strategy's own events; a phase says which commands the run serves in it."""
        for record in records:
            if isinstance(record, PhaseEvent):
                record = replace(record, offers=offered(offers))
            self._record(step, record)
            if isinstance(record, AlertEvent):
                self.observer.on_text(f"{record.title}: {record.text}")

    def epoch(self, step: int, report: EpochReport, parts: Mapping[str, float], roots: tuple[object, ...]) -> None:
        """An epoch's numbers and the memory at its end.

        Args:
            parts: mean of each loss on the selection split by its name, where there are several.
            roots: modules and optimizers whose tensors count.
        """
        memory = MemoryEvent(
            rss=process_memory(),
            tensors=tensor_bytes(roots),
            device_allocated=None if self.cuda is None else torch.cuda.memory_allocated(self.cuda),
        )
        values = {"memory/rss": memory.rss, "memory/tensors": memory.tensors}
        self.sink.scalars(step, {**report.scalars(), **{f"decision/loss/{k}": v for k, v in parts.items()}, **values})
        self._record(step, memory)

    def stability(self, step: int, verdict: Verdict, offers: Offers) -> None:
        """A verdict of the monitor, with the advice that this run can follow."""
        advice = advised(verdict, offers)
        event = StabilityEvent(
            health=verdict.health,
            state=verdict.state,
            oscillation=verdict.oscillation,
            degradation=verdict.degradation,
            trend=verdict.trend,
            reasons=list(verdict.reasons),
            advice=advice[0].name if advice else "none",
        )
        self._record(step, event)

    def intervention(self, step: int, request: Request, reason: str, outcome: Outcome) -> None:
        """What was done on the monitor's advice."""
        event = InterventionEvent(action=request.name, reason=reason, before=outcome.before, after=outcome.after)
        self._record(step, event)

    def answer(self, step: int, command: Command, *, done: bool, text: str) -> None:
        """What came of a person's command."""
        self._record(step, ControlEvent(command=command.name, arguments=command.arguments, done=done, text=text))
        self.observer.on_text(text)
