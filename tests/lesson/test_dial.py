import pytest

from lab.base import ConfigError
from lab.lesson import Dial, share_bars


def halves(value):
    share = min(value, 1.0)
    return share_bars(["yes", "no"], drawn=[share, 1.0 - share])


@pytest.fixture
def dial():
    return Dial(halves, name="share", start=0.1, low=0.01, high=1.0)


def answer(widget):
    """What a page sends when it has drawn the latest message."""
    deltas = [{"uid": trace.uid} for trace in widget.data]
    widget._js2py_traceDeltas = {"trace_deltas": deltas, "trace_edit_id": widget._last_trace_edit_id}


def test_turning_the_slider_changes_the_picture(dial):
    assert dial.picture.widget.data[0].y == (0.1, 0.9)
    dial.slider.value = 0.5
    assert dial.picture.widget.data[0].y == (0.5, 0.5)
    assert "0.500" in str(dial)
    assert dial.turn(1.0).shares["drawn"] == (1.0, 0.0)


def test_the_picture_is_there_without_widgets_too(dial):
    bundle = dial._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "width:10.0%" in bundle["text/html"]
    assert bundle["text/plain"].startswith("share = 0.1\n")
    assert "██ 0.100" in bundle["text/plain"]


def test_a_page_that_has_not_answered_gets_the_latest_picture_when_it_does(dial):
    widget = dial.picture.widget
    answer(widget)
    dial.turn(0.2)
    dial.turn(0.3)
    dial.turn(0.4)
    assert widget.data[0].y == (0.2, 0.8), "nothing more is sent while the page draws"
    answer(widget)
    assert widget.data[0].y == (0.4, 0.6)


def test_the_box_holds_the_slider_and_the_picture(dial):
    assert dial._box.children == (dial.slider, dial.picture.widget)


def test_values_outside_their_range_are_refused(dial):
    with pytest.raises(ConfigError, match="value"):
        dial.turn(2.0)
    with pytest.raises(ConfigError, match="start"):
        Dial(halves, name="share", start=2.0, low=0.01, high=1.0)
    with pytest.raises(ConfigError, match="low"):
        Dial(halves, name="share", start=0.1, low=0.0, high=1.0)
