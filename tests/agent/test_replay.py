import pytest
import torch

from lab.agent import Experience, ExperienceBuffer
from lab.base import ConfigError


def seen(number, action=0, **fields):
    state = torch.full((3,), float(number))
    return Experience(state=state, action=action, reward=float(number), next_state=state + 1, done=False, **fields)


def filled(count=20, **options):
    buffer = ExperienceBuffer(num_actions=4, **options)
    for number in range(count):
        buffer.push(seen(number))
    return buffer


def test_a_full_buffer_forgets_the_oldest():
    buffer = filled(7, capacity=3)
    assert len(buffer) == 3
    assert set(buffer.sample(200).rewards_B.tolist()) == {4.0, 5.0, 6.0}


def test_states_are_copies_on_the_cpu():
    buffer = ExperienceBuffer(num_actions=4)
    state = torch.zeros(3)
    buffer.push(Experience(state=state, action=0, reward=0.0, next_state=state, done=False))
    state.fill_(7.0)
    assert buffer.sample(1).states_BS.tolist() == [[0.0, 0.0, 0.0]]


def test_a_large_error_is_drawn_by_its_share():
    buffer = filled(10, priority=1.0)
    buffer.set_errors(range(10), [9.0] + [1.0] * 9)
    rewards = buffer.sample(6000).rewards_B
    assert float((rewards == 0).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_importance_weights_undo_the_priorities():
    buffer = filled(10, priority=1.0, correction=1.0)
    buffer.set_errors(range(10), [9.0] + [1.0] * 9)
    batch = buffer.sample(20_000)
    mean = float((batch.weights_B * batch.rewards_B).sum() / batch.weights_B.sum())
    assert mean == pytest.approx(4.5, abs=0.15)
    assert float(batch.weights_B.max()) == pytest.approx(1.0)


def test_without_priority_draws_are_uniform_and_weigh_the_same():
    buffer = filled(10, priority=0.0)
    buffer.set_errors(range(10), [100.0] + [1.0] * 9)
    batch = buffer.sample(6000)
    assert float((batch.rewards_B == 0).float().mean()) == pytest.approx(0.1, abs=0.02)
    assert set(batch.weights_B.tolist()) == {1.0}


def test_the_same_seed_draws_the_same_and_a_state_goes_on():
    one, other = filled(seed=3), filled(seed=3)
    one.sample(5)
    other.load_state_dict(one.state_dict())
    assert one.sample(50).rows == other.sample(50).rows
    assert filled(seed=4).sample(50).rows != filled(seed=3).sample(50).rows


def test_what_is_not_said_of_the_next_actions_means_all():
    buffer = filled(1)
    buffer.push(seen(1, next_mask=torch.tensor([True, False, False, True])))
    rows = {tuple(row) for row in buffer.sample(50).next_mask_BA.tolist()}
    assert rows == {(True, True, True, True), (True, False, False, True)}


def test_bad_use_is_named():
    with pytest.raises(ConfigError, match="experiences to draw from, found none"):
        ExperienceBuffer(num_actions=2).sample(1)
    with pytest.raises(ConfigError, match="an action below 4, got 4"):
        filled().push(seen(1, action=4))
    with pytest.raises(ConfigError, match="at most 2 experiences, got 3"):
        filled(2, capacity=2).load_state_dict(filled(3).state_dict())
    with pytest.raises(ConfigError, match=r"state and next_state of one shape \(S,\)"):
        Experience(state=torch.zeros(3), action=0, reward=0.0, next_state=torch.zeros(2), done=False)
