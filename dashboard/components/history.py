"""`History`: the events of a run, found by kind, with what follows from all of them computed once.

A tick asks for the same things of a run's events many times over: its mutations, its marks, its entropy. Of a long run
each would cost as much as the rest of the tick. A history never changes; one with more events is another history, which
goes on from what the one before has computed.
"""

from collections.abc import Callable, Hashable, Iterable
from copy import copy
from typing import Any, TypeVar, cast

from lab.charts import (
    Action,
    Change,
    Mark,
    Series,
    action_marks,
    add_change,
    add_entropy,
    add_mark,
    agent_actions,
    make_series,
)
from lab.store import EventRow

T = TypeVar("T")


class History:
    """Events in order of writing."""

    def __init__(self, events: Iterable[EventRow] = ()) -> None:
        self.events = tuple(events)
        self._kinds: dict[str, list[EventRow]] = {}
        for event in self.events:
            self._kinds.setdefault(event.kind, []).append(event)
        self._known: dict[Hashable, Any] = {}
        self._grown: dict[str, tuple[Any, int]] = {}
        self._cut: tuple[int, History] | None = None

    def then(self, events: Iterable[EventRow]) -> "History":
        """This history and the events behind it; itself where there is none."""
        new = tuple(events)
        if not new:
            return self
        longer = History()
        longer.events = self.events + new
        longer._kinds = {kind: list(rows) for kind, rows in self._kinds.items()}
        for event in new:
            longer._kinds.setdefault(event.kind, []).append(event)
        longer._grown = dict(self._grown)
        return longer

    def until(self, step: int) -> "History":
        """The events of that step and of those before."""
        if self._cut is None or self._cut[0] != step:
            self._cut = (step, History(event for event in self.events if event.step <= step))
        return self._cut[1]

    def of(self, *kinds: str) -> tuple[EventRow, ...]:
        """The events of these kinds, in order of writing."""
        found = [event for kind in kinds for event in self._kinds.get(kind, ())]
        return tuple(found if len(kinds) == 1 else sorted(found, key=lambda event: event.id))

    def latest(self, *kinds: str) -> EventRow | None:
        """The last event of any of these kinds."""
        rows = [self._kinds[kind][-1] for kind in kinds if kind in self._kinds]
        return max(rows, key=lambda event: event.id, default=None)

    @property
    def last_id(self) -> int:
        """Id of the latest event, 0 where there is none."""
        return self.events[-1].id if self.events else 0

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every mutation with its latest status."""

        def compute() -> tuple[Change, ...]:
            known = self.grown("changes", dict, add_change)
            return tuple(known[number][1] for number in sorted(known))

        return self.once("changes", compute)

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every action of the agent."""
        return self.once("actions", lambda: agent_actions(self.of("action")))

    @property
    def mutation_marks(self) -> tuple[Mark, ...]:
        """A mark for each mutation that was made."""

        def compute() -> tuple[Mark, ...]:
            return tuple(filter(None, self.grown("mutation marks", dict, add_mark).values()))

        return self.once("mutation marks", compute)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What changed the network: mutations, and the agent's changes that were kept."""
        return self.once("marks", lambda: (*self.mutation_marks, *action_marks(self.of("action"))))

    @property
    def entropy(self) -> Series:
        """Mean entropy of the draw on each edge in nats, over steps."""

        def compute() -> Series:
            known = self.grown("entropy", list, add_entropy)
            return make_series("entropy", [step for step, _ in known], [value for _, value in known])

        return self.once("entropy", compute)

    def once(self, name: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed at the first call for this name.

        Two threads may compute it at once: it is the same.
        """
        if name not in self._known:
            self._known[name] = compute()
        return cast(T, self._known[name])

    def grown(self, name: str, begin: Callable[[], T], add: Callable[[T, EventRow], None]) -> T:
        """What `add` makes of all events, one after the other, of what `begin` gives; not to be changed.

        A history that is longer by some events copies what this one has and adds those alone.

        Args:
            begin: gives an empty list or dictionary.
            add: puts what one event says into it.
        """
        found, seen = self._grown.get(name, (begin(), 0))
        if seen < len(self.events):
            found = copy(found)
            for event in self.events[seen:]:
                add(found, event)
            self._grown[name] = (found, len(self.events))
        return cast(T, found)
