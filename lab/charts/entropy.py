"""What a search can draw, and how evenly it draws: primitives that are left on each edge, entropy, its largest value.

E edges, K primitives. A row of a genotype event is softmax(alpha / temperature) over all primitives of the supernet. A
genotype never has those that its space excludes (DARTS: none), though the row gives them a share; a draw is the row
given that it is none of these.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.charts.marks import Event
from lab.charts.series import Series, make_series
from lab.space import ALL_SPACES

NONE = "none"


def drawable_columns(snapshot: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which primitives can be drawn on each edge, (E, K), of a genotype event's payload.

    A run of a version that did not tell is read by its space, and by whether `none` has a share on any edge: only
    there could a search leave a primitive out.
    """
    primitives, rows = list(snapshot["primitives"]), len(snapshot["edges"])
    told = snapshot.get("drawable")
    if told:
        drawable = np.zeros((rows, len(primitives)), dtype=bool)
        for row, columns in enumerate(told):
            drawable[row, columns] = True
        return drawable
    out = set(_excluded(snapshot))
    if NONE in primitives and snapshot["probabilities"]:
        column = primitives.index(NONE)
        if all(row[column] == 0.0 for row in snapshot["probabilities"]):
            out.add(NONE)
    return np.tile([name not in out for name in primitives], (rows, 1))


def drawn_probabilities(snapshot: Mapping[str, Any]) -> NDArray[np.float64]:
    """How likely each primitive is drawn on each edge, (E, K): each row over what can be drawn, NaN elsewhere."""
    drawable = drawable_columns(snapshot)
    shares = np.where(drawable, np.asarray(snapshot["probabilities"], dtype=np.float64), np.nan)
    if not _excluded(snapshot):
        return shares
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = shares / np.nansum(shares, axis=1, keepdims=True)
    return found


def drawn_entropies(snapshot: Mapping[str, Any]) -> list[float]:
    """Entropy of what is drawn on each edge, nats; NaN where the row leaves it no share.

    With H the entropy of the row, p the share of what is never drawn and s = 1 - p: (H + p ln p) / s + ln s.
    """
    entropies: list[float] = list(snapshot["entropy"])
    # At most one in every space, so that p ln p is its term of H.
    columns = [snapshot["primitives"].index(name) for name in _excluded(snapshot) if name in snapshot["primitives"]]
    for column in columns:
        rows = snapshot["probabilities"]
        entropies = [_without(entropy, row[column]) for entropy, row in zip(entropies, rows, strict=True)]
    return entropies


def _without(entropy: float, share: float) -> float:
    left = 1.0 - share
    if not 0.0 < share < 1.0:
        return entropy if share == 0.0 else math.nan
    return max((entropy + share * math.log(share)) / left + math.log(left), 0.0)


def _excluded(snapshot: Mapping[str, Any]) -> tuple[str, ...]:
    """Primitives of the supernet that no genotype of this space has."""
    space = ALL_SPACES.get(snapshot["genotype"].get("space", ""))
    return () if space is None else space.excluded


def entropy_series(events: Iterable[Event]) -> Series:
    """Mean entropy of the draw per edge in nats over steps, from the genotype events."""
    known: list[tuple[int, float]] = []
    for event in events:
        add_entropy(known, event)
    return make_series("entropy", [step for step, _ in known], [value for _, value in known])


def add_entropy(known: list[tuple[int, float]], event: Event) -> None:
    """Put step and mean entropy of a genotype's event behind `known`; an event without them adds nothing."""
    if event.kind == "genotype" and event.payload["entropy"]:
        row = drawn_entropies(event.payload)
        known.append((event.step, sum(row) / len(row)))


def uniform_entropy(snapshot: Mapping[str, Any]) -> float | None:
    """Mean over the edges of ln(primitives that can be drawn), nats: the entropy of a search that knows nothing.

    None where the payload names no primitive.
    """
    counts = drawable_columns(snapshot).sum(axis=1) if snapshot["primitives"] else np.zeros(0)
    return float(np.log(counts).mean()) if len(counts) and counts.all() else None
