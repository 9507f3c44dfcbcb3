"""A named curve as arrays, and what is done to it before it is drawn: window, smoothing, thinning.

Values may be NaN or infinite: they are never drawn as numbers and never lost; `Series.broken` finds them.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from lab.base import require, require_range

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One scalar over the steps of a run."""

    name: str
    step: Steps
    """(N,) in rising order."""
    value: Floats
    """(N,)."""
    thinned: int = 0
    """The first points, this many, are the lowest and highest of more rows; the rest are rows themselves."""
    each: float = 1.0
    """Rows that each of those stands for."""

    def __post_init__(self) -> None:
        require(
            self.step.shape == self.value.shape and self.step.ndim == 1,
            expected=f"steps and values of series {self.name} as two 1-D arrays of equal length",
            got=f"shapes {self.step.shape} and {self.value.shape}",
            hint="give one step for each value",
        )

    def __len__(self) -> int:
        return len(self.step)

    @property
    def rows(self) -> int:
        """Rows of the run that the points stand for."""
        return round(self.thinned * self.each) + len(self.step) - self.thinned

    @property
    def finite(self) -> "Series":
        """The points that are numbers."""
        keep = np.isfinite(self.value)
        return self if keep.all() else self.where(keep)

    @property
    def broken(self) -> Steps:
        """Steps at which the value is NaN or infinite."""
        return self.step[~np.isfinite(self.value)]

    @property
    def last(self) -> float | None:
        """Latest value, NaN included; None where there is no point."""
        return float(self.value[-1]) if len(self.value) else None

    def where(self, keep: NDArray[np.bool_]) -> "Series":
        """The points at which `keep` (N,) is true."""
        return replace(
            self, step=self.step[keep], value=self.value[keep], thinned=int(np.count_nonzero(keep[: self.thinned]))
        )

    def since(self, step: int) -> "Series":
        """The points at `step` and later."""
        start = int(np.searchsorted(self.step, step))
        left = max(0, self.thinned - start)
        return replace(self, step=self.step[start:], value=self.value[start:], thinned=left)

    def until(self, step: int) -> "Series":
        """The points at `step` and earlier."""
        end = int(np.searchsorted(self.step, step, side="right"))
        return replace(self, step=self.step[:end], value=self.value[:end], thinned=min(self.thinned, end))

    def averaged(self, weight: float) -> "Series":
        """The moving average of finite values, see `smooth`; a thinned point counts as all that it stands for."""
        before = smooth(self.value[: self.thinned], weight**self.each)
        after = smooth(self.value[self.thinned :], weight)
        if len(before):
            # What the past weighs in a moving average without start-up bias, beside what has come since.
            known = self.thinned * self.each
            powers = _powers(weight, len(after))
            past, since = powers * (1.0 - weight**known), 1.0 - powers
            after = (past * before[-1] + since * after) / (1.0 - weight**known * powers)
        return replace(self, value=np.concatenate([before, after]))


def make_series(name: str, step: object, value: object) -> Series:
    """A `Series` from any two sequences of equal length."""
    return Series(name=name, step=np.asarray(step, dtype=np.int64), value=np.asarray(value, dtype=np.float64))


def smooth(values: Floats, weight: float) -> Floats:
    """Exponential moving average without start-up bias: m_t = w m_{t-1} + (1 - w) x_t, result m_t / (1 - w^t).

    Args:
        values: (N,), all finite.
        weight: w in [0, 0.999]; 0 gives the values back.

    Computed in blocks of 64, all by one triangular matrix product, so 100,000 points take a few milliseconds.
    """
    require_range("weight", weight, 0.0, 0.999)
    if weight == 0.0 or len(values) == 0:
        return values
    size = 64
    kernel, decay = _kernel(weight, size)
    blocks = np.zeros((-(-len(values) // size), size))
    blocks.reshape(-1)[: len(values)] = values
    within = blocks @ kernel.T
    # What each block inherits is the average at the end of the one before it.
    carried = list(accumulate(within[:-1, -1].tolist(), lambda carry, last: last + decay[-1] * carry, initial=0.0))
    result = (within + np.outer(carried, decay)).reshape(-1)[: len(values)]
    return result / (1.0 - _powers(weight, len(values)))


def _powers(weight: float, count: int) -> Floats:
    """w, w^2, ..., w^N; those that nothing is left of beside 1 are all the same, since tiny numbers take long."""
    least = 1 if weight == 0.0 else max(1, int(-50.0 / math.log(weight)))
    powers: Floats = np.power(weight, np.minimum(np.arange(1.0, count + 1.0), least))
    return powers


@lru_cache(maxsize=64)
def _kernel(weight: float, size: int) -> tuple[Floats, Floats]:
    """What the values of a block weigh in its averages, (size, size), and what the average before it does, (size,)."""
    offsets = np.arange(size)
    lag = offsets[:, None] - offsets[None, :]
    kernel: Floats = np.where(lag >= 0, (1.0 - weight) * weight ** np.maximum(lag, 0), 0.0)
    decay: Floats = np.power(weight, offsets + 1.0, dtype=np.float64)
    return kernel, decay


def thin(curve: Series, limit: int = 2000) -> Series:
    """At most `limit` finite points: smallest and largest value of each step bucket, in order.

    The bucket width is a power of two of steps and buckets start at multiples of it, so old points stay where they
    are while new ones arrive: the line does not shimmer.

    Raises:
        ConfigError: `limit` is less than 4.
    """
    require_range("limit", limit, 4)
    curve = curve.finite
    if len(curve) <= limit:
        return curve
    bucket, starts = curve.step, np.arange(len(curve))
    while True:
        # Buckets of twice the width begin where some of these begin.
        kept = np.flatnonzero(_changes(bucket))
        bucket, starts = bucket[kept], starts[kept]
        # Two points of a bucket are drawn, its lowest and its highest.
        if 2 * len(starts) <= limit:
            break
        bucket = bucket // 2
    low = np.minimum.reduceat(curve.value, starts)
    high = np.maximum.reduceat(curve.value, starts)
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(curve)]))
    keep = _first_of_group(curve.value == low[group], group) | _first_of_group(curve.value == high[group], group)
    return Series(name=curve.name, step=curve.step[keep], value=curve.value[keep])


def _first_of_group(match: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    places = np.flatnonzero(match)
    keep = np.zeros(len(match), dtype=bool)
    keep[places[_changes(group[places])]] = True
    return keep


def _changes(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where in a rising row of numbers another one begins, the first included."""
    return np.r_[True, values[1:] != values[:-1]]


def count_note(shown: int, total: int) -> str:
    """What the reader is told about thinning: `showing 2,000 of 180,000 points`; empty where all are shown."""
    return "" if shown >= total else f"showing {shown:,} of {total:,} points"
