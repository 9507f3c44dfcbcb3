"""Heat map of the architecture: every number stands in its cell."""

from typing import Any

from lab.charts import chosen_columns, probability_figure, probability_table


def test_rows_are_edges_and_columns_are_primitives(snapshot: dict[str, Any]) -> None:
    heat = probability_figure(snapshot).data[0]
    assert list(heat.y) == ["0→1", "0→2", "1→2", "0→3", "1→3", "2→3"]
    assert list(heat.x) == ["none", "skip", "conv 1×1", "conv 3×3", "avg pool 3×3"]
    assert heat.z.shape == (6, 5)
    assert (heat.zmin, heat.zmax) == (0.0, 1.0)


def test_the_live_and_the_likeliest_primitive_have_signs(snapshot: dict[str, Any]) -> None:
    texts = probability_figure(snapshot).data[0].text
    assert list(texts[0]) == ["0.10", "0.20", "0.10", "◆ 0.50", "0.10"]
    assert list(texts[1]) == ["0.10", "◆ 0.20", "0.10", "▲ 0.50", "0.10"]


def test_columns_are_found_by_edge_and_not_by_order(snapshot: dict[str, Any]) -> None:
    turned = {**snapshot, "edges": snapshot["edges"][::-1]}
    assert chosen_columns(snapshot["genotype"], turned) == chosen_columns(snapshot["genotype"], snapshot)[::-1]


def test_nan_probabilities_are_written_as_such(snapshot: dict[str, Any]) -> None:
    rows = [[float("nan")] * 5 for _ in range(6)]
    assert "NaN" in probability_figure({**snapshot, "probabilities": rows}).data[0].text[0][0]


def test_no_probabilities_yet_is_a_sentence() -> None:
    assert "No probabilities" in probability_figure(None).layout.annotations[0].text


def test_the_table_holds_every_number(snapshot: dict[str, Any]) -> None:
    rows = probability_table(snapshot)
    assert rows[0] == {
        "edge": "0→1",
        "none": "0.100",
        "skip": "0.200",
        "conv 1×1": "0.100",
        "conv 3×3": "0.500",
        "avg pool 3×3": "0.100",
        "entropy": "1.300",
    }
