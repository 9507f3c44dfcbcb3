"""The interval of a trial holds what it says: known answers, and coverage on differences that a program drew."""

import math
from statistics import mean

import pytest
import torch
from scipy import stats

from lab.base import ConfigError, DataError
from lab.trial import TrialConfig, TrialNoise, estimate
from lab.trial.estimate import spending

OWN = TrialConfig(noise_weight=0)
"""Nothing is expected beforehand: what is measured alone."""


def drawn(generator, *, effect=0.0, order=0.02, sample=0.1, rest=0.1, orders=2, samples=400):
    """Synthetic losses of both copies by the model of the estimate."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    control = torch.rand(samples, generator=generator, dtype=torch.float64).expand(orders, -1) + 0.5
    noise = order * normal(orders, 1) + sample * normal(1, samples) + rest * normal(orders, samples)
    return control, control + effect + noise


def covers(found, effect):
    return found.low <= effect <= found.high


def test_the_formula_by_hand():
    control = torch.full((2, 3), 1.0)
    changed = torch.tensor([[1.1, 1.3, 1.2], [1.5, 1.4, 1.9]])
    found = estimate(control, changed, config=OWN, error_rate=0.1)
    means_of_orders, means_of_samples = (0.2, 0.6), (0.3, 0.35, 0.55)
    among_orders = (0.2**2 + 0.2**2) / 1
    rest = (
        sum(
            (changed[r, i].item() - 1 - means_of_orders[r] - means_of_samples[i] + 0.4) ** 2
            for r in (0, 1)
            for i in range(3)
        )
        / 2
    )
    by_sample = max(torch.tensor(means_of_samples).var().item() / 3 - rest / 6, 0.0)
    assert found.mean == pytest.approx(0.4)
    assert found.order_error == pytest.approx(math.sqrt(among_orders / 2), rel=1e-5)
    assert found.sample_error == pytest.approx(math.sqrt(by_sample), rel=1e-4)
    half = math.sqrt(stats.t.ppf(0.95, 1) ** 2 * among_orders / 2 + stats.t.ppf(0.95, 2) ** 2 * by_sample)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half), rel=1e-4)
    assert found.control_loss == 1.0


@pytest.mark.parametrize(("order", "sample", "rest"), [(0.02, 0.1, 0.1), (0.0, 0.3, 0.1), (0.05, 0.0, 0.05)])
def test_the_interval_covers_the_effect_as_often_as_it_says(order, sample, rest):
    """On synthetic differences."""
    generator = torch.Generator().manual_seed(1)
    hits = []
    for _ in range(1000):
        pair = drawn(generator, effect=0.03, order=order, sample=sample, rest=rest)
        hits.append(covers(estimate(*pair, config=OWN, error_rate=0.1), 0.03))
    assert mean(hits) >= 0.9 - 3 * math.sqrt(0.09 / 1000)


def test_the_paired_error_alone_covers_far_too_little():
    """What the interval would miss without the orders: on the same synthetic differences."""
    generator = torch.Generator().manual_seed(1)
    hits = []
    for _ in range(300):
        control, changed = drawn(generator, effect=0.03)
        difference = (changed - control)[0]
        error = float(difference.std()) / math.sqrt(len(difference))
        hits.append(abs(float(difference.mean()) - 0.03) <= 1.65 * error)
    assert mean(hits) < 0.6


def test_noise_of_earlier_trials_narrows_the_interval_and_it_still_covers():
    """On synthetic differences: a run of trials, each pooled with those before it."""
    generator = torch.Generator().manual_seed(2)
    hits, first, last = [], [], []
    for _ in range(150):
        noise = TrialNoise()
        for number in range(8):
            found = estimate(*drawn(generator), config=OWN, noise=noise, error_rate=0.05)
            hits.append(covers(found, 0.0))
            {0: first, 7: last}.get(number, []).append(found.high - found.low)
            noise = noise.observe(found)
        assert noise.trials == noise.order_freedom == 8
    assert mean(hits) >= 0.95 - 3 * math.sqrt(0.0475 / 1200)
    assert mean(last) < mean(first) / 2


def test_an_expected_noise_counts_with_its_weight():
    config = TrialConfig(noise=0.04, noise_weight=3)
    assert TrialNoise().order_variance(config) == pytest.approx((0.04**2, 3))
    seen = TrialNoise(order_squares=0.01, order_freedom=2, ratio_squares=0.5, trials=2)
    assert seen.order_variance(config) == pytest.approx(((0.01 + 3 * 0.04**2) / 5, 5))
    assert seen.pair_ratio(config) == pytest.approx(0.5)
    assert TrialNoise().pair_ratio(config) == config.pair_ratio


def test_the_noise_is_never_taken_smaller_than_what_a_trial_shows_itself():
    quiet = TrialNoise(order_squares=1e-9, order_freedom=50, ratio_squares=1.0, trials=50)
    control = torch.ones(2, 100)
    changed = control + torch.tensor([[0.0], [0.2]])
    assert estimate(control, changed, config=OWN, noise=quiet, error_rate=0.05).order_error == pytest.approx(
        0.1, rel=1e-4
    )


def test_the_looks_share_the_error_rate():
    config = TrialConfig(steps=64, looks=3, error_rate=0.04)
    assert config.look_steps == (16, 32, 64)
    assert spending(config) == pytest.approx((0.01, 0.01, 0.02))
    assert TrialConfig(steps=1, looks=3).look_steps == (1,)
    assert TrialConfig(steps=3, looks=3).look_steps == (1, 3)


def test_a_difference_that_a_trial_can_see_is_seen_with_the_stated_power():
    """On synthetic differences of the size that `least_difference` names."""
    generator = torch.Generator().manual_seed(3)
    config = TrialConfig(looks=1, noise=0.02, noise_weight=40, pair_ratio=0.5)
    base = torch.rand(400, generator=generator, dtype=torch.float64) + 0.5
    least = TrialNoise().least_difference(config, base)
    sample = 0.5 * float(base.std())
    seen = []
    for _ in range(400):
        control, changed = drawn(
            generator, effect=-least, order=0.02 * float(base.mean()), sample=sample, rest=1e-6, samples=400
        )
        seen.append(estimate(control, changed, config=config, error_rate=config.error_rate).clear == "better")
    assert 0.74 <= mean(seen) <= 0.92
    assert TrialNoise().least_difference(config, base, samples=40) > 1.4 * least


def test_a_loss_that_is_no_number_is_worse_and_a_broken_control_is_an_error():
    control, changed = torch.ones(2, 10), torch.ones(2, 10)
    changed[1, 3] = math.nan
    found = estimate(control, changed, config=OWN, error_rate=0.05)
    assert found.clear == "worse"
    assert TrialNoise().observe(found) == TrialNoise()
    changed[1, 3] = math.inf
    assert estimate(control, changed, config=OWN, error_rate=0.05).clear == "worse"
    with pytest.raises(DataError, match="finite losses of the control copy"):
        estimate(changed, control, config=OWN, error_rate=0.05)
    with pytest.raises(DataError, match="at least two of each"):
        estimate(control[:1], control[:1], config=OWN, error_rate=0.05)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"orders": 1}, {"share": -0.1}, {"error_rate": 0.0}, {"patience": 0}])
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrialConfig(**wrong)
