import math

import pytest

from lab.base import ConfigError
from lab.lesson import share_bars


@pytest.fixture
def coins():
    return share_bars(["heads", "tails"], title="100 throws", drawn=[0.45, 0.55], wanted=[0.5, 0.5])


def test_bars_are_as_long_as_their_share(coins):
    lines = {line.split()[0]: line for line in str(coins).splitlines() if "█" in line}
    assert lines["heads"].count("█") == 9 + 10
    assert lines["tails"].count("█") == 11 + 10


def test_the_numbers_stand_in_text_html_and_data(coins):
    for shown in (str(coins), coins._repr_html_()):
        assert "100 throws" in shown
        assert "0.450" in shown
        assert "wanted" in shown
    assert "width:45.0%" in coins._repr_html_()
    assert coins.to_dict()["shares"]["drawn"] == [0.45, 0.55]


def test_the_figure_has_the_same_numbers(coins):
    assert [list(bar.y) for bar in coins.figure().data] == [[0.45, 0.55], [0.5, 0.5]]


def test_an_underscore_is_shown_as_a_space_and_kept_in_the_data():
    bars = share_bars(["a"], asked_for=[0.5])
    assert "asked for" in str(bars)
    assert "asked for" in bars._repr_html_()
    assert bars.figure().data[0].name == "asked for"
    assert list(bars.shares) == ["asked_for"]


def test_names_in_html_are_escaped():
    assert "<b>x" not in share_bars(["<b>x"], title="<b>x", **{"<b>x": [1.0]})._repr_html_().replace("<p><b>", "")


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_number_that_is_no_share_is_refused(value):
    with pytest.raises(ConfigError, match=r"shares of drawn in \[0, 1\]"):
        share_bars(["a"], drawn=[value])


def test_shares_and_labels_must_be_as_many():
    with pytest.raises(ConfigError, match="2 shares of drawn"):
        share_bars(["a", "b"], drawn=[1.0])
    with pytest.raises(ConfigError, match="at least one row"):
        share_bars(["a"])
