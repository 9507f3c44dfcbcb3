import json
import math
import timeit
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from lab.base import ConfigError
from lab.monitor import ADVICE, STATES, MonitorConfig, StabilityMonitor, Verdict
from lab.monitor.monitor import _remember
from lab.monitor.verdict import Signals, judge

Numbers = Sequence[float]
NOTHING = Signals(oscillation=0.0, divergence=0.0, fall=0.0, gradient=0.0, trend=0.0, falling=False, observations=64)


def play(losses: Numbers, accuracies: Numbers | None = None, grad_norms: Numbers | None = None) -> list[Verdict]:
    """The verdict at every step of a run."""
    monitor = StabilityMonitor()
    return [
        monitor.observe(
            step=step,
            loss=loss,
            accuracy=None if accuracies is None else accuracies[step],
            grad_norm=None if grad_norms is None else grad_norms[step],
        )
        for step, loss in enumerate(losses)
    ]


def descent(length: int = 1000, decay: float = 120.0, sd: float = 0.2, seed: int = 0) -> list[float]:
    """A loss from 2.3 to 0.3 with the noise of mini-batches."""
    draws = np.random.default_rng(seed).normal(size=length)
    return [float((0.3 + 2.0 * math.exp(-step / decay)) * abs(1 + sd * draw)) for step, draw in enumerate(draws)]


