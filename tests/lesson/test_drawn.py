import inspect

import ipywidgets
import pytest

from lab.base import ConfigError
from lab.lesson import draw_fates, draw_heat, draw_lines, draw_paths, widgets
from lab.space import DARTS, NB125

FATE = draw_fates(["a"], {"x": ["kept"]}, {"kept": 0})


def test_lines_have_a_text_beside_the_picture():
    drawn = draw_lines([1, 2], x_title="layer", careless_swap=[0.0, 5.0], exact=[0.0, 0.0])
    assert "layer  careless swap  exact" in str(drawn)
    assert [trace.name for trace in drawn.figure().data] == ["careless swap", "exact"]
    assert "5" in drawn._repr_mimebundle_()["text/html"]


def test_a_map_of_fates_writes_the_word_into_its_cell():
    drawn = draw_fates(["a", "b"], {"to_empty": ["kept", "lost"]}, {"kept": 0, "lost": 3})
    heat = drawn.figure().data[0]
    assert [list(row) for row in heat.text] == [["kept"], ["lost"]]
    assert [list(row) for row in heat.z] == [[0], [3]]
    assert "b     lost" in str(drawn)


def test_a_fate_without_a_rank_and_a_short_line_are_refused():
    with pytest.raises(ConfigError, match="a rank from 0 to 3 of 'odd'"):
        draw_fates(["a"], {"x": ["odd"]}, {}).figure()
    with pytest.raises(ConfigError, match="2 values of y"):
        draw_lines([1, 2], x_title="x", y=[1.0]).figure()


def test_a_map_of_numbers_is_thinned_in_its_text_and_whole_in_its_picture():
    values = [[row + column for column in range(20)] for row in range(3)]
    drawn = draw_heat(values, x=range(20), y=["a", "b", "c"], x_title="step", y_title="expert", unit="share")
    heat = drawn.figure().data[0]
    assert [list(row) for row in heat.z] == values
    (table,) = drawn.tables()
    assert [row[0] for row in table.rows] == ["c", "b", "a"]
    assert table.rows[0][1:] == ("2", "5", "8", "11", "14", "17", "20")
    assert "the numbers: share" in str(drawn)


def test_limits_of_a_map_are_the_ends_of_its_colours():
    heat = draw_heat([[1.0]], x=[0], y=[0], x_title="x", limits=(0.0, 2.0)).figure().data[0]
    assert (heat.zmin, heat.zmax) == (0.0, 2.0)


def test_a_map_with_a_row_too_few_or_too_short_is_refused():
    with pytest.raises(ConfigError, match="2 rows of numbers"):
        draw_heat([[1.0]], x=[0], y=[0, 1], x_title="x").figure()
    with pytest.raises(ConfigError, match="2 numbers in a row"):
        draw_heat([[1.0]], x=[0, 1], y=[0], x_title="x").figure()


def test_the_paths_of_a_supernet_count_each_operation_and_mark_the_drawn_one():
    draws = [(0, 1, 2), (0, 3, 2), (4, 3, 2)]
    drawn = draw_paths(NB125, draws, draws[-1], title="three draws")
    data = drawn.to_dict()
    assert data["counts"]["cell 1<-0"] == {
        "none": 2,
        "skip_connect": 0,
        "nor_conv_1x1": 0,
        "nor_conv_3x3": 0,
        "avg_pool_3x3": 1,
    }
    assert data["path"] == {"cell 1<-0": "avg_pool_3x3", "cell 2<-0": "nor_conv_3x3", "cell 2<-1": "nor_conv_1x1"}
    assert "nor_conv_1x1  0          0          → 3" in str(drawn)
    assert str(drawn).endswith("→ drawn")
    figure = drawn.figure()
    lanes = [trace for trace in figure.data if trace.mode == "lines"]
    assert [lane.line.dash for lane in lanes].count("solid") == 3
    assert sum("· drawn" in note.text for note in figure.layout.annotations) == 3


def test_the_path_of_something_else_than_a_draw_has_its_own_word():
    found = draw_paths(NB125, [(0, 1, 2)], (0, 1, 2), mark="best")
    assert "drawn" not in str(found)
    assert sum("· best" in note.text for note in found.figure().layout.annotations) == 3


def test_paths_without_a_drawn_one_mark_none():
    drawn = draw_paths(NB125, [])
    assert drawn.to_dict()["path"] == {}
    assert "→" not in str(drawn)
    assert not any("drawn" in note.text for note in drawn.figure().layout.annotations)


def test_paths_of_another_number_of_edges_or_of_two_types_of_cells_are_refused():
    with pytest.raises(ConfigError, match="draws of 3 edges"):
        draw_paths(NB125, [(0, 1)])
    with pytest.raises(ConfigError, match="3 drawn operations"):
        draw_paths(NB125, [], (0, 1)).figure()
    with pytest.raises(ConfigError, match="a space with one type of cell"):
        draw_paths(DARTS, [])


def test_widgets_come_from_the_packages_that_jupyter_lab_and_vs_code_can_show():
    named = [getattr(widgets, name) for name in widgets.__all__]
    kinds = [each for each in named if inspect.isclass(each) and issubclass(each, ipywidgets.Widget)]
    views = {kind.__name__: kind._view_module.default_value for kind in (*kinds, widgets.go.FigureWidget)}
    assert {"FigureWidget": "anywidget", "VBox": "@jupyter-widgets/controls"}.items() <= views.items()
    assert set(views.values()) == {"anywidget", "@jupyter-widgets/controls", "@jupyter-widgets/base"}


def test_a_picture_follows_the_window_and_offers_to_send_it_nowhere():
    config = widgets.fitted(widgets.go.FigureWidget())._config
    assert config["responsive"]
    assert not config["showSendToCloud"]
    assert not config["displaylogo"]


def test_a_report_in_a_widget_is_formatted_as_one_without():
    assert "jp-RenderedHTMLCommon" in widgets.formatted("<table></table>")._dom_classes


def test_a_picture_takes_the_width_of_its_page_when_the_page_has_drawn_it():
    widget = widgets.fitted(widgets.go.FigureWidget({"data": [{"y": [1, 2]}]}))
    assert widget._widget_layout["autosize"] is True, "a page that never answers fits with the first change"
    assert widget._last_layout_edit_id == 0
    deltas = [{"uid": trace.uid} for trace in widget.data]
    for number in (0, 1):
        widget._js2py_traceDeltas = {"trace_deltas": deltas, "trace_edit_id": number}
        assert widget._last_layout_edit_id == 1, "asked once"
    widget._js2py_traceDeltas = {"trace_deltas": deltas, "trace_edit_id": 1}
    assert widget._last_layout_edit_id == 2, "an answer given twice is that of another cell that shows the figure"


@pytest.mark.parametrize(("drawn", "folded"), [(draw_lines([1], x_title="x", a=[1.0]), True), (FATE, False)])
def test_numbers_that_the_picture_shows_stand_folded_below_it(drawn, folded, monkeypatch):
    boxes = []
    monkeypatch.setattr(widgets, "mime_bundle", lambda box, *texts, **options: boxes.append(box) or {})
    drawn._repr_mimebundle_()
    texts = [each.value for each in boxes[0].children if isinstance(each, widgets.HTML)]
    assert ["<details><summary>the same in numbers" in text for text in texts] == [folded]
    assert isinstance(boxes[0].children[0], widgets.HTML) != folded
