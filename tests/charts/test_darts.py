"""Cells of the DARTS space in the charts: edges that are not taken, two cell types, sources that change."""

import re
from itertools import combinations
from random import Random
from typing import Any

import pytest

from lab.charts import (
    cell_edges,
    chosen_columns,
    edge_table,
    genotype_dot,
    genotype_figure,
    mutation_changes,
    probability_figure,
    probability_table,
)
from lab.space import ABSENT, DARTS, NB201, Edge, Edit, Genotype, sample


def snapshot(genotype: Genotype) -> dict[str, Any]:
    rng = Random(1)
    return {
        "genotype": genotype.to_json(),
        "argmax_genotype": sample(DARTS, rng).to_json(),
        "edges": [list(edge) for edge in DARTS.edges],
        "primitives": list(DARTS.primitives),
        "probabilities": [[rng.random() for _ in DARTS.primitives] for _ in DARTS.edges],
        "entropy": [2.0] * 28,
    }


def boxes(figure: Any, width: float, height: float, least: float, larger: float) -> list[tuple[float, ...]]:
    """Left, right, bottom and top of the labels of the first cell, in pixels of a figure without margins."""
    x, y = figure.layout.xaxis, figure.layout.yaxis
    ends = y.domain or (0.0, 1.0)
    per_x = width / (x.range[1] - x.range[0])
    per_y = height * (ends[1] - ends[0]) / (y.range[1] - y.range[0])
    found = []
    for note in figure.layout.annotations:
        if note.xref not in (None, "x") or "joined" in note.text:
            continue
        size = max(least, larger * note.font.size)
        lines = [re.sub("<[^>]*>", "", line) for line in note.text.split("<br>")]
        # About the width of the page's letters, of which a bold one has more.
        half = 0.26 * size * max(map(len, lines))
        middle_x, middle_y = note.x * per_x, note.y * per_y + larger * (note.yshift or 0.0)
        found.append((middle_x - half, middle_x + half, middle_y - 0.6 * size, middle_y + 0.6 * size))
    return found


@pytest.mark.parametrize("primitive", ["sep_conv_3x3", "conv_7x1_1x7"])
@pytest.mark.parametrize(("width", "height", "least", "larger"), [(332, 800, 0, 1.0), (630, 760, 20, 1.6)])
def test_no_label_lies_on_another_on_a_telephone_or_on_the_wall(
    primitive: str, width: float, height: float, least: float, larger: float
) -> None:
    """All edges of the space at once, which is more than a network can have."""
    rows = [[edge.target, edge.source, primitive] for edge in DARTS.edges if edge.cell == "normal"]
    genotype = {"space": DARTS.name, "cells": {"normal": rows, "reduce": rows}}
    seen = {"edges": [list(edge) for edge in DARTS.edges], "primitives": [primitive]}
    figure = genotype_figure(cell_edges(genotype, {**seen, "probabilities": [[0.5]] * len(DARTS.edges)}))
    found = boxes(figure, width, height, least, larger)
    assert len(found) >= len(rows)
    crossed = [
        (one, other)
        for one, other in combinations(found, 2)
        if one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
    ]
    assert crossed == []


@pytest.mark.parametrize("seed", range(5))
def test_nodes_stay_where_they_are_whatever_the_cells_have(seed: int) -> None:
    genotype, other = sample(DARTS, Random(seed)), sample(DARTS, Random(seed + 100))
    figures = [genotype_figure(cell_edges(g.to_json(), snapshot(g))) for g in (genotype, other)]
    for figure in figures:
        assert not any("→ out" in note.text for note in figure.layout.annotations), "the output joins four nodes"
    nodes = [[trace for trace in figure.data if "markers" in trace.mode] for figure in figures]
    assert [list(trace.x) for trace in nodes[0]] == [[0, 1, 2, 3, 4, 5]] * 2
    for name in ("yaxis", "yaxis2"):
        one, other = (figure.layout[name] for figure in figures)
        assert (one.range, one.domain) == (other.range, other.domain)
    assert figures[0].layout.height == 2 * genotype_figure(cell_edges(sample(NB201, Random(0)).to_json())).layout.height


