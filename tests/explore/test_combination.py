"""Prior and evidence weighed by repeatability: known answers and limits."""

import math
import random

import pytest

from lab.base import ConfigError
from lab.explore import combination as module
from lab.explore import combine
from lab.explore.combination import correlation, reliability
from lab.space import NB201, sample

RNG = random.Random(0)
CELLS = [sample(NB201, RNG) for _ in range(40)]
TRUTH = [RNG.gauss(0, 1) for _ in CELLS]


def noisy(values, deviation, seed):
    rng = random.Random(seed)
    return [value + rng.gauss(0, deviation) for value in values]


def test_reliability_is_the_correlation_less_its_error_stepped_up_to_two_readings():
    one, two = noisy(TRUTH, 0.5, 1), noisy(TRUTH, 0.5, 2)
    low = math.tanh(math.atanh(correlation(one, two)) - 1 / math.sqrt(37))
    assert reliability(one, two) == pytest.approx(2 * low / (1 + low))
    assert reliability(TRUTH, TRUTH) == pytest.approx(1, abs=1e-6)
    assert reliability(one[:5], two[:5]) == 0, "five cells say nothing of repeatability"
    assert reliability(one, [-value for value in one]) == 0


def test_without_shared_edges_a_value_is_the_two_weights_times_prior_and_evidence(monkeypatch):
    monkeypatch.setattr(module, "SHARED", 0.0)
    prior = noisy(TRUTH, 1, 3), noisy(TRUTH, 1, 4)
    evidence = noisy(TRUTH, 0.7, 5), noisy(TRUTH, 0.7, 6)
    found = combine(CELLS, evidence, prior)
    r, c = found.evidence_reliability, found.correlation
    assert found.evidence_weight == pytest.approx((r - c * c) / (1 - c * c))
    assert found.prior_weight == pytest.approx(c * (1 - r) / (1 - c * c))
    p = module.standardised([a + b for a, b in zip(*prior, strict=True)])
    y = module.standardised([a + b for a, b in zip(*map(module.standardised, evidence), strict=True)])
    wanted = [found.prior_weight * a + found.evidence_weight * b for a, b in zip(p, y, strict=True)]
    assert found.values == pytest.approx(wanted, abs=1e-6)


def test_evidence_that_repeats_itself_outvotes_a_wrong_prior():
    wrong = noisy([-value for value in TRUTH], 0.1, 1), noisy([-value for value in TRUTH], 0.1, 2)
    found = combine(CELLS, (noisy(TRUTH, 0.1, 3), noisy(TRUTH, 0.1, 4)), wrong)
    assert correlation(found.values, TRUTH) > 0.95
    assert found.evidence_weight > 0.9


def test_evidence_that_does_not_repeat_itself_leaves_the_order_of_the_prior():
    prior = noisy(TRUTH, 0.1, 1), noisy(TRUTH, 0.1, 2)
    one = noisy([0] * 40, 1, 3)
    found = combine(CELLS, (one, [-value for value in one]), prior)
    both = [a + b for a, b in zip(*prior, strict=True)]
    assert found.evidence_weight == 0
    assert sorted(range(40), key=lambda n: found.values[n]) == sorted(range(40), key=lambda n: both[n])


def test_both_together_are_nearer_to_the_truth_than_either():
    reached = []
    for seed in range(20):
        rng = random.Random(seed)
        cells = [sample(NB201, rng) for _ in range(40)]
        effect = {(row, k): rng.gauss(0, 0.3) for row in range(6) for k in range(5)}
        truth = [rng.gauss(0, 0.7) + sum(effect[row, k] for row, k in enumerate(each.indices)) for each in cells]
        prior = noisy(truth, 1, seed + 100)
        evidence = noisy(truth, 1, seed + 200), noisy(truth, 1, seed + 300)
        found = combine(cells, evidence, (prior, prior))
        mean = [a + b for a, b in zip(*evidence, strict=True)]
        reached.append([correlation(values, truth) for values in (found.values, prior, mean)])
    both, prior, evidence = (sum(column) / len(column) for column in zip(*reached, strict=True))
    assert both > max(prior, evidence) + 0.005, (both, prior, evidence)


def test_cells_that_share_edges_tell_of_one_that_was_not_trained():
    rng = random.Random(1)
    cells = list({sample(NB201, rng) for _ in range(200)})
    effect = {(row, k): rng.gauss(0, 1) for row in range(6) for k in range(5)}
    truth = [sum(effect[row, k] for row, k in enumerate(each.indices)) for each in cells]
    found = combine(cells, (noisy(truth[:60], 0.5, 1), noisy(truth[:60], 0.5, 2)))
    assert correlation(found.values[60:], truth[60:]) > 0.6


def test_readings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="two readings of every cell"):
        combine(CELLS, (TRUTH, TRUTH[:3]), None)
    with pytest.raises(ConfigError, match="two readings of every cell"):
        combine(CELLS[:3], (TRUTH, TRUTH))
    with pytest.raises(ConfigError, match="finite"):
        combine(CELLS, ([math.inf, *TRUTH[1:]], TRUTH))
