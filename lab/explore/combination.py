"""Prior and evidence in one value, each weighed by how repeatable it is.

Both are read twice on the same n cells: the prior with two initialisations and batches, the evidence with two seeds of
training. All values are standardised over these cells (mean 0, deviation 1), higher is better. T is what the evidence
would say after endlessly many seeds, p the prior, y the mean of the two readings of evidence.

Reliability of one reading: r = correlation of the two, less its standard error (Fisher's z: tanh(atanh r - 1 /
sqrt(n - 3))), at least 0, and 0 for fewer than `LEAST_CELLS` cells. Of the mean of two: 2 r / (1 + r) (Spearman 1910,
Brown 1910). With r_e the reliability of y and c = cor(p, y), the best linear prediction of T from both is

    T ~ w_p p + w_e y,   w_e = (r_e - c^2) / (1 - c^2),   w_p = c (1 - r_e) / (1 - c^2):

evidence that repeats itself outvotes the prior, evidence that does not leaves the prior alone (Henderson 1975, "Best
Linear Unbiased Estimation and Prediction under a Selection Model", for the form). c is shrunk towards what is known of
such scores, c = (n c_observed + m c_0) / (n + m) with c_0 = `USUAL` and m = `USUAL_CELLS`, and lies between
`LEAST_CORRELATION` and the root of the prior's own reliability, above which no correlation can be.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lab.base import require

LEAST_CELLS = 6
"""Cells below which two readings say nothing of repeatability."""
USUAL = 0.6
"""Correlation of a prior with evidence where none was seen yet: scores reach 0.5 to 0.8 over random cells."""
USUAL_CELLS = 8
"""Cells that `USUAL` counts as."""
LEAST_CORRELATION = 0.05
"""A prior that evidence contradicts is not turned round, only left without weight."""
MOST_CORRELATION = 0.95

Readings = tuple[Sequence[float], Sequence[float]]
"""Two readings of the same cells, in the same order."""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What prior and evidence say together of n cells."""

    values: tuple[float, ...]
    """One for each cell, higher is better; in standard deviations over the cells."""
    prior_reliability: float
    """Of the mean of the prior's two readings, in [0, 1]."""
    evidence_reliability: float
    """Of the mean of the evidence's two readings, in [0, 1]."""
    correlation: float
    """Of prior and evidence, after shrinking."""
    prior_weight: float
    evidence_weight: float


def combine(prior: Readings, evidence: Readings) -> Combination:
    """Prior and evidence on the same cells as one value each; formulas in the module's docstring.

    Args:
        prior: two readings, higher is better.
        evidence: two readings, higher is better.

    Raises:
        ConfigError: readings of different lengths, none at all, or one that is not finite.
    """
    columns = [list(column) for column in (*prior, *evidence)]
    counts = {len(column) for column in columns}
    require(
        len(counts) == 1 and counts != {0},
        expected="four columns of one length, at least 1",
        got=", ".join(str(len(column)) for column in columns),
        hint="read the same cells twice by both",
    )
    finite = all(math.isfinite(value) for column in columns for value in column)
    require(finite, expected="finite values", got="some that are not", hint="leave out cells that cannot work")
    one, two, three, four = map(standardised, columns)
    p = standardised([a + b for a, b in zip(one, two, strict=True)])
    y = standardised([a + b for a, b in zip(three, four, strict=True)])
    prior_reliability, evidence_reliability = reliability(one, two), reliability(three, four)
    observed = correlation(p, y) * len(p) + USUAL * USUAL_CELLS
    most = min(MOST_CORRELATION, max(math.sqrt(prior_reliability), LEAST_CORRELATION))
    c = min(max(observed / (len(p) + USUAL_CELLS), LEAST_CORRELATION), most)
    evidence_weight = max(evidence_reliability - c * c, 0.0) / (1 - c * c)
    prior_weight = c * (1 - evidence_reliability) / (1 - c * c)
    return Combination(
        values=tuple(prior_weight * a + evidence_weight * b for a, b in zip(p, y, strict=True)),
        prior_reliability=prior_reliability,
        evidence_reliability=evidence_reliability,
        correlation=c,
        prior_weight=prior_weight,
        evidence_weight=evidence_weight,
    )


def reliability(one: Sequence[float], two: Sequence[float]) -> float:
    """Reliability of the mean of two readings of the same cells, in [0, 1]; see the module's docstring."""
    count = len(one)
    if count < LEAST_CELLS:
        return 0.0
    # atanh is infinite at 1; readings that agree to the last bit are as good as that.
    r = min(correlation(one, two), 1.0 - 1e-9)
    low = math.tanh(math.atanh(max(r, 0.0)) - 1 / math.sqrt(count - 3))
    return 2 * low / (1 + low) if low > 0 else 0.0


def correlation(one: Sequence[float], two: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one of the two is constant."""
    a, b = standardised(one), standardised(two)
    return statistics.fmean(x * y for x, y in zip(a, b, strict=True))


def standardised(values: Sequence[float]) -> list[float]:
    """(value - mean) / deviation; all 0 where the values are equal."""
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / deviation if deviation > 0 else 0.0 for value in values]