def test_edge_table_and_dot_hold_the_sixteen_edges_with_their_probability() -> None:
    genotype = sample(DARTS, Random(3))
    seen = snapshot(genotype)
    edges = cell_edges(genotype.to_json(), seen)
    assert len(edge_table(edges)) == 16
    row = genotype.rows[0]
    expected = seen["probabilities"][row][genotype.indices[row]]
    assert edge_table(edges)[0]["probability"] == f"{expected:.2f}"
    text = genotype_dot(edges)
    assert text.count("->") == 16
    assert '"normal0" [label="0", pos="0,0!"];' in text
    assert '"reduce0" [label="0", pos="0,-432!"];' in text, "the cells must not lie on each other"


def test_an_edge_that_is_not_taken_has_no_column() -> None:
    genotype = sample(DARTS, Random(4))
    seen = snapshot(genotype)
    assert chosen_columns(genotype.to_json(), seen) == genotype.indices
    figure = probability_figure(seen)
    marks = [sum(text.startswith("◆") for text in row) for row in figure.data[0].text]
    assert marks == [int(column >= 0) for column in genotype.indices]
    assert figure.layout.height > 600
    assert not any("0." in text for row in figure.data[0].text for text in row), "ten columns have no room for it"
    assert list(figure.data[0].x)[:4] == ["avg 3×3", "max 3×3", "skip", "sep 3×3"]
    assert len(probability_table(seen)) == 28


def test_what_is_improbable_has_no_number_and_a_wall_shows_taken_edges_alone() -> None:
    genotype = sample(DARTS, Random(4))
    faint = [[0.99 if name == "skip_connect" else 0.001 for name in DARTS.primitives] for _ in DARTS.edges]
    seen = {**snapshot(genotype), "probabilities": faint, "argmax_genotype": genotype.to_json()}
    texts = [text for row in probability_figure(seen).data[0].text for text in row]
    assert sum(any(letter.isdigit() for letter in text) for text in texts) == len(DARTS.edges)
    heat = probability_figure(seen, taken=True).data[0]
    assert heat.z.shape[0] == len(heat.y) == 16
    assert [sum("◆" in text for text in row) for row in heat.text] == [1] * 16


def change(edits: list[Edit], make_event: Any) -> Any:
    rows = [[*edit.edge, edit.old, edit.new] for edit in edits]
    common = {"difference": 0.0, "requested": "schedule", "reason": ""}
    return mutation_changes([make_event(5, "mutation", number=1, status="applied", edits=rows, **common)])[0]


def test_another_source_is_told_in_one_sentence(make_event: Any) -> None:
    edits = [
        Edit(Edge("normal", 4, 0), "skip_connect", ABSENT),
        Edit(Edge("normal", 4, 1), "sep_conv_3x3", "dil_conv_5x5"),
        Edit(Edge("normal", 4, 3), ABSENT, "max_pool_3x3"),
        Edit(Edge("reduce", 5, 1), "avg_pool_3x3", ABSENT),
        Edit(Edge("reduce", 5, 2), ABSENT, "skip_connect"),
        Edit(Edge("reduce", 5, 3), "sep_conv_7x7", ABSENT),
        Edit(Edge("reduce", 5, 4), ABSENT, "sep_conv_5x5"),
    ]
    assert change(edits, make_event).lines == (
        "node normal 4: 0→4 skip → 3→4 max pool 3×3",
        "edge normal 1→4: sep conv 3×3 → dil conv 5×5",
        "node reduce 5: 1→5 avg pool 3×3 → 2→5 skip",
        "node reduce 5: 3→5 sep conv 7×7 → 4→5 sep conv 5×5",
    )


def test_an_edit_without_its_partner_is_still_told(make_event: Any) -> None:
    edits = [Edit(Edge("normal", 4, 0), "skip_connect", ABSENT)]
    assert change(edits, make_event).lines == ("edge normal 0→4: skip → absent",)
