import plotly.graph_objects as go
import pytest

from lab.lesson import Picture


def figure(*values, traces=1, **layout):
    return go.Figure([{"type": "scatter", "y": list(values)}] * traces, layout)


def answer(widget, *, traces=None, number=None):
    """What a page sends when it has drawn message `number` (default: the latest) with `traces` traces."""
    deltas = [{"uid": trace.uid} for trace in widget.data]
    number = widget._last_trace_edit_id if number is None else number
    widget._js2py_traceDeltas = {"trace_deltas": deltas[:traces], "trace_edit_id": number}


def sent(widget):
    """Names of the properties that the widget sends from now on."""
    names = []
    widget.observe(lambda change: names.append(change.name))
    return names


@pytest.fixture
def picture():
    """A picture of two points."""
    picture = Picture()
    picture.show(figure(1.0, 2.0))
    return picture


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_without_a_page_every_figure_is_taken_at_once(picture):
    picture.show(figure(1.0, 2.0, 3.0))
    assert picture.widget.data[0].y == (1.0, 2.0, 3.0)
    assert picture.settled


def test_each_widget_takes_the_width_of_its_page_also_one_that_replaces_it(picture):
    for traces in (1, 2):
        picture.show(figure(1.0, traces=traces))
        before = picture.widget._last_layout_edit_id
        answer(picture.widget)
        assert picture.widget._last_layout_edit_id == before + 1, "asked to fit"
        assert picture.widget._config["responsive"]
    assert picture.settled
    picture.show(figure(2.0, traces=2))
    assert picture.widget._widget_layout["autosize"] is True


def test_a_figure_without_traces_is_not_drawn():
    picture = Picture()
    picture.show(go.Figure())
    assert picture.widget is None
    assert picture.settled


def test_the_widget_stays_while_the_number_of_traces_does(picture):
    first = picture.widget
    picture.show(figure(3.0, 4.0))
    assert picture.widget is first
    picture.show(figure(3.0, 4.0, traces=2))
    assert picture.widget is not first
    assert len(picture.widget.data) == 2


def test_the_stored_state_that_a_late_page_draws_from_is_the_latest(picture):
    picture.show(figure(1.0, 2.0, 3.0, title={"text": "later"}))
    assert picture.widget._widget_data[0]["y"] == [1.0, 2.0, 3.0]
    assert picture.widget._widget_data[0]["uid"] == picture.widget.data[0].uid
    assert picture.widget._widget_layout["title"] == {"text": "later"}


def test_an_equal_figure_sends_nothing(picture):
    names = sent(picture.widget)
    picture.show(figure(1.0, 2.0))
    picture.tend()
    assert names == []
    picture.show(figure(1.0, 3.0))
    assert "_py2js_update" in names


def test_no_message_is_sent_before_the_page_has_answered_the_last(picture):
    answer(picture.widget)
    picture.show(figure(3.0))
    assert not picture.settled
    names = sent(picture.widget)
    picture.show(figure(4.0))
    picture.show(figure(5.0))
    assert names == []
    answer(picture.widget)
    picture.tend()
    assert picture.widget.data[0].y == (5.0,)
    answer(picture.widget)
    assert picture.settled


def test_a_page_that_is_slow_and_answers_is_waited_for(picture, clock):
    first = picture.widget
    answer(first)
    for value in range(5):
        picture.show(figure(float(value)))
        clock[0] += 4.0
        picture.tend()
        answer(first)
    assert picture.widget is first


def test_a_widget_whose_page_stopped_answering_is_replaced(picture, clock):
    first = picture.widget
    answer(first)
    picture.show(figure(3.0))
    clock[0] += 4.9
    picture.tend()
    assert picture.widget is first
    picture.show(figure(4.0))
    clock[0] += 0.2
    picture.tend()
    assert picture.widget is not first
    assert picture.widget.data[0].y == (4.0,)


def test_a_widget_that_the_page_drew_without_its_traces_is_replaced(picture, clock):
    first = picture.widget
    answer(first, traces=0)
    assert not picture.settled
    clock[0] += 5.1
    picture.tend()
    assert picture.widget is not first


def test_the_patience_doubles_with_each_replacement(picture, clock):
    for patience in (5.0, 10.0, 20.0):
        before = picture.widget
        answer(before, traces=0)
        clock[0] += patience - 0.1
        picture.tend()
        assert picture.widget is before
        clock[0] += 0.2
        picture.tend()
        assert picture.widget is not before


def test_an_answer_to_a_replaced_widget_is_not_taken_for_one_to_the_present(picture):
    first = picture.widget
    picture.show(figure(1.0, traces=2))
    answer(first)
    picture.show(figure(2.0, traces=2))
    assert picture.settled


def test_shapes_and_notes_that_are_gone_are_gone(picture):
    line = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1}
    picture.show(figure(1.0, shapes=[line, line], annotations=[{"text": "M1"}]))
    assert len(picture.widget.layout.shapes) == 2
    picture.show(figure(1.0, shapes=[line]))
    assert len(picture.widget.layout.shapes) == 1
    assert len(picture.widget.layout.annotations) == 0
