"""The agent that walks through a space: what it may do, what it learns from, and that learning is worth it."""

from itertools import pairwise

import pytest
import torch
from scipy import stats

from lab.agent import CellSearch, CellSearchConfig, LearnerConfig
from lab.base import ConfigError, DataError
from lab.space import DARTS, MACRO, NB125, NB201, Genotype

torch.set_num_threads(1)
NB125_KINDS = len(NB125.primitives)
IDENTITY = Genotype.from_indices(MACRO, (0,) * 8)


def additive(genotype):
    """Each place has one right choice, worth more at later places."""
    return 20.0 + sum((place + 1) * (column == place % 3) for place, column in enumerate(genotype.indices))


def distance(one, other):
    return len(one.diff(other))


def test_it_measures_as_many_different_networks_as_asked_and_goes_on_where_it_was():
    asked = []

    def measure(genotype):
        asked.append(genotype)
        return additive(genotype)

    search = CellSearch(NB201, measure, seed=1)
    found = search.run(30)
    assert [genotype for genotype, _ in found] == asked
    assert len(set(asked)) == 30
    assert all(accuracy == additive(genotype) for genotype, accuracy in found)
    assert search.run(45)[:30] == found


def test_each_action_changes_one_place_of_the_best_network_with_an_unknown_neighbour():
    found = CellSearch(NB201, additive, seed=2).run(40)
    for row in range(10, 40):
        best = max(found[:row], key=lambda pair: pair[1])[0]
        assert distance(best, found[row][0]) == 1


def test_growth_begins_at_the_first_network_and_walks_on_until_the_episode_ends():
    config = CellSearchConfig(
        episode=4, hindsight=0, updates=0, learner=LearnerConfig(gamma=0.9, n_step=2, hidden_dim=8)
    )
    search = CellSearch(MACRO, additive, config, first=IDENTITY, seed=3)
    found = [genotype for genotype, _ in search.run(13)]
    assert found[0] == IDENTITY
    for begin in (1, 5, 9):
        assert all(distance(*pair) == 1 for pair in pairwise(found[begin : begin + 4]))
    assert len(search.learner.buffer) == 12


def test_a_whole_space_can_be_measured_and_not_more():
    found = CellSearch(NB125, additive, CellSearchConfig(updates=0), seed=0).run(1_000)
    assert len({genotype for genotype, _ in found}) == NB125.size


def test_the_same_seed_gives_the_same_walk_and_another_seed_another():
    def walk(seed):
        return CellSearch(MACRO, additive, first=IDENTITY, seed=seed).run(30)

    def starts(seed):
        return CellSearch(NB201, additive, seed=seed).run(10)

    for way in (walk, starts):
        assert way(5) == way(5)
        assert way(5) != way(6)


def test_the_state_tells_networks_and_progress_apart():
    search = CellSearch(NB125, additive)
    state = search.state((0, 1, 4), 0.5)
    assert state.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5]
    known = {tuple(search.state((a, b, c), 0.0).tolist()) for a in range(5) for b in range(5) for c in range(5)}
    assert len(known) == NB125.size


def test_rewards_tell_the_best_apart_and_stop_at_the_floor():
    values = iter([90.0, 10.0, 80.0, 94.0, 100.0])
    search = CellSearch(NB125, lambda _: next(values), CellSearchConfig(starts=5, floor=0.5))
    search.run(5)
    rewards = search.rewards().tolist()
    assert rewards[0] == 0.0, "the median"
    assert rewards[1] == -0.5
    assert rewards[4] > rewards[3] > 0.0 > rewards[2] > -0.5


def test_hindsight_remembers_what_one_edit_of_a_neighbour_leads_to():
    search = CellSearch(NB125, additive, seed=4)
    search.run(20)
    states = {tuple(search.state(digits, 0.0).tolist()): row for row, digits in enumerate(search.known)}
    batch = search.learner.buffer.sample(200)
    for before, action, after in zip(batch.states_BS, batch.actions_B, batch.next_states_BS, strict=True):
        reached = (*after[:-1].tolist(), 0.0)
        digits = list(search.known)[states[reached]]
        place, column = divmod(int(action), 5)
        assert digits[place] == column, "the action is what leads there"
        places = (before[:-1] != after[:-1]).view(3, 3).any(1)
        assert places.nonzero().flatten().tolist() == [place], "and it changes no other place"
    assert len(set(states) & {tuple(row.tolist()) for row in batch.states_BS}) < len(batch.states_BS)


def rank_of_unknown_edits(rounds):
    """Spearman between what the agent expects of edits that it never saw and what they are worth, mean of 4 agents."""
    found = []
    for seed in range(4):
        search = CellSearch(NB125, additive, CellSearchConfig(starts=50, updates=4), seed=seed)
        search.run(50)
        for _ in range(rounds):
            search.learn()
        best = max(search.known, key=search.known.__getitem__)
        actions = search.mask(best).nonzero().flatten().tolist()
        expected = search.learner.values(search.state(best, 0.0))[actions].tolist()
        worth = []
        for action in actions:
            place, column = divmod(action, NB125_KINDS)
            digits = (*best[:place], column, *best[place + 1 :])
            worth.append(additive(Genotype.from_indices(NB125, digits)))
        found.append(stats.spearmanr(expected, worth).statistic)
    return sum(found) / len(found)


def test_what_was_measured_teaches_the_agent_what_unknown_edits_are_worth():
    assert rank_of_unknown_edits(rounds=60) > 0.6 > 0.3 > rank_of_unknown_edits(rounds=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CellSearch(DARTS, additive), "every edge has every primitive, got darts"),
        (lambda: CellSearch(NB125, additive, first=IDENTITY), "a first network of space nb125, got macro"),
        (lambda: CellSearchConfig(starts=0), "starts"),
        (lambda: CellSearchConfig(floor=0.0), "floor"),
        (lambda: CellSearchConfig(learner=LearnerConfig(gamma=0.5)), "gamma 0 with hindsight"),
        (lambda: CellSearch(NB125, additive).run(0), "evaluations"),
    ],
)
def test_what_cannot_be_searched_is_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()


@pytest.mark.parametrize("accuracy", [float("nan"), -1.0, 101.0])
def test_an_accuracy_that_is_none_is_refused(accuracy):
    with pytest.raises(DataError, match="an accuracy in percent"):
        CellSearch(NB125, lambda _: accuracy).run(3)
