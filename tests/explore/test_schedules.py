import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.explore import SCHEDULES, AdaptiveSchedule, ConstantSchedule, LinearSchedule

ENDING = [name for name in SCHEDULES if name not in ("constant", "adaptive")]


def walk(schedule, scores):
    states = [schedule.start()]
    for score in scores:
        states.append(schedule.advance(states[-1], score))
    return states


@pytest.mark.parametrize("name", ENDING)
@given(epochs=st.integers(2, 60), start=st.floats(0.5, 20), share=st.floats(0.01, 0.9))
def test_the_last_scheduled_epoch_is_at_the_lowest_temperature(name, epochs, start, share):
    schedule = SCHEDULES[name](initial_temp=start, min_temp=start * share, epochs=epochs)
    temperatures = [state.temperature for state in walk(schedule, [0.0] * (epochs + 3))]
    assert temperatures[0] == pytest.approx(start)
    assert temperatures[epochs - 1] == schedule.min_temp
    assert all(temperature == schedule.min_temp for temperature in temperatures[epochs:])
    assert all(new <= old for old, new in itertools.pairwise(temperatures))


@pytest.mark.parametrize("name", SCHEDULES)
@given(scores=st.lists(st.floats(-5, 5), max_size=40), rate=st.floats(0.5, 1.0))
def test_every_schedule_stays_between_its_bounds(name, scores, rate):
    schedule = SCHEDULES[name](initial_temp=4.0, min_temp=0.2, epochs=12, anneal_rate=rate)
    assert all(0.2 <= state.temperature <= 4.0 for state in walk(schedule, scores))


def test_one_scheduled_epoch_is_the_last_one():
    assert LinearSchedule(epochs=1).start().temperature == 0.1
    assert ConstantSchedule(epochs=1).start().temperature == 5.0


def test_adaptive_cools_after_a_better_score_and_warms_after_a_worse_one():
    schedule = AdaptiveSchedule(initial_temp=5.0, min_temp=0.1, epochs=100, anneal_rate=0.8)
    states = walk(schedule, [0.5, 0.6, 0.4])
    temperatures = [state.temperature for state in states]
    assert temperatures[1] == pytest.approx(4.0)
    assert temperatures[2] == pytest.approx(3.2)
    assert temperatures[3] == pytest.approx(4.0)
    flips = walk(schedule, [0.5, 0.4] * 60)
    assert flips[99].temperature == 0.1, "coin flips must not hold the temperature up for ever"


@pytest.mark.parametrize(
    "field", [{"initial_temp": 0.0}, {"min_temp": 9.0}, {"epochs": 0}, {"anneal_rate": 1.5}, {"initial_temp": 1e400}]
)
def test_settings_outside_their_range_are_refused(field):
    with pytest.raises(ConfigError, match="expected .*, got"):
        LinearSchedule(**field)
