"""The signals behind a verdict: pure functions of a series of numbers, each relative to the series' own level.

Multiplying a series by a positive number changes no signal. Ordinary mini-batch noise, which is independent from step
to step, gives none: what counts as a change must exceed what noise of the measured size brings about by chance.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul

import numpy as np

FEWEST_FOR_LEVEL = 8
FEWEST_FOR_OSCILLATION = 12
SPANS = (3, 9, 27, 64)
AMPLITUDE_UNSEEN, AMPLITUDE_FULL = 0.05, 0.4


def oscillation(values: Sequence[float], floor: float = 0.0) -> float:
    """How much a series swings about its trend in a regular way, in [0, 1].

    structure * size, where the residual e of a quadratic fit has autocorrelations r(h), and

        c = max over periods p from 2 to n / 4 of min(trough(p), r(p)),
        structure = (c - t) / (1 - t) with t = 0.1 + 3 / sqrt(n),
        size = (sd(e) / level - 0.05) / (0.4 - 0.05),

    both clipped to [0, 1]; level is the mean absolute value, or `floor` where that is larger. trough(p) is -r(p / 2)
    for an even p. The half of an odd p lies between two steps, where a cosine of that period has r = -cos(pi / p):
    trough(p) = -(r((p - 1) / 2) + r((p + 1) / 2)) / (2 cos(pi / p)), 1 for it as well. Independent noise of n = 64
    exceeds t in fewer than 1 of 10,000 series. Fewer than 12 values give 0.

    Args:
        values: the series, oldest first, finite.
        floor: least level that swings are held against, >= 0, in the unit of the values.
    """
    n = len(values)
    peak = max(map(abs, values), default=0.0)
    if n < FEWEST_FOR_OSCILLATION or peak == 0.0:
        return 0.0
    # Scaled by the peak: squares neither overflow nor vanish. Plain lists: between two training steps the processor's
    # caches are cold, and a dozen calls of numpy on 64 numbers then take three times as long as these sums.
    series = [value / peak for value in values]
    residual = series
    for basis in _quadratic(n):
        along = sum(map(mul, series, basis))
        residual = [value - along * at for value, at in zip(residual, basis, strict=True)]
    variance = sum(map(mul, residual, residual)) / n
    level = max(sum(map(abs, series)) / n, floor / peak)
    size = _clip((math.sqrt(variance) / level - AMPLITUDE_UNSEEN) / (AMPLITUDE_FULL - AMPLITUDE_UNSEEN))
    if size == 0.0:
        return 0.0
    longest = n // 4
    r = [sum(map(mul, residual, residual[lag:])) / (n - lag) / variance for lag in range(longest + 1)]
    # Both terms of the trough are r(p / 2) where the period is even.
    troughs = [-(r[p // 2] + r[(p + 1) // 2]) / (2.0 * at) for p, at in enumerate(_at_half(longest), 2)]
    regular = max(map(min, troughs, r[2:]))
    threshold = 0.1 + 3.0 / math.sqrt(n)
    return _clip((regular - threshold) / (1.0 - threshold)) * size


def trend(values: Sequence[float]) -> tuple[float, float]:
    """The change of a series over its length by a straight fit, relative to its mean absolute value; and its t value.

    Negative is falling. Fewer than three values, or all zero, give (0, 0).

    Args:
        values: the series, oldest first, finite.
    """
    n = len(values)
    peak = max(map(abs, values), default=0.0)
    if n < 3 or peak == 0.0:
        return 0.0, 0.0
    # Scaled by the peak: squares neither overflow nor vanish.
    series = [value / peak for value in values]
    time, spread = _steps(n)
    mean = sum(series) / n
    slope = sum(map(mul, time, series)) / spread
    rest = [value - mean - slope * at for value, at in zip(series, time, strict=True)]
    # A series on a straight line has no residual to divide by.
    error = math.sqrt(max(sum(map(mul, rest, rest)) / (n - 2) / spread, 1e-300))
    return slope * (n - 1) / (sum(map(abs, series)) / n), slope / error


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the step-to-step noise, from second differences without the two largest.

    Independent noise of standard deviation s has second differences of sqrt(6) s; a drift has nearly none, and one jump
    makes two. Few values tell little: the estimate is raised by 1 + 8 / n + (16 / n)^3. Fewer than eight values give
    infinity.

    Args:
        values: (n,) in the order of steps, finite.

    Returns:
        In the unit of `values`, >= 0.
    """
    n = len(values)
    if n < FEWEST_FOR_LEVEL:
        return math.inf
    second = [values[i] - 2.0 * values[i + 1] + values[i + 2] for i in range(n - 2)]
    centre = median(second)
    deviations = sorted([abs(value - centre) for value in second])[:-2]
    mean_square = sum([deviation * deviation for deviation in deviations]) / len(deviations)
    return math.sqrt(mean_square / 6.0) * (1.0 + 8.0 / n + (16.0 / n) ** 3)


def margins(deviation: float, length: int, count: int) -> list[float]:
    """For each span m of `SPANS`, how far `levels` of noise `deviation` may lie from the true level by chance.

    1.25 z deviation / sqrt(min(m, length)), where z = 1 + sqrt(2 ln(count)) is about the largest of `count` normal
    draws, and one more; `length` is the length of the series, `count` how many values there ever were.
    """
    # A median of normal draws strays sqrt(pi / 2) = 1.25 times as far as their mean.
    reach = 1.25 * (1.0 + math.sqrt(2.0 * math.log(max(count, 2)))) * deviation
    return [reach / math.sqrt(min(span, length)) for span in SPANS]


def levels(values: Sequence[float]) -> list[float]:
    """For each span m of `SPANS` the median of the last m values, of all where there are fewer.

    The median of three is not moved by one outlier, such as the small last batch of an epoch.
    """
    return [median(values[-span:]) for span in SPANS]


def relative_fall(best: float, now: float) -> float:
    """Share of `best` that is lost, in [0, 1]: (best - now) / |best|; 0 where nothing is lost or nothing was there."""
    if not (math.isfinite(best) and math.isfinite(now)) or best == 0.0:
        return 0.0
    return _clip((best - now) / abs(best))


def decades(value: float, scale: float) -> float:
    """A loss on a scale whose unit is a factor of ten: asinh(value / scale) / ln 10.

    Logarithmic for values far above `scale`, linear below it, so that zero and negative losses have a place too.
    """
    return math.asinh(value / scale) / math.log(10.0)


def from_decades(value: float, scale: float) -> float:
    """The loss that `decades` gives `value` for; infinite beyond the range of a float."""
    try:
        return scale * math.sinh(value * math.log(10.0))
    except OverflowError:
        return math.copysign(math.inf, value)


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number the mean of the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@lru_cache(maxsize=256)
def _quadratic(n: int) -> tuple[list[float], ...]:
    """Three orthonormal series of length n that span the quadratic ones."""
    powers = np.vander(np.linspace(-1.0, 1.0, n), 3)
    return tuple(np.linalg.qr(powers)[0].T.tolist())


@lru_cache(maxsize=64)
def _at_half(longest: int) -> list[float]:
    """What a cosine has of its trough at the whole steps nearest to half a period, for periods 2 to `longest`."""
    return [math.cos(math.pi / period) if period % 2 else 1.0 for period in range(2, longest + 1)]


@lru_cache(maxsize=256)
def _steps(n: int) -> tuple[list[float], float]:
    """The times of n steps about their middle, and the sum of their squares."""
    time = [step - (n - 1) / 2 for step in range(n)]
    return time, math.fsum(map(mul, time, time))


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
