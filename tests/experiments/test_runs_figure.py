from xml.etree import ElementTree

import pytest

from lab.experiments.runs_figure import Axis, curves_by_seed, dot_rows

SVG = "{http://www.w3.org/2000/svg}"


def test_a_dot_stands_at_its_value_and_the_stroke_at_the_mean():
    root = ElementTree.fromstring(dot_rows("a < b", [("one", [0.5, 0.7]), ("two", [0.9])], label="accuracy"))
    dots = [float(dot.get("cx")) for dot in root.iter(f"{SVG}circle")]
    strokes = [float(line.get("x1")) for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "3"]
    assert strokes[0] == pytest.approx((dots[0] + dots[1]) / 2, abs=0.1)
    assert dots[0] < dots[1] < dots[2]
    assert "a < b" in [text.text for text in root.iter(f"{SVG}text")]


def test_a_curve_for_each_seed_in_its_groups_colour():
    curves = [[(1.0, 0.2), (2.0, 0.4)], [(1.0, 0.3), (4.0, 0.5)]]
    root = ElementTree.fromstring(curves_by_seed("t", [("g", curves), ("h", curves[:1])], x_label="x", y_label="y"))
    drawn = [(line.get("stroke"), line.get("points")) for line in root.iter(f"{SVG}polyline")]
    assert len({colour for colour, _ in drawn}) == 2
    assert drawn[0] == (drawn[1][0], drawn[0][1])
    assert drawn[0][1] == drawn[2][1]


def test_ticks_are_round_and_inside():
    axis = Axis(low=0.93, high=4.2, start=0, end=100)
    assert axis.ticks() == [1.0, 2.0, 3.0, 4.0]
    assert axis(0.93) == 0
    assert axis(4.2) == 100
