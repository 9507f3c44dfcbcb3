import math

import pytest

from lab.base import ConfigError, require, require_choice, require_range


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_value_inside_its_range_passes(value):
    assert require_range("share", value, 0, 1) is None


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_value_outside_its_range_is_refused_with_name_bound_and_value(value):
    with pytest.raises(ConfigError, match=f"share >= 0 and <= 1, got share = {value}. Choose a value in range"):
        require_range("share", value, 0, 1)


def test_an_open_bound_refuses_the_bound_itself():
    require_range("rate", 1e-9, 0, open_low=True)
    with pytest.raises(ConfigError, match="rate > 0, got rate = 0"):
        require_range("rate", 0, 0, open_low=True)


def test_an_open_upper_bound_refuses_the_bound_itself():
    require_range("decay", 0.999, 0, 1, open_high=True)
    with pytest.raises(ConfigError, match="decay >= 0 and < 1, got decay = 1"):
        require_range("decay", 1, 0, 1, open_high=True)


def test_a_range_without_an_upper_bound_names_none():
    with pytest.raises(ConfigError, match="expected seed >= 0, got seed = -1"):
        require_range("seed", -1, 0)


def test_a_choice_outside_the_list_is_refused_with_the_list():
    require_choice("kind", "cosine", ("linear", "cosine"))
    with pytest.raises(ConfigError, match="kind to be one of linear, cosine, got 'step'"):
        require_choice("kind", "step", ("linear", "cosine"))


def test_a_condition_that_fails_is_refused_with_its_three_phrases():
    require(True, expected="a", got="b", hint="c")
    with pytest.raises(ConfigError, match="expected a, got 7. C"):
        require(False, expected="a", got=7, hint="c")
