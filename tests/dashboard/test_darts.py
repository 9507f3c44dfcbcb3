"""The live page of a search in the DARTS space: two cells, edges that are not taken, mutations of a source."""

from collections.abc import Callable
from random import Random
from typing import Any

from lab.space import ABSENT, DARTS, Edge, Edit, Genotype, parse_genotype
from lab.space import sample as draw
from lab.store import GenotypeEvent, MutationEvent

CELL = parse_genotype(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
EDITS = (
    Edit(Edge("normal", 5, 2), "dil_conv_3x3", ABSENT),
    Edit(Edge("normal", 5, 4), ABSENT, "conv_7x1_1x7"),
    Edit(Edge("reduce", 2, 0), "max_pool_3x3", "avg_pool_3x3"),
)


def genotype_event(genotype: Genotype, reason: str) -> GenotypeEvent:
    return GenotypeEvent(
        genotype=genotype.to_json(),
        argmax_genotype=draw(DARTS, Random(0)).to_json(),
        edges=[list(edge) for edge in DARTS.edges],
        primitives=list(DARTS.primitives),
        probabilities=[[0.1] * 10 for _ in DARTS.edges],
        entropy=[2.3] * 28,
        skip_share=0.25,
        dominance=0.0,
        reason=reason,
    )


def search(recorder: Any) -> None:
    changed = CELL.edit(EDITS)
    recorder.phase(0, "arch_training")
    recorder.steps(0, 10)
    recorder.record(10, genotype_event(CELL, "epoch"))
    recorder.phase(10, "mutation")
    mutation = MutationEvent(
        number=1,
        status="applied",
        old=CELL.to_json(),
        new=changed.to_json(),
        edits=[[*edit.edge, edit.old, edit.new] for edit in CELL.diff(changed)],
        difference=0.0,
        requested="schedule",
        reason="made up for a test",
        loss_before=0.5,
    )
    recorder.record(10, mutation)
    recorder.record(10, genotype_event(changed, "mutation"))
    recorder.phase(10, "weight_retraining")
    recorder.steps(10, 10, beta=0.5)


def test_both_cells_are_drawn_with_the_edges_that_are_taken(page: Any, recorder: Callable[..., Any]) -> None:
    search(recorder())
    charts = page.open().charts
    graph, label = charts["genotype"], charts["genotype"]["label"]
    # One changed edge is drawn in two pieces: its transition is half done.
    assert sum(trace["mode"] == "lines" for trace in graph["data"]) == 16 + 1
    texts = [note["text"] for note in graph["layout"]["annotations"]]
    assert sum(text.startswith("★") for text in texts) == 2, "the edge that came and the one with another primitive"
    assert any(text.startswith("<b>reduce</b><br>in: 0, 1, the last 2 cells") for text in texts)
    assert "normal 4→5 conv 7×1, 1×7" in label
    assert "normal 2→5" not in label


def test_the_heat_map_has_a_row_for_every_edge(page: Any, recorder: Callable[..., Any]) -> None:
    search(recorder())
    heat = page.open().charts["probabilities"]["data"][0]
    assert len(heat["y"]) == 28
    assert len(heat["x"]) == 9, "all primitives but `none`, which no edge can draw"
    marked = [sum(text.startswith("◆") for text in row) for row in heat["text"]]
    assert sum(marked) == 16
    assert marked[13] == 1
    assert marked[11] == 0


def test_what_changed_names_the_edits_in_words(page: Any, recorder: Callable[..., Any]) -> None:
    search(recorder())
    text = page.open().text
    assert "node normal 5: 2→5 dil conv 3×3 → 4→5 conv 7×1, 1×7" in text
    assert "edge reduce 0→2: max pool 3×3 → avg pool 3×3" in text
    assert "output did not change at all at that moment" in text
    assert ABSENT not in text
