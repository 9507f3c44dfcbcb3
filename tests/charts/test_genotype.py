"""Genotype graph: fixed places, three signs for a primitive, width for probability, and a table that says the same."""

from typing import Any

import pytest

from lab.charts import (
    PRIMITIVE_STYLES,
    cell_edges,
    edge_table,
    edge_width,
    genotype_dot,
    genotype_figure,
    primitive_style,
)
from lab.space import ABSENT, NB201, Genotype


def lines(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "lines"]


def nodes(figure: Any) -> Any:
    return next(trace for trace in figure.data if "markers" in trace.mode)


def test_every_edge_is_drawn_with_the_colour_dash_and_label_of_its_primitive(
    genotype: dict[str, Any], snapshot: dict[str, Any]
) -> None:
    edges = cell_edges(genotype, snapshot)
    figure = genotype_figure(edges)
    labels = [note.text for note in figure.layout.annotations]
    dashes: dict[str, str] = {}
    assert len(lines(figure)) == 6
    for edge, line in zip(edges, lines(figure), strict=True):
        style = primitive_style(edge.primitive)
        assert line.line.color == style.color
        dashes[edge.primitive] = line.line.dash
        assert any(f"<b>{style.label}</b>" in label and f" {edge.probability:.2f}" in label for label in labels)
    assert len(set(dashes.values())) == len(dashes) == 5
    assert dashes["nor_conv_3x3"] == "solid"


def test_a_transition_fills_a_changed_edge_from_its_source(genotype: dict[str, Any], snapshot: dict[str, Any]) -> None:
    whole = lines(genotype_figure(cell_edges(genotype, snapshot)))
    (target, source, primitive), *_ = genotype["cells"]["cell"]
    edits = [["cell", target, source, "skip_connect", primitive]]
    edges = cell_edges(genotype, snapshot, edits)
    figure = genotype_figure(edges, filled=0.25)
    former, new = lines(figure)[:2]
    assert len(lines(figure)) == len(whole) + 1
    assert (former.line.color, new.line.color) == (primitive_style("skip_connect").color, whole[0].line.color)
    assert (new.x[0], new.x[-1]) == (source, source + 0.25 * (target - source))
    assert (former.x[0], former.x[-1]) == (new.x[-1], target)
    assert next(note.text for note in figure.layout.annotations if "· 25%" in note.text).startswith("★")
    assert len(lines(genotype_figure(edges))) == len(whole)
    gone = cell_edges(genotype, snapshot, [["cell", target, source, ABSENT, primitive]])
    assert len(lines(genotype_figure(gone, filled=0.25))) == len(whole), "an edge that is new had nothing before"


def test_width_grows_with_probability(genotype: dict[str, Any], snapshot: dict[str, Any]) -> None:
    widths = [line.line.width for line in lines(genotype_figure(cell_edges(genotype, snapshot)))]
    assert widths == [edge_width(p) for p in (0.5, 0.2, 0.1, 0.1, 0.1, 0.5)]
    assert edge_width(0.0) < edge_width(None) < edge_width(1.0)


def test_nodes_stay_where_they_are_when_the_cell_changes(genotype: dict[str, Any]) -> None:
    before = genotype_figure(cell_edges(genotype))
    changed = {"space": "nb201", "cells": {"cell": [[t, s, "none"] for t, s, _ in genotype["cells"]["cell"]]}}
    after = genotype_figure(cell_edges(changed))
    assert list(nodes(before).x) == list(nodes(after).x)
    assert list(nodes(before).y) == list(nodes(after).y)
    assert before.layout.yaxis.range == after.layout.yaxis.range
    for one, other in zip(lines(before), lines(after), strict=True):
        assert one.y.tolist() == other.y.tolist()


def test_edges_end_in_their_nodes(genotype: dict[str, Any]) -> None:
    edges = cell_edges(genotype)
    figure = genotype_figure(edges)
    height = nodes(figure).y[0]
    for edge, line in zip(edges, lines(figure), strict=True):
        assert (line.x[0], line.x[-1]) == (edge.source, edge.target)
        assert line.y[0] == pytest.approx(height)
        assert line.y[-1] == pytest.approx(height)


def test_no_two_labels_share_a_place(genotype: dict[str, Any]) -> None:
    figure = genotype_figure(cell_edges(genotype))
    places = [(note.x, note.y) for note in figure.layout.annotations]
    assert len(set(places)) == len(places)


def test_arcs_that_overlap_in_part_lie_on_different_sides(genotype: dict[str, Any]) -> None:
    edges = cell_edges(genotype)
    figure = genotype_figure(edges)
    height = nodes(figure).y[0]
    middle = {(edge.source, edge.target): line.y[20] - height for edge, line in zip(edges, lines(figure), strict=True)}
    assert middle[0, 2] * middle[1, 3] < 0
    assert abs(middle[0, 3]) > max(abs(middle[0, 2]), abs(middle[1, 3]))
    assert middle[0, 1] == middle[1, 2] == middle[2, 3] == 0


def test_a_changed_edge_is_starred_in_the_graph_and_named_in_the_table(genotype: dict[str, Any]) -> None:
    edges = cell_edges(genotype, changed=[["cell", 2, 0, "none", "skip_connect"]])
    starred = [note.text for note in genotype_figure(edges).layout.annotations if note.text.startswith("★")]
    assert starred == ["★ <b>skip</b>"]
    assert [row["edge"] for row in edge_table(edges) if row["changed"]] == ["0→2"]


def test_the_table_says_what_the_graph_says(genotype: dict[str, Any], snapshot: dict[str, Any]) -> None:
    rows = edge_table(cell_edges(genotype, snapshot))
    assert rows[0] == {"edge": "0→1", "primitive": "conv 3×3", "probability": "0.50", "changed": ""}
    assert edge_table(cell_edges(genotype))[0]["probability"] == "not known"


def test_the_json_of_a_real_genotype_is_understood() -> None:
    real = Genotype(NB201, tuple(["nor_conv_3x3"] * 6))
    edges = cell_edges(real.to_json())
    assert [(edge.cell, edge.target, edge.source) for edge in edges] == [tuple(edge) for edge in NB201.edges]


def test_several_cell_types_stand_below_each_other(genotype: dict[str, Any]) -> None:
    rows = genotype["cells"]["cell"]
    figure = genotype_figure(cell_edges({"space": "two", "cells": {"normal": rows, "reduce": rows}}))
    nodes = [trace for trace in figure.data if "markers" in trace.mode]
    assert [(trace.xaxis, trace.yaxis) for trace in nodes] == [("x", "y"), ("x2", "y2")]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert figure.layout.meta == {"rows": 2}
    assert {"<b>normal</b>", "<b>reduce</b>"} <= {note.text for note in figure.layout.annotations}


def test_no_genotype_yet_is_a_sentence() -> None:
    assert "No genotype" in genotype_figure(()).layout.annotations[0].text


def test_dot_pins_nodes_and_names_primitives(genotype: dict[str, Any], snapshot: dict[str, Any]) -> None:
    text = genotype_dot(cell_edges(genotype, snapshot))
    assert text.startswith('digraph "cell" {')
    assert text.rstrip().endswith("}")
    assert '"cell3" [label="3", pos="432,0!"];' in text
    assert text.count("->") == 6
    conv = PRIMITIVE_STYLES["nor_conv_3x3"]
    assert f'"cell0" -> "cell1" [label="conv 3×3 0.50", color="{conv.color}", style="solid"' in text
