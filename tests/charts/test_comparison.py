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


def test_a_single_number_is_a_bar_beside_the_wanted_one_with_both_numbers_in_words():
    (bars,) = comparison_figure(3.0, 4.0).data
    assert (bars.type, list(bars.x)) == ("bar", [3.0, 4.0])
    assert list(bars.y) == ["came: 3", "wanted: 4"]
    assert bars.marker.pattern.shape[0] != bars.marker.pattern.shape[1], "colour is not the only sign"


def test_positions_are_whole_numbers_and_values_have_a_name():
    layout = comparison_figure([1.0, 2.0], [1.0, 3.0]).layout
    assert (layout.xaxis.dtick, layout.yaxis.title.text) == (1, "value")
    assert comparison_figure(np.ones(40), np.ones(40)).layout.xaxis.dtick is None, "forty would overlap"


def test_maps_side_by_side_name_their_rows_once():
    layout = comparison_figure(np.ones((3, 2)), np.zeros((3, 2))).layout
    axes = (layout.yaxis, layout.yaxis2, layout.yaxis3)
    assert [axis.showticklabels for axis in axes] == [True, False, False]
    assert {axis.dtick for axis in (*axes, layout.xaxis, layout.xaxis2)} == {1}


@pytest.mark.parametrize(("columns", "written"), [(4, True), (5, False)])
def test_numbers_are_written_into_a_map_that_has_room_for_them(columns, written):
    heat = comparison_figure(np.ones((3, columns)), np.zeros((3, columns))).data[0]
    assert (heat.texttemplate != "", heat.textfont.size) == (written, 11)


def test_numbers_that_are_none_have_their_picture_too():
    assert len(comparison_figure([[np.nan, np.inf]] * 2, [[1.0, 2.0]] * 2).data) == 3
    assert list(comparison_figure(np.nan, 4.0).data[0].y) == ["came: nan", "wanted: 4"]


def test_two_shapes_are_refused():
    with pytest.raises(ConfigError, match="shape"):
        comparison_figure([1.0], [1.0, 2.0])


def test_a_line_has_a_marker_and_a_dash_of_its_own():
    first, second = lines_figure([0, 1], {"a": [1.0, 2.0], "b": [2.0, 1.0]}, x_title="step").data
    assert first.marker.symbol != second.marker.symbol
    assert first.line.dash != second.line.dash
    with pytest.raises(ConfigError, match="2 values of a"):
        lines_figure([0, 1], {"a": [1.0]}, x_title="step")


def test_a_long_line_has_a_marker_here_and_there_and_a_short_one_at_each_point():
    (line,) = lines_figure(range(100), {"a": range(100)}, x_title="step").data
    assert 10 < line.marker.maxdisplayed < 50


def test_a_logarithmic_axis_has_powers_of_ten():
    axis = lines_figure([0, 1, 2], {"a": [1.0, 1e30, np.inf]}, x_title="step", log_y=True).layout.yaxis
    assert (axis.exponentformat, axis.dtick) == ("power", 5)
    two_powers = lines_figure([0, 1], {"a": [0.5, 20.0]}, x_title="step", log_y=True)
    assert two_powers.layout.yaxis.dtick == 1, "no small digits between the powers"
    one_power = lines_figure([0, 1, 2], {"a": [2.0, 8.0, 0.0]}, x_title="step", log_y=True)
    assert one_power.layout.yaxis.dtick is None, "else there might be no number at all"


def test_what_a_box_has_saved_is_large_enough_to_be_read():
    figure = graph_figure([GraphNode(name="Mul", lines=("other = w (2,): saved",), style=STYLE)])
    (box,) = figure.layout.annotations
    assert "<sub>" not in box.text
    assert "font-size:11px'>other = w (2,): saved" in box.text


def test_an_arrow_leads_from_box_to_box_however_much_they_say():
    lines = ("one", "two", "three")
    nodes = [GraphNode(name="w", style=STYLE), GraphNode(name="Mul", lines=lines, style=STYLE, inputs=(0,))]
    figure = graph_figure(nodes)
    (arrow,) = [note for note in figure.layout.annotations if note.showarrow]
    low, high = figure.layout.yaxis.range
    pixels = (figure.layout.height - figure.layout.margin.t - figure.layout.margin.b) / (high - low)
    assert pixels * (0 - arrow.ay) == pytest.approx(16, abs=6), "half of a box of one line"
    assert pixels * (arrow.y + 1) == pytest.approx(16 + 3 * 7.5, abs=6), "half of a box of four"


def test_a_node_stands_below_its_inputs():
    nodes = [GraphNode(name="w", style=STYLE), GraphNode(name="late", style=STYLE)]
    nodes += [GraphNode(name="Mul", style=STYLE, inputs=(0,)), GraphNode(name="Add", style=STYLE, inputs=(2, 1))]
    figure = graph_figure(nodes)
    height = {note.text.split("</b>")[0][3:]: note.y for note in figure.layout.annotations if not note.showarrow}
    assert height["w"] > height["Mul"] > height["Add"]
    assert height["late"] == height["Mul"], "an input that is used late stands beside what it is used with"


def test_an_operation_that_is_used_late_stands_just_above_its_user():
    nodes = [GraphNode(name="w", style=STYLE), GraphNode(name="late", style=STYLE, inputs=(0,))]
    nodes += [GraphNode(name="u", style=STYLE)]
    nodes += [GraphNode(name=name, style=STYLE, inputs=(2 + n,)) for n, name in enumerate("abc")]
    nodes += [GraphNode(name="Add", style=STYLE, inputs=(1, 5))]
    notes = graph_figure(nodes).layout.annotations
    height = {note.text.split("</b>")[0][3:]: note.y for note in notes if not note.showarrow}
    assert height["w"] - 1 == height["late"] == height["Add"] + 1 == height["c"]


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
