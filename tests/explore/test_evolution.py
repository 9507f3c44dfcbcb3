"""The search over scores: the published recipe, the same result from any state, limits, every space."""

import json
import math
import random

import pytest

from lab.base import ConfigError
from lab.explore import EvolutionConfig, Prior, ScoreSearch
from lab.space import DARTS, NB125, NB201, SIZES, Genotype, sample

SPACES = (NB201, NB125, DARTS, SIZES)


def weights(genotype):
    """A sum over the edges, largest for the last primitive everywhere, and a score that some cells do not have."""
    total = sum(column + 1 for column in genotype.indices)
    return {"sum": float(total), "odd": -math.inf if genotype.indices[0] == 0 else 1.0}


def searched(space=NB201, seed=0, evaluations=60, **kwargs):
    search = ScoreSearch(space, weights, seed=seed, **kwargs)
    search.run(evaluations)
    return search


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_it_finds_better_cells_than_as_many_uniform_draws(space):
    best, uniform = [], []
    for seed in range(5):
        prior = searched(space, seed, evaluations=min(150, space.size)).prior()
        best.append(prior.cells[0].scores["sum"])
        rng = random.Random(seed)
        uniform.append(max(weights(sample(space, rng))["sum"] for _ in range(150)))
    assert sum(best) > sum(uniform) or space == NB125
    if space.taken is None:
        assert max(best) == len(space.edges) * len(space.primitives)


def test_each_cell_is_measured_once_and_the_number_is_kept():
    asked = []

    def measure(genotype):
        asked.append(genotype)
        return weights(genotype)

    search = ScoreSearch(NB201, measure, seed=3)
    search.run(80)
    assert len(asked) == len(set(asked)) == search.evaluations
    assert 80 <= search.evaluations <= 82
    assert len(search.generations) <= 25


def test_a_search_taken_up_from_its_state_ends_with_the_same_bits():
    whole = searched(evaluations=120)
    for cut in (7, 25, 61):
        first = searched(evaluations=cut)
        state = json.loads(json.dumps(first.state()))
        second = ScoreSearch(NB201, weights, seed=99)
        second.restore(state)
        second.run(120)
        assert second.state() == whole.state()
        assert second.prior() == whole.prior()


def test_different_seeds_search_differently():
    assert list(searched(seed=0).values) != list(searched(seed=1).values)


def test_a_total_is_each_score_over_its_largest_and_broken_cells_come_last():
    search = searched(evaluations=60)
    largest = max(scores["sum"] for scores in search.values.values())
    for genotype, total in search.totals().items():
        broken = genotype.indices[0] == 0
        assert total == (-math.inf if broken else pytest.approx(search.values[genotype]["sum"] / largest + 1))
    assert math.isfinite(search.prior().cells[0].value)


def test_limits_are_kept_and_limits_that_nothing_keeps_are_an_error():
    search = searched(allowed=lambda genotype: genotype.indices[1] != 4)
    assert all(genotype.indices[1] != 4 for genotype in search.values)
    with pytest.raises(ConfigError, match="keep the limits"):
        searched(allowed=lambda genotype: False)


def test_a_small_space_is_searched_until_nothing_is_left():
    search = searched(NB125, evaluations=1000)
    assert search.exhausted
    assert 60 < search.evaluations <= NB125.size


def test_a_child_differs_from_its_parents_by_one_edge_or_takes_each_edge_from_one():
    search = ScoreSearch(DARTS, weights, seed=0)
    one, two = (sample(DARTS, random.Random(seed)) for seed in (1, 2))
    for _ in range(20):
        child = search._crossed(one, two)
        assert all(
            primitive in pair for primitive, *pair in zip(child.primitives, one.primitives, two.primitives, strict=True)
        )
        assert len([row for row in search._mutated(one).rows if row not in one.rows]) <= 1


def test_wrong_settings_and_states_are_errors_of_ours():
    with pytest.raises(ConfigError, match="tournament"):
        EvolutionConfig(tournament=30)
    with pytest.raises(ConfigError, match="a search that has run"):
        ScoreSearch(NB201, weights).prior()
    with pytest.raises(ConfigError, match="state of a search of nb125"):
        ScoreSearch(NB125, weights).restore(searched(evaluations=30).state())
    with pytest.raises(ConfigError, match=r"as ScoreSearch\.state wrote it"):
        ScoreSearch(NB201, weights).restore({"space": "nb201", "random": [1, 2]})


def test_a_prior_of_a_search_is_a_prior():
    prior = searched().prior()
    assert isinstance(prior, Prior)
    assert isinstance(prior.genotype, Genotype)
