"""The learner learns: a bandit, a chain that needs patience, and the formulas by hand."""

import os
from random import Random

import pytest
import torch
from scipy import stats

from lab.agent import Experience, LearnerConfig, QLearner
from lab.base import ConfigError

ARMS = 7
SEEDS = 20 if os.environ.get("LAB_LARGE") else 10


def pull(learner, generator, means, *, steps):
    """Play a bandit; the rewards in order."""
    state, rewards = torch.ones(1), []
    for _ in range(steps):
        action = learner.select(state)
        reward = means[action] + generator.gauss(0.0, 0.3)
        learner.observe(Experience(state=state, action=action, reward=reward, next_state=state, done=True))
        learner.learn()
        rewards.append(reward)
    return rewards


@pytest.mark.slow
def test_a_bandit_of_seven_arms_is_solved_in_most_seeds():
    best, trends = 0, []
    for seed in range(SEEDS):
        generator = Random(seed)
        means = [number / (ARMS - 1) for number in range(ARMS)]
        generator.shuffle(means)
        learner = QLearner(1, ARMS, LearnerConfig(lr=3e-3, n_step=1, hidden_dim=16, batch_size=16), seed=seed)
        # After 200 steps 36 of 40 seeds have solved it, after 300 39: which ones is another matter on each processor.
        rewards = pull(learner, generator, means, steps=300)
        best += learner.select(torch.ones(1), training=False) == means.index(max(means))
        trends.append(stats.spearmanr(range(len(rewards)), rewards).statistic)
    assert best >= 0.9 * SEEDS, f"{best} of {SEEDS}"
    assert stats.ttest_1samp(trends, 0.0, alternative="greater").pvalue < 1e-4


LENGTH = 5


def walk(learner, generator, *, training):
    """A chain: action 0 pays 0.1 and ends, action 1 goes on for nothing, and pays 1 at the end; the sum."""
    place, total = 0, 0.0
    while True:
        state = torch.nn.functional.one_hot(torch.tensor(place), LENGTH).float()
        action = learner.select(state, training=training)
        ends = action == 0 or place == LENGTH - 1
        reward = 0.1 if action == 0 else float(place == LENGTH - 1)
        following = torch.nn.functional.one_hot(torch.tensor(min(place + 1, LENGTH - 1)), LENGTH).float()
        if training:
            learner.observe(Experience(state=state, action=action, reward=reward, next_state=following, done=ends))
            learner.learn()
        total += reward
        if ends:
            return total
        place += 1


@pytest.mark.parametrize(("gamma", "expected"), [(0.95, 1.0), (0.0, 0.1)])
def test_patience_beats_greed_on_a_chain(gamma, expected):
    config = LearnerConfig(
        lr=3e-3, gamma=gamma, n_step=3 if gamma else 1, epsilon_decay=150, epsilon_end=0.1, hidden_dim=16, batch_size=16
    )
    learner = QLearner(LENGTH, 2, config, seed=1)
    generator = Random(0)
    for _ in range(150):
        walk(learner, generator, training=True)
    assert walk(learner, generator, training=False) == pytest.approx(expected)


def test_an_impossible_action_is_never_taken():
    learner = QLearner(2, 5, seed=0)
    mask = torch.tensor([False, True, False, True, False])
    taken = {learner.select(torch.zeros(2), mask) for _ in range(100)}
    taken |= {learner.select(torch.randn(2), mask, training=False) for _ in range(20)}
    assert taken == {1, 3}
    with pytest.raises(ConfigError, match="a possible action, found none"):
        learner.select(torch.zeros(2), torch.zeros(5, dtype=torch.bool))


def test_targets_are_the_formula():
    config = LearnerConfig(gamma=0.5, n_step=2, batch_size=3)
    learner = QLearner(2, 3, config, seed=0)
    with torch.no_grad():
        for parameter in learner.target_net.parameters():
            parameter.add_(0.3)  # so that the two networks differ
    states = torch.randn(4, 2)
    mask = torch.tensor([True, False, True])
    rewards = [1.0, 2.0, 4.0]
    for number, reward in enumerate(rewards):
        learner.observe(
            Experience(
                state=states[number],
                action=number,
                reward=reward,
                next_state=states[number + 1],
                done=number == 2,
                next_mask=mask,
            )
        )
    kept = learner.buffer._kept
    assert [item.reward for item in kept] == [1.0 + 0.5 * 2.0, 2.0 + 0.5 * 4.0, 4.0]
    assert [item.steps for item in kept] == [2, 2, 1]
    assert [item.done for item in kept] == [False, True, True]
    batch = learner.buffer.sample(50)
    found = learner.targets(batch)
    with torch.no_grad():
        choice = learner.policy_net(states[2])[0].masked_fill(~mask, -torch.inf).argmax()
        later = float(learner.target_net(states[2])[0][choice])
    expected = torch.tensor([{0: 2.0 + 0.25 * later, 1: 4.0, 2: 4.0}[row] for row in batch.rows])
    assert torch.allclose(found, expected)


def test_a_learning_step_moves_every_parameter_and_the_target_a_share_of_the_way():
    learner = QLearner(2, 3, LearnerConfig(batch_size=4, target_rate=0.25), seed=0)
    for number in range(8):
        state = torch.randn(2)
        learner.observe(
            Experience(state=state, action=number % 3, reward=float(number), next_state=torch.randn(2), done=True)
        )
    before = [p.detach().clone() for p in learner.policy_net.parameters()]
    assert learner.learn() is not None
    optimised = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in learner.policy_net.parameters()}
    for old, policy, target in zip(
        before, learner.policy_net.parameters(), learner.target_net.parameters(), strict=True
    ):
        assert not torch.equal(old, policy)
        assert torch.allclose(target, old + 0.25 * (policy.detach() - old))


def test_learning_waits_for_a_batch():
    assert QLearner(2, 3).learn() is None


def test_exploration_fades():
    learner = QLearner(1, 2, LearnerConfig(epsilon_start=0.9, epsilon_end=0.1, epsilon_decay=10))
    assert learner.epsilon == pytest.approx(0.9)
    for _ in range(100):
        learner.select(torch.zeros(1))
    assert learner.epsilon == pytest.approx(0.1, abs=1e-3)


def test_the_same_seed_plays_the_same_game_and_the_callers_stream_is_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    games = []
    for _ in range(2):
        torch.manual_seed(5)
        learner = QLearner(1, ARMS, LearnerConfig(batch_size=4), seed=2)
        games.append(pull(learner, Random(0), [0.0] * ARMS, steps=30))
        assert torch.equal(torch.rand(3), expected)
    assert games[0] == games[1]


def test_a_saved_learner_plays_on():
    learner = QLearner(1, ARMS, LearnerConfig(batch_size=4, n_step=3), seed=2)
    pull(learner, Random(0), [0.0] * ARMS, steps=20)
    other = QLearner(1, ARMS, LearnerConfig(batch_size=4, n_step=3), seed=9)
    other.load_state_dict(learner.state_dict())
    games = [pull(one, Random(1), [0.5] * ARMS, steps=20) for one in (learner, other)]
    assert games[0] == games[1]
    with pytest.raises(ConfigError, match="an agent of 2 features and 7 actions"):
        QLearner(2, ARMS).load_state_dict(learner.state_dict())
