"""What changed, in words: mutations and other events as short sentences for a page, a notebook or a screen reader."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.charts.marks import Event
from lab.charts.style import STATUS_SIGNS, edge_label, primitive_style
from lab.space import ABSENT


@dataclass(frozen=True, kw_only=True)
class Change:
    """One mutation with its latest status."""

    number: int
    step: int
    """Step at which it was applied (or refused)."""
    status: str
    edits: tuple[tuple[Any, ...], ...]
    difference: float | None
    """Relative output change at the moment of the mutation."""
    requested: str
    reason: str
    loss_before: float | None
    loss_after: float | None

    @property
    def heading(self) -> str:
        """`Mutation 3 at step 1,480: ✔ accepted`."""
        return f"Mutation {self.number} at step {self.step:,}: {STATUS_SIGNS.get(self.status, '?')} {self.status}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Each edit as `edge 0→2: skip → conv 3×3`.

        Where a node takes another source: `node normal 5: 2→5 skip → 4→5 conv 3×3`.
        """
        coming: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
        for edit in self.edits:
            if edit[3] == ABSENT:
                coming.setdefault((edit[0], int(edit[1])), []).append(edit)
        found = []
        for cell, target, source, old, new in self.edits:
            others = coming.get((cell, int(target)), [])
            if new == ABSENT and others:
                # Taken out of the list: two sources of a node may change at once.
                _, _, other, _, taken = others.pop(0)
                found.append(
                    f"node {cell} {target}: {edge_label(target, source)} {primitive_style(old).label} → "
                    f"{edge_label(target, other)} {primitive_style(taken).label}"
                )
            elif old != ABSENT:
                label = edge_label(int(target), int(source), cell)
                found.append(f"edge {label}: {primitive_style(old).label} → {primitive_style(new).label}")
        return tuple(found)

    @property
    def difference_text(self) -> str:
        """Output difference as a sentence."""
        if self.difference is None:
            return "output difference not measured"
        if self.difference == 0.0:
            return "output did not change at all at that moment"
        return f"output changed by {self.difference:.1e} at that moment (relative, eval mode)"

    @property
    def loss_text(self) -> str:
        """Decision loss before and after; empty where nothing was measured."""
        if self.loss_before is None or self.loss_after is None:
            return "" if self.loss_before is None else f"decision loss before: {self.loss_before:.4f}"
        return f"decision loss {self.loss_before:.4f} → {self.loss_after:.4f}"

    @property
    def requested_text(self) -> str:
        """Who asked for it."""
        return "a person asked for it" if self.requested == "control" else "due by the schedule"


def mutation_changes(events: Iterable[Event]) -> tuple[Change, ...]:
    """Every mutation in order of its number, with the status, reason and losses of its latest event."""
    known: KnownChanges = {}
    for event in events:
        add_change(known, event)
    return tuple(known[number][1] for number in sorted(known))


KnownChanges = dict[int, tuple[Event, Change]]
"""Number of a mutation -> its first event, and what is known of it."""


def add_change(known: KnownChanges, event: Event) -> None:
    """Put what an event says of a mutation into `known`; other events say nothing."""
    if event.kind != "mutation":
        return
    number = int(event.payload["number"])
    first = known[number][0] if number in known else event
    old, new = first.payload, event.payload
    before = new.get("loss_before")
    change = Change(
        number=number,
        step=first.step,
        status=new["status"],
        edits=tuple(tuple(edit) for edit in old["edits"]),
        difference=old["difference"] if old["difference"] is not None else new["difference"],
        requested=old["requested"],
        reason=new["reason"],
        loss_before=old.get("loss_before") if before is None else before,
        loss_after=new.get("loss_after"),
    )
    known[number] = (first, change)


def change_table(found: Sequence[Change]) -> list[dict[str, str]]:
    """All mutations as rows of text, the latest first."""
    return [
        {
            "mutation": str(change.number),
            "step": f"{change.step:,}",
            "status": f"{STATUS_SIGNS.get(change.status, '?')} {change.status}",
            "edits": "; ".join(change.lines),
            "output difference": "" if change.difference is None else f"{change.difference:.1e}",
            "decision loss": change.loss_text.removeprefix("decision loss "),
            "asked by": "person" if change.requested == "control" else "schedule",
            "reason": change.reason,
        }
        for change in reversed(found)
    ]
