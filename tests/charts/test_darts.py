"""Cells of the DARTS space in the charts: edges that are not taken, two cell types, sources that change."""

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


@pytest.mark.parametrize("seed", range(5))
def test_labels_never_share_a_place_and_nodes_stay(seed: int) -> None:
    genotype, other = sample(DARTS, Random(seed)), sample(DARTS, Random(seed + 100))
    figures = [genotype_figure(cell_edges(g.to_json(), snapshot(g))) for g in (genotype, other)]
    for figure in figures:
        places = [(note.x, note.y) for note in figure.layout.annotations]
        assert len(set(places)) == len(places)
        assert not any("→ out" in note.text for note in figure.layout.annotations), "the output joins four nodes"
    nodes = [[trace for trace in figure.data if "markers" in trace.mode] for figure in figures]
    assert [list(trace.x) for trace in nodes[0]] == [[0, 1, 2, 3, 4, 5]] * 2
    assert [list(trace.y) for trace in nodes[0]] == [list(trace.y) for trace in nodes[1]]
    assert figures[0].layout.yaxis.range == figures[1].layout.yaxis.range
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
    assert len(probability_table(seen)) == 28


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
