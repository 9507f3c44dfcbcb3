"""Lanes of a supernet's cell."""

from itertools import combinations

from lab.charts import path_figure
from lab.space import NB201

ENDS = [(edge.source, edge.target) for edge in NB201.edges]


def lanes(figure):
    return [trace for trace in figure.data if trace.mode == "lines"]


def test_lanes_over_the_same_nodes_have_different_heights():
    counts = [[1] * len(NB201.primitives)] * len(ENDS)
    found = lanes(path_figure(ENDS, NB201.primitives, counts))
    assert len(found) == len(ENDS) * len(NB201.primitives)
    for a, b in combinations(found, 2):
        over_the_same = a.x[0] < b.x[-1] and b.x[0] < a.x[-1]
        assert not (over_the_same and a.y[1] == b.y[1])


def test_a_lane_that_was_drawn_more_often_is_broader():
    few, many = lanes(path_figure([(0, 1)], ["none", "skip_connect"], [[1, 9]]))
    assert few.line.width < many.line.width


def test_the_text_of_a_lane_stands_between_its_line_and_the_next_one():
    figure = path_figure([(0, 1)], ["none", "skip_connect"], [[0, 3]], [1])
    low, high = figure.layout.yaxis.range
    lane = (figure.layout.height - figure.layout.margin.t - figure.layout.margin.b) / (high - low)
    for line, note in zip(lanes(figure), figure.layout.annotations, strict=True):
        bottom, top = note.yshift - note.font.size / 2, note.yshift + note.font.size / 2
        assert bottom > line.line.width / 2
        assert top < lane - 1, "a line above that is thin"


def test_the_path_has_the_word_that_is_given():
    figure = path_figure([(0, 1)], ["none", "skip_connect"], [[0, 3]], [1], mark="best")
    assert [note.text for note in figure.layout.annotations] == ["none · 0", "<b>skip · 3 · best</b>"]


def test_a_supernet_that_was_never_drawn_has_thin_lanes():
    assert {lane.line.width for lane in lanes(path_figure([(0, 1)], ["none", "skip_connect"], [[0, 0]]))} == {1.0}
