import numpy as np
import pytest

from lab.base import ConfigError
from lab.charts import LineStyle, comparison_figure, fate_figure, graph_figure, lines_figure
from lab.charts.graph import GraphNode

STYLE = LineStyle(label="operation", color="#2f7ef0", dash="solid")


def test_a_row_of_numbers_is_two_lines_and_a_table_three_maps():
    wanted, came = comparison_figure([1.0, 2.0], [1.0, 3.0]).data
    assert (list(wanted.y), list(came.y)) == ([1.0, 3.0], [1.0, 2.0])
    maps = comparison_figure(np.ones((3, 2)), np.zeros((3, 2))).data
    assert [float(np.max(np.array(each.z))) for each in maps] == [1.0, 0.0, 1.0]
    assert maps[0].zmax == maps[1].zmax == 1.0
    assert maps[2].zmin == -maps[2].zmax


def test_numbers_that_are_none_have_their_picture_too():
    assert len(comparison_figure([[np.nan, np.inf]] * 2, [[1.0, 2.0]] * 2).data) == 3
    assert len(comparison_figure(3.0, 4.0).data) == 2


def test_two_shapes_are_refused():
    with pytest.raises(ConfigError, match="shape"):
        comparison_figure([1.0], [1.0, 2.0])


def test_a_line_has_a_marker_and_a_dash_of_its_own():
    first, second = lines_figure([0, 1], {"a": [1.0, 2.0], "b": [2.0, 1.0]}, x_title="step").data
    assert first.marker.symbol != second.marker.symbol
    assert first.line.dash != second.line.dash
    with pytest.raises(ConfigError, match="2 values of a"):
        lines_figure([0, 1], {"a": [1.0]}, x_title="step")


def test_a_node_stands_below_its_inputs():
    nodes = [GraphNode(name="w", style=STYLE), GraphNode(name="late", style=STYLE)]
    nodes += [GraphNode(name="Mul", style=STYLE, inputs=(0,)), GraphNode(name="Add", style=STYLE, inputs=(2, 1))]
    figure = graph_figure(nodes)
    height = {note.text.split("</b>")[0][3:]: note.y for note in figure.layout.annotations if not note.showarrow}
    assert height["w"] > height["Mul"] > height["Add"]
    assert height["late"] == height["Mul"], "an input that is used late stands beside what it is used with"


def test_a_graph_without_nodes_or_out_of_order_is_refused():
    with pytest.raises(ConfigError, match="at least one operation"):
        graph_figure([])
    with pytest.raises(ConfigError, match="the nodes before it"):
        graph_figure([GraphNode(name="a", style=STYLE, inputs=(0,))])


def test_a_map_of_fates_has_a_colour_for_each_rank():
    heat = fate_figure(["a", "b"], {"x": ["good", "bad"]}, {"good": 0, "bad": 3}).data[0]
    assert [list(row) for row in heat.z] == [[0], [3]]
    with pytest.raises(ConfigError, match="2 fates of x"):
        fate_figure(["a", "b"], {"x": ["good"]}, {"good": 0})
