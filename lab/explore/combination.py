"""Prior and evidence in one value, each weighed by how repeatable it is.

m cells have a prior p, read twice with other initialisations and batches; the first n of them have evidence y too, the
mean of two readings with other seeds of training. Both are standardised over these n cells (mean 0, deviation 1);
higher is better. T is what evidence would say after endlessly many seeds.

Reliability of one reading: r = correlation of the two, less its standard error (Fisher's z: tanh(atanh r - 1 /
sqrt(n - 3))), at least 0, and 0 for fewer than `LEAST_CELLS` cells. Of the mean of two: 2 r / (1 + r) (Spearman 1910,
Brown 1910). With r_e the reliability of y and c = cor(p, y), the best linear prediction of T from both is

    T ~ w_p p + w_e y,   w_e = (r_e - c^2) / (1 - c^2),   w_p = c (1 - r_e) / (1 - c^2):

evidence that repeats itself outvotes the prior, evidence that does not leaves the prior alone. Cells that share edges
also speak for one another: with K the similarity of cells (m, m), `SHARED` times the share of equal edges plus
(1 - `SHARED`) times the identity, G = max(r_e - c^2, 0) K and N = (1 - r_e) I,

    T ~ c p + G_mn (G_nn + N)^-1 (y - c p),

which is the formula above where K is the identity (Henderson 1975, "Best Linear Unbiased Estimation and Prediction
under a Selection Model"). c is shrunk towards what is known of such scores, c = (n c_observed + k c_0) / (n + k) with
c_0 = `USUAL` and k = `USUAL_CELLS`, and lies between `LEAST_CORRELATION` and the root of the prior's own reliability,
above which no correlation can be.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lab.base import require
from lab.space import Genotype

LEAST_CELLS = 6
"""Cells below which two readings say nothing of repeatability."""
USUAL = 0.6
"""Correlation of a prior with evidence where none was seen yet: scores reach 0.5 to 0.8 over random cells."""
USUAL_CELLS = 8
"""Cells that `USUAL` counts as."""
LEAST_CORRELATION = 0.05
"""A prior that evidence contradicts is not turned round, only left without weight."""
MOST_CORRELATION = 0.95
LEAST_RELIABILITY = 0.1
"""Reliability of evidence where there is nothing else to go by."""
SHARED = 0.5
"""Share of what tells cells apart that belongs to single edges, and so to all cells that share them."""

Readings = tuple[Sequence[float], Sequence[float]]
"""Two readings of the same cells, in the same order."""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What prior and evidence say together."""

    values: tuple[float, ...]
    """One for each of the m cells, higher is better; in standard deviations over the cells with evidence."""
    prior_reliability: float
    """Of the mean of the prior's two readings, in [0, 1]."""
    evidence_reliability: float
    """Of the mean of the evidence's two readings, in [0, 1]."""
    correlation: float
    """Of prior and evidence, after shrinking."""
    prior_weight: float
    """w_p: of a cell's own prior where no other cell speaks for it."""
    evidence_weight: float
    """w_e: of a cell's own evidence where no other cell speaks for it."""


def combine(cells: Sequence[Genotype], evidence: Readings, prior: Readings | None = None) -> Combination:
    """Prior and evidence as one value for each cell; formulas in the module's docstring.

    Args:
        cells: m cells of one space, those with evidence first.
        evidence: two readings of the first n cells, higher is better.
        prior: two readings of all m cells, higher is better; None: evidence alone (c = 0).

    Raises:
        ConfigError: readings of other lengths, no evidence, or a reading that is not finite.
    """
    known, count = prior or ([0.0] * len(cells), [0.0] * len(cells)), len(evidence[0])
    lengths = [len(known[0]), len(known[1]), len(evidence[1])]
    require(
        lengths == [len(cells), len(cells), count] and 0 < count <= len(cells),
        expected="two readings of every cell by the prior and of the first cells by the evidence",
        got=f"{len(cells)} cells, {lengths[0]} and {lengths[1]}, {count} and {lengths[2]} readings",
        hint="read the same cells twice",
    )
    finite = all(math.isfinite(value) for column in (*known, *evidence) for value in column)
    require(finite, expected="finite values", got="some that are not", hint="leave out cells that cannot work")
    prior_reliability = reliability(known[0][:count], known[1][:count])
    evidence_reliability = reliability(*evidence)
    p = standardised([a + b for a, b in zip(*known, strict=True)], over=count)
    y = standardised([a + b for a, b in zip(*map(standardised, evidence), strict=True)])
    if prior is None:
        c, evidence_reliability = 0.0, max(evidence_reliability, LEAST_RELIABILITY)
    else:
        c = _shrunk(correlation(p[:count], y), count, prior_reliability)
    evidence_weight = max(evidence_reliability - c * c, 0.0) / (1 - c * c)
    G_mm = max(evidence_reliability - c * c, 0.0) * similarity(cells)
    p_m, y_n = torch.tensor(p, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    noise_nn = (1 - evidence_reliability + 1e-9) * torch.eye(count, dtype=torch.float64)
    told_n = torch.linalg.solve(G_mm[:count, :count] + noise_nn, y_n - c * p_m[:count])
    return Combination(
        values=tuple((c * p_m + G_mm[:, :count] @ told_n).tolist()),
        prior_reliability=prior_reliability,
        evidence_reliability=evidence_reliability,
        correlation=c,
        prior_weight=c * (1 - evidence_reliability) / (1 - c * c),
        evidence_weight=evidence_weight,
    )


def _shrunk(observed: float, count: int, prior_reliability: float) -> float:
    most = min(MOST_CORRELATION, max(math.sqrt(prior_reliability), LEAST_CORRELATION))
    shrunk = (count * observed + USUAL_CELLS * USUAL) / (count + USUAL_CELLS)
    return min(max(shrunk, LEAST_CORRELATION), most)


def similarity(cells: Sequence[Genotype]) -> torch.Tensor:
    """K (m, m), float64: `SHARED` times the share of taken edges with the same primitive, the rest the identity."""
    columns_mE = torch.tensor([cell.indices for cell in cells])
    equal_mm = ((columns_mE[:, None] == columns_mE[None]) & (columns_mE[:, None] >= 0)).double().sum(-1)
    taken = len(cells[0].rows)
    return SHARED * equal_mm / taken + (1 - SHARED) * torch.eye(len(cells), dtype=torch.float64)


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
    return statistics.fmean(x * y for x, y in zip(standardised(one), standardised(two), strict=True))


def standardised(values: Sequence[float], over: int | None = None) -> list[float]:
    """(value - mean) / deviation, both of the first `over` values (None: of all); all 0 where these are equal."""
    mean, deviation = statistics.fmean(values[:over]), statistics.pstdev(values[:over])
    return [(value - mean) / deviation if deviation > 0 else 0.0 for value in values]
