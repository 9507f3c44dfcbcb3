import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.monitor import noise, oscillation, trend
from lab.monitor.signals import decades, from_decades, levels, margins, relative_fall

SAWTOOTH = [0.05 if step % 2 else 0.09 for step in range(64)]


def test_a_sawtooth_oscillates_and_more_so_the_larger_it_is() -> None:
    sizes = [oscillation([1.0 + size * (-1) ** step for step in range(64)]) for size in (0.02, 0.1, 0.2, 0.3, 0.6)]
    assert sizes[0] == 0.0
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0.9
    assert oscillation(SAWTOOTH) > 0.5


@pytest.mark.parametrize("period", range(2, 17))
def test_a_limit_cycle_of_any_period_oscillates(period: int) -> None:
    series = [0.07 + 0.03 * math.cos(2 * math.pi * step / period + 0.3) for step in range(64)]
    assert oscillation(series) > 0.6


@pytest.mark.parametrize("cycle", [(0.1, 0.04, 0.04), (0.04, 0.1, 0.1), (0.1, 0.08, 0.04, 0.03, 0.07)])
def test_a_cycle_of_three_or_five_losses_oscillates_in_noise_as_well(cycle: tuple[float, ...]) -> None:
    generator = np.random.default_rng(0)
    series = [cycle[step % len(cycle)] + 0.005 * generator.normal() for step in range(64)]
    assert oscillation(series) > 0.25


def test_a_sawtooth_on_a_falling_loss_oscillates() -> None:
    assert oscillation([(1.0 - step / 100) * (1 + 0.3 * (-1) ** step) for step in range(64)]) > 0.5


@pytest.mark.parametrize("decay", [3.0, 10.0, 30.0, 100.0])
def test_a_falling_loss_does_not_oscillate(decay: float) -> None:
    assert oscillation([0.3 + 2.0 * math.exp(-step / decay) for step in range(64)]) == 0.0


@pytest.mark.parametrize("draw", ["normal", "exponential", "lognormal"])
@pytest.mark.parametrize("length", [12, 16, 24, 32, 48, 64])
def test_independent_noise_does_not_oscillate(draw: str, length: int) -> None:
    generator = np.random.default_rng(length)
    draws = getattr(generator, draw)(size=(1500, length))
    series = 1 + 0.3 * draws if draw == "normal" else draws
    alarms = sum(oscillation(row) >= 0.25 for row in series)
    assert alarms <= 1


def test_a_step_or_one_spike_is_no_oscillation() -> None:
    assert oscillation([0.3] * 30 + [0.9] * 34) == 0.0
    assert oscillation([0.3] * 30 + [3.0] + [0.3] * 33) == 0.0


def test_too_few_or_zero_values_do_not_oscillate() -> None:
    assert oscillation(SAWTOOTH[:11]) == 0.0
    assert oscillation(SAWTOOTH[:12]) > 0.25
    assert oscillation([0.0] * 64) == 0.0
    assert oscillation([0.5] * 64) == 0.0


def test_below_the_floor_a_swing_counts_for_less() -> None:
    assert oscillation(SAWTOOTH, floor=1.0) == 0.0


def test_trend_is_the_fitted_change_over_the_mean() -> None:
    change, significance = trend([2.0, 1.5, 1.0])
    assert change == pytest.approx(-1.0 / 1.5)
    assert significance < -1e3
    assert trend([1.0, 1.0]) == (0.0, 0.0)
    assert trend([0.0] * 5) == (0.0, 0.0)


def test_trend_of_noise_is_significant_as_often_as_a_t_test_says() -> None:
    rows = np.random.default_rng(0).normal(1.0, 0.3, size=(2000, 64))
    share = np.mean([abs(trend(row)[1]) > 2.0 for row in rows])
    assert share == pytest.approx(0.05, abs=0.02)


def test_noise_is_the_standard_deviation_whatever_the_drift_and_one_jump() -> None:
    draws = np.random.default_rng(0).normal(0.0, 0.1, size=(200, 64))
    drift = np.linspace(5.0, 0.0, 64)
    jump = np.where(np.arange(64) < 40, 0.0, 50.0)
    raised = 1 + 8 / 64 + (16 / 64) ** 3
    found = [np.mean([noise(list(row + extra)) for row in draws]) / raised for extra in (0.0, drift, jump)]
    assert found == pytest.approx([0.1, 0.1, 0.1], rel=0.12)
    assert noise([1.0] * 7) == math.inf
    assert noise([0.1 * step for step in range(20)]) == pytest.approx(0.0, abs=1e-12)


def test_levels_are_medians_of_the_last_values() -> None:
    assert levels([0.0] * 61 + [1.0, 1.0, 0.0])[0] == 1.0
    assert levels([5.0, 1.0, 2.0, 9.0]) == [2.0, 3.5, 3.5, 3.5]


def test_margins_hold_the_level_of_noise() -> None:
    rows = np.random.default_rng(0).normal(0.0, 1.0, size=(3000, 64))
    margin = margins(1.0, 64, 3000)
    outside = [np.mean([abs(levels(list(row))[i]) > margin[i] for row in rows]) for i in range(len(margin))]
    assert outside == [0.0] * len(margin)
    assert margins(1.0, 9, 3000)[1:] == [margins(1.0, 64, 3000)[1]] * 3


def test_a_fall_is_the_share_that_is_lost() -> None:
    assert relative_fall(0.6, 0.2) == pytest.approx(2 / 3)
    assert relative_fall(0.6, 0.7) == 0.0
    assert relative_fall(0.0, -1.0) == 0.0
    assert relative_fall(-math.inf, 0.2) == 0.0


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e30, 1e30), st.floats(1e-6, 1e6))
def test_decades_are_undone_by_from_decades(value: float, scale: float) -> None:
    assert from_decades(decades(value, scale), scale) == pytest.approx(value, rel=1e-9, abs=1e-12 * scale)


def test_decades_count_factors_of_ten_and_keep_order_through_zero() -> None:
    assert decades(3000.0, 1.0) - decades(300.0, 1.0) == pytest.approx(1.0, abs=1e-4)
    assert decades(-1.0, 1.0) < decades(0.0, 1.0) == 0.0 < decades(1.0, 1.0)
    assert from_decades(1000.0, 1.0) == math.inf
