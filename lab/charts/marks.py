"""Moments to point at on a step axis, from a run's events. No Plotly: the command line reads them too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lab.charts.style import ORANGE, STATUS_COLORS, STATUS_SIGNS


class Event(Protocol):
    """What a chart needs of an event row."""

    @property
    def id(self) -> int: ...

    @property
    def step(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def payload(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A moment to point at on a step axis."""

    step: int
    text: str
    color: str
    dash: str = "dot"
    always: bool = False
    """Whether it keeps its line and its label where others lose theirs for want of room."""


MOST_MARKS = 100
"""Marks of one figure: more could not be told apart, and each costs as much as a hundred points of a curve."""


def shown_marks(marks: Sequence[Mark], low: int, high: int) -> tuple[list[Mark], str]:
    """The marks from step `low` to `high`; of more than `MOST_MARKS`, the latest in each of at most as many pieces.

    Pieces are a power of two of steps long and begin at multiples of it: while a run goes on the marks stay the same.

    Returns:
        The marks, and what the reader is told: `200 of 5,000 marks`; empty where all are shown.
    """
    inside = [mark for mark in marks if low <= mark.step <= high]
    if len(inside) <= MOST_MARKS:
        return inside, ""
    width = 1
    while high // width - low // width >= MOST_MARKS:
        width *= 2
    pieces = {mark.step // width: mark for mark in inside if not mark.always}
    shown = sorted([*pieces.values(), *(mark for mark in inside if mark.always)], key=lambda mark: mark.step)
    return shown, f"{len(shown):,} of {len(inside):,} marks"


def mutation_marks(events: Iterable[Event]) -> tuple[Mark, ...]:
    """One mark for each mutation at the step where it was applied, with its number and its latest status's sign.

    Refused mutations changed nothing and get no mark.
    """
    known: dict[int, Mark | None] = {}
    for event in events:
        add_mark(known, event)
    return tuple(mark for mark in known.values() if mark is not None)


def add_mark(known: dict[int, Mark | None], event: Event) -> None:
    """Put the mark of a mutation's event into `known`, by its number, None where it was refused; others have none."""
    if event.kind != "mutation":
        return
    number, status = int(event.payload["number"]), event.payload["status"]
    # Its verdict comes at a later step; the mark stays where the network changed.
    former = known.get(number)
    step = event.step if former is None else former.step
    text, color = f"M{number} {STATUS_SIGNS.get(status, '?')}", STATUS_COLORS.get(status, "#7f8896")
    known[number] = None if status == "refused" else Mark(step=step, text=text, color=color)


def held_text(temperature: float) -> str:
    """`held at 1.0`."""
    text = f"{temperature:.4g}"
    return f"held at {text}.0" if text.isdecimal() else f"held at {text}"


def hold_marks(events: Iterable[Event]) -> tuple[Mark, ...]:
    """One mark where a person began to hold the temperature, or another value of it, and one where it was released."""
    marks: list[Mark] = []
    now: float | None = None
    for event in events:
        if event.kind != "temperature":
            continue
        # It is told again in each phase; runs of earlier versions never held it.
        held = float(event.payload["temperature"]) if event.payload.get("held") else None
        if held != now:
            text = "τ released" if held is None else f"τ {held_text(held)}"
            marks.append(Mark(step=event.step, text=text, color=ORANGE, dash="solid", always=True))
        now = held
    return tuple(marks)