@pytest.mark.parametrize("sd", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("decay", [5.0, 40.0, 120.0, 400.0])
def test_a_healthy_descent_scores_at_least_nine_tenths_at_every_step(decay: float, sd: float) -> None:
    verdicts = play(descent(decay=decay, sd=sd, seed=int(decay + 10 * sd)))
    assert min(verdict.health for verdict in verdicts) >= 0.9
    assert {verdict.state for verdict in verdicts} <= {"improving", "plateau"}
    assert {verdict.advice for verdict in verdicts} == {"none"}


@pytest.mark.parametrize("kind", ["near zero", "around zero", "lognormal"])
def test_noise_of_tiny_losses_is_no_fault(kind: str) -> None:
    draws = np.random.default_rng(5).normal(size=4000)
    losses = {
        "near zero": np.abs(0.002 + 0.002 * draws),
        "around zero": 0.002 + 0.006 * draws,
        "lognormal": 0.05 * np.exp(draws),
    }[kind]
    verdicts = play(losses.tolist())
    assert min(verdict.health for verdict in verdicts) >= 0.9
    assert max(verdict.oscillation for verdict in verdicts) < 0.1


def test_a_rise_far_below_the_opening_loss_is_no_fault() -> None:
    draws = np.random.default_rng(5).normal(size=1500)
    late = np.where(np.arange(1500) < 1000, 1e-4, 3e-3)
    losses = (2.3 * np.exp(-np.arange(1500) / 60) + late) * np.exp(0.3 * draws)
    assert min(verdict.health for verdict in play(losses.tolist())) >= 0.9


def test_one_loss_of_forty_times_is_an_outlier() -> None:
    assert min(verdict.health for verdict in play([*descent(400, sd=0.05), 12.0, *descent(400, sd=0.05)[300:]])) >= 0.9


def test_accuracies_of_small_batches_are_no_fault() -> None:
    generator = np.random.default_rng(4)
    chance = 0.1 + 0.85 * (1 - np.exp(-np.arange(1000) / 200))
    for batch in (16, 32, 64):
        accuracies = (generator.binomial(batch, chance) / batch).tolist()
        assert min(verdict.health for verdict in play(descent(), accuracies)) >= 0.9


def test_the_small_last_batch_of_an_epoch_is_no_fault() -> None:
    generator = np.random.default_rng(5)
    losses, accuracies = [], []
    for step in range(1500):
        wrong = generator.random(1 if step % 23 == 22 else 64) < 0.02
        losses.append(float(np.where(wrong, 4.0, 0.01).mean()))
        accuracies.append(float(1 - wrong.mean()))
    assert max(losses) == 4.0
    assert min(verdict.health for verdict in play(losses, accuracies)) >= 0.9


def test_a_sawtooth_is_oscillation() -> None:
    verdict = play([0.05 if step % 2 else 0.09 for step in range(64)])[-1]
    assert (verdict.state, verdict.advice) == ("oscillating", "reduce_lr")
    assert verdict.oscillation > 0.5
    assert verdict.health < 0.75
    assert "swings regularly" in verdict.reasons[0]


def test_a_sawtooth_at_the_end_of_a_healthy_run_is_seen_within_a_window() -> None:
    sawtooth = [0.05 if step % 2 else 0.09 for step in range(64)]
    assert play([*descent(600), *sawtooth])[-1].state == "oscillating"


def test_a_fall_of_the_accuracy_is_degradation() -> None:
    accuracies = [0.1, 0.3, 0.45, 0.55, 0.6, 0.6, 0.6, 0.6, 0.2, 0.2]
    verdict = play([1.0] * len(accuracies), accuracies)[-1]
    assert verdict.state == "degraded"
    assert verdict.degradation > 0.3
    assert verdict.health < 0.7
    assert "The accuracy lost" in verdict.reasons[0]


def test_a_fall_amid_the_noise_of_batches_is_degradation() -> None:
    generator = np.random.default_rng(6)
    accuracies = [*generator.binomial(32, 0.6, 300) / 32, *generator.binomial(32, 0.2, 64) / 32]
    verdicts = play(descent(364), accuracies)
    assert {verdict.state for verdict in verdicts[:300]} <= {"improving", "plateau"}
    assert verdicts[315].state == "degraded"
    assert verdicts[-1].advice == "rollback"


def test_an_accuracy_once_an_epoch_is_judged_when_it_comes() -> None:
    monitor = StabilityMonitor()
    for epoch in range(14):
        for step in range(20):
            monitor.observe(step=20 * epoch + step, loss=1.0)
        verdict = monitor.observe(step=20 * epoch + 20, loss=1.0, accuracy=0.6 if epoch < 12 else 0.2)
    assert verdict.step == 20 * 13 + 20
    assert verdict.state == "degraded"


def test_a_loss_that_returns_to_its_beginning_asks_for_a_rollback() -> None:
    generator = np.random.default_rng(7)
    verdicts = play([*descent(600), *(2.3 * (1 + 0.05 * generator.normal(size=24)))])
    assert verdicts[599].advice == "none"
    assert verdicts[-1].state in ("degraded", "diverging")
    assert verdicts[-1].advice == "rollback"


@pytest.mark.parametrize("start", [20, 300, 301, 305])
def test_a_loss_that_rises_by_orders_diverges_within_two_steps(start: int) -> None:
    verdicts = play([*descent(start), 100.0, 110.0])
    assert verdicts[start - 1].advice == "none"
    assert (verdicts[-1].state, verdicts[-1].advice) == ("diverging", "rollback")
    assert verdicts[-1].step == start + 1
    assert verdicts[-1].health <= 0.1


def test_one_loss_of_a_thousand_times_diverges_at_once() -> None:
    verdict = play([*descent(300), 3000.0])[-1]
    assert (verdict.step, verdict.state) == (300, "diverging")


def test_growth_by_a_fifth_a_step_diverges() -> None:
    verdicts = play([*descent(300), *(0.3 * 1.2**step for step in range(30))])
    assert verdicts[-1].state == "diverging"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
@pytest.mark.parametrize("name", ["loss", "accuracy", "grad_norm"])
@pytest.mark.parametrize("before", [0, 1, 303])
def test_no_finite_number_is_health_zero_and_asks_for_a_rollback_at_once(value: float, name: str, before: int) -> None:
    monitor = StabilityMonitor()
    for step, loss in enumerate(descent(before)):
        monitor.observe(step=step, loss=loss, accuracy=0.5, grad_norm=1.0)
    given = {"loss": 0.3, "accuracy": 0.5, "grad_norm": 1.0, name: value}
    verdict = monitor.observe(step=before, **given)
    assert (verdict.step, verdict.health, verdict.state, verdict.advice) == (before, 0.0, "failed", "rollback")
    assert name.split("_")[0].replace("grad", "gradient") in verdict.reasons[0]
    monitor.begin("after the rollback")
    assert monitor.observe(step=before + 1, loss=0.3).health == 1.0


def test_after_nan_a_finite_loss_is_judged_at_once() -> None:
    verdicts = play([*descent(300), math.nan, 0.3])
    assert [verdict.state == "failed" for verdict in verdicts[-3:]] == [False, True, False]
    assert verdicts[-1].step == 301


def test_an_exploding_gradient_is_named_and_costs_some_health() -> None:
    verdict = play(descent(264), None, [1.0] * 256 + [500.0] * 8)[-1]
    assert "gradient norm is 500 times" in " ".join(verdict.reasons)
    assert 0.75 < verdict.health < 0.95
    assert play(descent(264), None, [1.0] * 256 + [5.0] * 8)[-1].health == 1.0


def test_advice_after_a_mutation_is_gentler_mutation() -> None:
    advice = {}
    for segment in ("arch_training", "weight_retraining"):
        monitor = StabilityMonitor()
        monitor.begin(segment)
        for step in range(100):
            verdict = monitor.observe(step=step, loss=1.0, accuracy=0.6 if step < 60 else 0.45)
        assert verdict.segment == segment
        assert verdict.state == "degraded"
        advice[segment] = verdict.advice
    assert advice == {"arch_training": "reduce_lr", "weight_retraining": "reduce_mutation_strength"}


def test_no_signal_straddles_two_segments() -> None:
    monitor = StabilityMonitor()
    for step in range(200):
        monitor.observe(step=step, loss=0.1, accuracy=0.9, grad_norm=0.1)
    monitor.begin("weight_retraining")
    verdicts = [monitor.observe(step=200 + i, loss=2.3, accuracy=0.1, grad_norm=90.0) for i in range(100)]
    assert {verdict.health for verdict in verdicts} == {1.0}


# Each of the next tests fails on the monitor that the ASO-SE document describes: threshold 0.1 on the variance of ten
# losses, the first epoch as baseline, fixed deductions, and weights of severity in reverse.


def test_a_steep_healthy_descent_is_not_called_oscillation() -> None:
    verdict = play(np.linspace(2.3, 0.3, 10).tolist())[-1]
    assert (verdict.oscillation, verdict.health, verdict.state) == (0.0, 1.0, "improving")


def test_a_sawtooth_of_small_variance_is_not_called_healthy() -> None:
    assert np.var([0.05, 0.09]) < 0.1
    assert play([0.05, 0.09] * 10)[-1].health < 0.8


def test_the_baseline_is_the_best_recent_accuracy_not_the_first() -> None:
    accuracies = [0.1] * 10 + [0.6] * 10 + [0.2] * 10
    assert play([1.0] * 30, accuracies)[-1].degradation > 0.5


def test_the_worse_the_oscillation_the_lower_the_health() -> None:
    healths = [play([1 + size * (-1) ** step for step in range(64)])[-1].health for size in (0.05, 0.1, 0.2, 0.4, 0.8)]
    assert healths == sorted(healths, reverse=True)
    assert healths[0] > healths[2] > healths[3]


def test_an_improving_loss_never_asks_for_anything() -> None:
    assert {verdict.advice for verdict in play([2.3 * 0.99**step for step in range(500)])} == {"none"}


def test_mild_degradation_is_reachable() -> None:
    verdict = play([1.0] * 40, [0.6] * 30 + [0.48] * 10)[-1]
    assert 0.15 <= verdict.degradation < 0.3
    assert 0.7 < verdict.health < 0.9


def test_one_observation_of_zeros_leaves_the_health_alone() -> None:
    losses, accuracies = [1.0] * 20 + [0.0] + [1.0] * 20, [0.6] * 20 + [0.0] + [0.6] * 20
    assert min(verdict.health for verdict in play(losses, accuracies)) >= 0.9


def softmax_regression(rate: float, epochs: int = 25) -> tuple[list[float], list[float]]:
    """Losses and accuracies of the batches of a linear classifier on real digits, by plain gradient descent."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0)[:1500]
    y = y[:1500]
    generator = np.random.default_rng(0)
    weight = np.zeros((64, 10))
    losses, accuracies = [], []
    for _ in range(epochs):
        for rows in np.array_split(generator.permutation(1500), 47):
            scores = x[rows] @ weight
            scores -= scores.max(1, keepdims=True)
            chance = np.exp(scores)
            chance /= chance.sum(1, keepdims=True)
            losses.append(float(-np.log(chance[np.arange(len(rows)), y[rows]] + 1e-12).mean()))
            accuracies.append(float((scores.argmax(1) == y[rows]).mean()))
            chance[np.arange(len(rows)), y[rows]] -= 1.0
            weight -= rate * x[rows].T @ chance / len(rows)
    return losses, accuracies


def test_a_classifier_that_learns_real_digits_is_healthy_at_every_step() -> None:
    losses, accuracies = softmax_regression(rate=0.3)
    assert losses[0] > 2.0
    assert np.mean(losses[-50:]) < 0.3
    assert min(verdict.health for verdict in play(losses, accuracies)) >= 0.9


def test_an_unknown_state_or_advice_never_comes() -> None:
    assert {"improving", "plateau", "oscillating", "degraded", "diverging", "failed"} == set(STATES)
    assert {"none", "reduce_lr", "reduce_mutation_strength", "rollback"} == set(ADVICE)


extremes = st.floats(allow_nan=True, allow_infinity=True)
ordinary = st.floats(-10, 10)


@settings(max_examples=60, deadline=None)
@example([(1e-310, None, None)] * 20 + [(1e30, None, 1e-310)] * 5)
@given(st.lists(st.tuples(extremes | ordinary, st.none() | extremes, st.none() | st.floats(min_value=0)), max_size=90))
def test_any_input_gives_a_legal_verdict(rows: list[tuple[float, float | None, float | None]]) -> None:
    monitor = StabilityMonitor()
    for step, (loss, accuracy, grad_norm) in enumerate(rows):
        verdict = monitor.observe(step=step, loss=loss, accuracy=accuracy, grad_norm=grad_norm)
        for name in ("health", "oscillation", "degradation"):
            assert 0.0 <= getattr(verdict, name) <= 1.0
        assert math.isfinite(verdict.trend)
        assert 0.0 <= verdict.divergence < math.inf
        assert verdict.state in STATES
        assert verdict.advice in ADVICE
        assert verdict.reasons


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), exponent=st.integers(-20, 20), fault=st.sampled_from(["none", "saw", "rise"]))
def test_a_loss_in_other_units_gives_the_same_verdict(seed: int, exponent: int, fault: str) -> None:
    losses = descent(150, seed=seed)
    losses += {"none": losses[-50:], "saw": [0.2, 0.5] * 30, "rise": [3.0] * 20}[fault]
    scaled = play([loss * 2.0**exponent for loss in losses])
    for ours, theirs in zip(play(losses), scaled, strict=True):
        assert (theirs.state, theirs.advice, theirs.reasons) == (ours.state, ours.advice, ours.reasons)
        for name in ("health", "oscillation", "degradation", "divergence", "trend"):
            assert getattr(theirs, name) == pytest.approx(getattr(ours, name), abs=1e-9)


def last(make: Callable[[float], tuple[Numbers, Numbers | None]], severity: float) -> Verdict:
    return play(*make(severity))[-1]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    fault=st.sampled_from(["swing", "fall", "rise"]),
    severities=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_worse_fault_never_gives_a_better_health(seed: int, fault: str, severities: tuple[float, float]) -> None:
    def make(severity: float) -> tuple[Numbers, Numbers | None]:
        if fault == "swing":
            return [1 + 0.9 * severity * (-1) ** step for step in range(64)], None
        losses = descent(120, sd=0.05, seed=seed)
        if fault == "fall":
            return [*losses, *losses[-20:]], [0.6] * 120 + [0.6 * (1 - severity)] * 20
        return [*losses, *[loss * 100**severity for loss in losses[-20:]]], None

    mild, worse = (last(make, severity) for severity in sorted(severities))
    assert worse.health <= mild.health + 1e-9


@pytest.mark.parametrize("cut", [0, 3, 40, 130, 131, 132, 133, 137])
def test_a_monitor_goes_on_from_its_state_exactly(cut: int) -> None:
    losses = [*descent(137), 100.0, 100.0, *[0.2, 0.5] * 40]
    accuracies = [0.5 + 0.1 * math.sin(step) for step in range(len(losses))]
    through = StabilityMonitor()
    through.begin("arch_training")
    resumed = through
    for step, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
        if step == cut:
            state = json.loads(json.dumps(through.state_dict()))
            resumed = StabilityMonitor()
            resumed.load_state_dict(state)
        values = {"step": step, "loss": loss, "accuracy": accuracy if step % 3 else None, "grad_norm": loss}
        verdict = through.observe(**values)
        if step >= cut:
            assert resumed.observe(**values) == verdict
    assert resumed.state_dict() == through.state_dict()


@given(st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 1.0, 2.0, 3.0, math.inf]), min_size=1, max_size=60))
def test_the_best_level_is_that_of_the_remembered_ones(values: list[float]) -> None:
    rows: deque[list[float]] = deque(maxlen=8)
    best: list[float] = []
    for number, value in enumerate(values):
        best = _remember(rows, [value, -value], best, min)
        recent = values[max(0, number - 7) : number + 1]
        assert best == [min(recent), min(-each for each in recent)]


def test_a_state_of_other_settings_is_refused_and_changes_nothing() -> None:
    monitor = StabilityMonitor()
    monitor.observe(step=0, loss=1.0)
    before = monitor.state_dict()
    other = StabilityMonitor(MonitorConfig(window=32)).state_dict()
    with pytest.raises(ConfigError, match="window = 64, got window = 32"):
        monitor.load_state_dict(other)
    with pytest.raises(ConfigError, match="one without accuracies"):
        monitor.load_state_dict({key: value for key, value in before.items() if key != "accuracies"})
    assert monitor.state_dict() == before


@pytest.mark.parametrize("given", [{"loss": "high"}, {"loss": 1.0, "accuracy": [1]}, {"loss": 1.0, "grad_norm": -1.0}])
def test_what_is_no_number_is_refused(given: dict) -> None:
    monitor = StabilityMonitor()
    with pytest.raises(ConfigError, match=r"numbers as loss|grad_norm >= 0"):
        monitor.observe(step=0, **given)
    assert monitor.state_dict()["count"] == 0


def test_a_verdict_prints_and_gives_its_data() -> None:
    verdict = play([0.05, 0.09] * 20)[-1]
    assert "oscillating, advice: reduce_lr" in str(verdict)
    assert verdict.reasons[0] in str(verdict)
    assert Verdict.from_dict(json.loads(verdict.to_json())) == verdict


def test_observing_costs_microseconds_on_average() -> None:
    monitor = StabilityMonitor()
    losses = iter(descent(20_000) * 2)
    for step in range(100):
        monitor.observe(step=step, loss=next(losses), accuracy=0.5, grad_norm=1.0)

    def observe() -> None:
        monitor.observe(step=0, loss=next(losses), accuracy=0.5, grad_norm=1.0)

    cost = min(timeit.repeat(observe, number=800, repeat=10)) / 800
    assert cost < 100e-6


@pytest.mark.parametrize(("signal", "size"), [("fall", 0.004), ("oscillation", 0.004)])
def test_what_rounds_to_nothing_is_no_reason(signal: str, size: float) -> None:
    signals = replace(NOTHING, **{signal: size})
    assert judge(signals, MonitorConfig(), 1, "start").reasons == (
        "The loss does not fall over the last 64 observations.",
    )
    told = judge(replace(signals, **{signal: 0.02}), MonitorConfig(), 1, "start").reasons
    assert "2%" in told[0] or "0.02" in told[0]
