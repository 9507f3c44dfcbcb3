import math

import pytest
import torch
from torch import nn

from lab.train.optimizer import FINAL_RATE, LearningRate

EPOCHS, STEPS = 4, 5


@pytest.fixture
def optimizer():
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)


def trained(rate, epochs=range(EPOCHS), **begun):
    """The rate of each training step."""
    seen = []
    for epoch in epochs:
        rate.begin(epoch, epoch / EPOCHS, step=1 / STEPS, phase_step=1 / STEPS / EPOCHS, **begun)
        for _ in range(STEPS):
            rate.advance()
            assert rate.optimizer.param_groups[0]["lr"] == rate.value
            seen.append(rate.value)
    return seen


@pytest.mark.parametrize("schedule", ["cosine", "phase"])
def test_the_rate_of_each_step_is_that_of_torchs_cosine(optimizer, schedule):
    reference = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(reference, EPOCHS * STEPS, eta_min=0.1 * FINAL_RATE)
    expected = []
    for _ in range(EPOCHS * STEPS):
        expected.append(scheduler.get_last_lr()[0])
        reference.step()
        scheduler.step()
    assert trained(LearningRate(optimizer, 0.1, EPOCHS, schedule=schedule)) == pytest.approx(expected, rel=1e-9)


def test_a_rate_that_is_held_over_each_epoch_has_one_value_in_it(optimizer):
    seen = trained(LearningRate(optimizer, 0.1, EPOCHS, interval="epoch"))
    cosine = [0.1 * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * e / EPOCHS)) / 2) for e in range(EPOCHS)]
    assert seen == pytest.approx([value for value in cosine for _ in range(STEPS)])


def test_a_lowered_rate_stays_lower_at_every_later_step(optimizer):
    whole = trained(LearningRate(optimizer, 0.1, EPOCHS))
    rate = LearningRate(optimizer, 0.1, EPOCHS)
    trained(rate, range(2))
    rate.lower(0.5)
    assert trained(rate, range(2, 4)) == pytest.approx([value / 2 for value in whole[2 * STEPS :]])


def test_a_run_resumed_in_the_middle_of_an_epoch_goes_on_with_its_rates(optimizer):
    rate, again = LearningRate(optimizer, 0.1, EPOCHS), LearningRate(optimizer, 0.1, EPOCHS)
    rate.begin(1, step=1 / STEPS)
    for _ in range(2):
        rate.advance()
    again.load_state_dict(rate.state_dict())
    assert again.value == rate.value
    for _ in range(3):
        rate.advance()
        again.advance()
        assert again.value == rate.value


def test_constant_and_plateau_hold_the_rate(optimizer):
    for schedule in ("constant", "plateau"):
        assert set(trained(LearningRate(optimizer, 0.1, EPOCHS, schedule=schedule))) == {0.1}
