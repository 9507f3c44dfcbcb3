"""What the training loop tells of a run: epochs, memory, stability, interventions, answers to commands."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from lab.device import process_memory, tensor_bytes
from lab.monitor import Verdict
from lab.probe import LayerProbe
from lab.store import (
    EVENT_RECORDS,
    AlertEvent,
    Command,
    ControlEvent,
    ImagesEvent,
    InterventionEvent,
    MemoryEvent,
    PhaseEvent,
    Record,
    StabilityEvent,
)
from lab.train.commands import Offers, Outcome, Request, advised, offered
from lab.train.sink import Observer, Sink
from lab.train.strategy import EpochReport, Evaluation, Split, Strategy

LAYERS_EVERY = 64
"""Fewest steps between two looks at the layers; the first step that trains weights is looked at."""

MEMORY_EVERY = 128
"""Fewest steps between two measurements of the memory, unless other modules or optimizers are held by then."""


class Journal:
    """Writes to `sink`, and what a person should read at once to `observer`.

    Args:
        device: where the run computes; its allocator is read where it is CUDA.
        images: the fixed samples whose predictions are told; None tells neither them nor predictions.
    """

    def __init__(
        self, sink: Sink, observer: Observer, device: torch.device | None, images: ImagesEvent | None = None
    ) -> None:
        self.sink = sink
        self.observer = observer
        self.cuda = device if device is not None and device.type == "cuda" else None
        self.images = images
        self.images_told = False
        self.layers_due = 0
        """The first step at which the layers are looked at again."""
        self.recent: list[tuple[int, Record]] = []
        """The events of the latest step that had any, each with that step."""
        # Of this attempt alone: a resumed run measures its own process at once.
        self._measured: tuple[int, ...] = ()
        self._measured_at = 0

    def _record(self, step: int, record: Record) -> None:
        self.recent = [(at, told) for at, told in self.recent if at == step]
        self.recent.append((step, record))
        self.sink.record(step, record)

    def state_dict(self, step: int) -> dict[str, Any]:
        """The events told at `step`, the next one of the training, as JSON data, and whether the images are told.

        A run that is resumed there supersedes all rows from that step on, and does not bring these about again.
        """
        recent = [[record.kind, asdict(record)] for at, record in self.recent if at >= step]
        return {"recent": recent, "images_told": self.images_told, "layers_due": self.layers_due}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Tell the events of `state_dict` once more."""
        self.images_told = state["images_told"]
        self.layers_due = state["layers_due"]
        for kind, payload in state["recent"]:
            self._record(step, EVENT_RECORDS[kind](**payload))

    def tell_images(self, step: int) -> None:
        """The fixed samples, once in a run."""
        if self.images is not None and not self.images_told:
            self._record(step, self.images)
            self.images_told = True

    def layer_probe(self, step: int, strategy: Strategy, split: Split) -> LayerProbe | None:
        """Looks at the layers over `step`, which is to come; None where it is not due or trains no weights."""
        if step < self.layers_due or split != Split.TRAIN:
            return None
        network = strategy.network
        if network is None:
            # Of a search the supernet, before there is a live network.
            roots = [root for root in strategy.state().roots if isinstance(root, nn.Module)]
            network = max(roots, key=lambda root: sum(p.numel() for p in root.parameters()), default=None)
        if network is None:
            return None
        self.layers_due = step + LAYERS_EVERY
        return LayerProbe(network)

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

    def epoch(self, step: int, report: EpochReport, read: Evaluation | None, roots: tuple[object, ...]) -> None:
        """An epoch's numbers, the memory at its end where that is due, and what the network says of the fixed samples.

        Args:
            read: the network on the selection split, where it was read.
            roots: modules and optimizers whose tensors count.
        """
        parts = {} if read is None else read.parts
        memory = self._memory(step, roots)
        values = {} if memory is None else {"memory/rss": memory.rss, "memory/tensors": memory.tensors}
        self.sink.scalars(step, {**report.scalars(), **{f"decision/loss/{k}": v for k, v in parts.items()}, **values})
        self.tell(step, memory)
        if self.images_told and read is not None:
            self.tell(step, read.predictions)

    def _memory(self, step: int, roots: tuple[object, ...]) -> MemoryEvent | None:
        """The memory now; None where the same objects were measured less than `MEMORY_EVERY` steps ago."""
        held = tuple(map(id, roots))
        if held == self._measured and step - self._measured_at < MEMORY_EVERY:
            return None
        self._measured, self._measured_at = held, step
        return MemoryEvent(
            rss=process_memory(),
            tensors=tensor_bytes(roots),
            device_allocated=None if self.cuda is None else torch.cuda.memory_allocated(self.cuda),
        )

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
