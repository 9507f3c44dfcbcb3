import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.agent import MultiObjectiveReward, ParetoFront, RewardConfig
from lab.base import ConfigError, DataError

HERE = {"accuracy": 0.8, "parameters": 1000.0, "information": 0.5, "loss": 0.6}


def test_a_change_that_changed_nothing_earns_nothing():
    assert MultiObjectiveReward()(HERE, HERE).total == 0.0


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [("accuracy", 0.82, 0.78), ("parameters", 800.0, 1200.0), ("information", 0.6, 0.4)],
)
def test_better_earns_and_worse_costs(name, better, worse):
    reward = MultiObjectiveReward()
    assert reward(HERE, HERE | {name: better}).total > 0
    assert reward(HERE, HERE | {name: worse}).total < 0


def test_a_lower_loss_alone_earns_nothing_and_a_higher_one_costs():
    reward = MultiObjectiveReward()
    assert reward(HERE, HERE | {"loss": 0.3}).total == 0.0
    assert reward(HERE, HERE | {"loss": 0.66}).total == pytest.approx(-0.1 * math.tanh(1.0))


def test_the_number_is_the_formula():
    after = {"accuracy": 0.81, "parameters": 500.0, "information": 0.525, "loss": 0.63}
    found = MultiObjectiveReward()(HERE, after)
    parts = [math.tanh(0.5), math.tanh(0.5), math.tanh(0.5), -math.tanh(0.5)]
    assert list(found.parts.values()) == pytest.approx(parts)
    assert found.total == pytest.approx(0.2 * parts[0] + 0.1 * parts[1] + 0.6 * parts[2] + 0.1 * parts[3])


def test_operations_count_where_they_grow_more_than_parameters():
    reward = MultiObjectiveReward(RewardConfig(accuracy=0, information=0, stability=0, efficiency=1))
    before, dear = HERE | {"flops": 100.0}, HERE | {"flops": 300.0}
    assert reward(before, dear).total == pytest.approx(math.tanh(-2.0))
    assert reward(before, dear | {"parameters": HERE["parameters"] * 5}).total == pytest.approx(math.tanh(-4.0))
    assert reward(HERE, HERE | {"parameters": HERE["parameters"] / 2}).total == pytest.approx(math.tanh(0.5))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_accuracy_never_earns_less(start, first, second):
    reward = MultiObjectiveReward(RewardConfig(efficiency=0, information=0, stability=0))
    low, high = sorted([first, second])
    before = {"accuracy": start}
    assert reward(before, {"accuracy": low}).total <= reward(before, {"accuracy": high}).total


def test_what_counts_must_have_been_measured():
    with pytest.raises(DataError, match="a finite information among the metrics, found nothing"):
        MultiObjectiveReward()({k: v for k, v in HERE.items() if k != "information"}, HERE)
    with pytest.raises(DataError, match="a finite loss among the metrics, got nan"):
        MultiObjectiveReward()(HERE, HERE | {"loss": math.nan})
    with pytest.raises(ConfigError, match="accuracy_scale > 0"):
        RewardConfig(accuracy_scale=0.0)


def test_the_front_keeps_what_nothing_beats():
    front = ParetoFront()
    assert front.add(0.8, 100)
    assert front.add(0.9, 200)
    assert not front.add(0.85, 300), "beaten in both"
    assert not front.add(0.8, 100), "there already"
    assert front.add(0.85, 90)
    assert front.points == ((0.9, 200), (0.85, 90))
