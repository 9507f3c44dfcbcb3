"""`Prior`: edge preferences worked out by hand, and what others start from."""

import math
import random

import pytest
import torch

from lab.base import ConfigError
from lab.explore import GumbelExplorer, Prior, ScoredCell
from lab.space import DARTS, NB125, NB201, Genotype, mutate, sample


def cell(digits, value, space=NB125):
    return ScoredCell(genotype=Genotype.from_indices(space, map(int, digits)), value=value)


def test_preferences_are_the_standardised_best_value_of_each_primitive():
    prior = Prior.of(NB125, [cell("310", 1.0), cell("313", 3.0), cell("200", -math.inf)])
    # Best values that were seen: 3 on 3<-, 1<-, 3 and 1 on the last edge; mean 2.5, deviation of (3, 3, 3, 1).
    deviation = math.sqrt((3 * 0.25 + 2.25) / 4)
    high, low = 0.5 / deviation, -1.5 / deviation
    expected = [[low] * 5, [low] * 5, [low] * 5]
    expected[0][3] = expected[1][1] = expected[2][3] = high
    for row, wanted in zip(prior.preferences, expected, strict=True):
        assert row == pytest.approx(wanted)
    assert prior.alpha(2.0).tolist()[2] == pytest.approx([2 * value for value in expected[2]])


@pytest.mark.parametrize("space", [NB201, DARTS], ids=lambda space: space.name)
def test_the_argmax_of_alpha_is_the_best_cell(space):
    rng = random.Random(0)
    cells = [ScoredCell(genotype=sample(space, rng), value=rng.gauss(0, 1)) for _ in range(50)]
    prior = Prior.of(space, cells)
    assert prior.genotype == max(cells, key=lambda each: each.value).genotype
    alpha = prior.alpha()
    assert alpha.shape == (len(space.edges), len(space.primitives))
    for row in prior.genotype.rows:
        assert int(alpha[row].argmax()) == prior.genotype.indices[row]
    if space.taken is None:
        explorer = GumbelExplorer(space)
        with torch.no_grad():
            explorer.alpha.copy_(alpha)
        assert explorer.argmax_genotype == prior.genotype


def test_probabilities_sum_to_one_sharpen_with_temperature_and_guide_mutations():
    prior = Prior.of(NB125, [cell("310", 1.0), cell("313", 3.0)])
    warm, cold = prior.probabilities(), prior.probabilities(0.1)
    assert all(sum(row) == pytest.approx(1) for row in (*warm, *cold))
    assert cold[2][3] > warm[2][3] > warm[2][0]
    start = Genotype.from_indices(NB125, (0, 0, 0))
    drawn = [mutate(start, 0.4, "guided", random.Random(seed), cold) for seed in range(50)]
    likely = sum(each in {Genotype.from_indices(NB125, c) for c in ((3, 0, 0), (0, 1, 0), (0, 0, 3))} for each in drawn)
    assert likely > 45


def test_a_prior_comes_back_from_json():
    prior = Prior.of(NB125, [cell("310", 1.0), cell("313", 3.0), cell("000", -math.inf)])
    assert Prior.from_json(prior.to_json()) == prior
    assert prior.value(prior.genotype) == 3.0
    assert prior.value(Genotype.from_indices(NB125, (4, 4, 4))) is None
    with pytest.raises(ConfigError, match="written by to_json"):
        Prior.from_json({"space": "nb125"})


def test_cells_that_make_no_prior_are_refused():
    with pytest.raises(ConfigError, match="cells with values"):
        Prior.of(NB125, [])
    with pytest.raises(ConfigError, match="cells of nb201"):
        Prior.of(NB201, [cell("310", 1.0)])
    with pytest.raises(ConfigError, match="finite value"):
        Prior.of(NB125, [cell("310", -math.inf)])
    with pytest.raises(ConfigError, match="temperature"):
        Prior.of(NB125, [cell("310", 1.0)]).probabilities(0)
