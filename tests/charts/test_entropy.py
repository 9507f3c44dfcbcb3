"""What can be drawn, and how evenly: the line of a search that knows nothing is where such a search stands."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from lab.charts import (
    chosen_columns,
    drawable_columns,
    entropy_series,
    probability_figure,
    probability_table,
    uniform_entropy,
)
from lab.space import DARTS

LEFT = [1, 2, 3, 4]


@pytest.fixture
def without_none(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A search that leaves `none` out, told by its event."""
    genotype = snapshot["argmax_genotype"]
    return {**snapshot, "genotype": genotype, "probabilities": [[0.0, 0.25, 0.25, 0.25, 0.25]] * 6} | {
        "entropy": [math.log(4)] * 6,
        "drawable": [LEFT] * 6,
    }


def test_uniform_is_over_what_can_be_drawn(without_none: dict[str, Any], snapshot: dict[str, Any]) -> None:
    assert uniform_entropy(without_none) == pytest.approx(math.log(4))
    assert uniform_entropy(snapshot) == pytest.approx(math.log(5))


def test_a_run_that_did_not_tell_is_read_by_its_shares(without_none: dict[str, Any]) -> None:
    without_none.pop("drawable")
    assert uniform_entropy(without_none) == pytest.approx(math.log(4))
    without_none["probabilities"] = [[0.0, 0.0, 0.0, 1.0, 0.0]] * 6
    # A share that has become 0 is no primitive that was left out.
    assert drawable_columns(without_none).sum(axis=1).tolist() == [4] * 6


def test_an_edge_that_has_lost_a_primitive_counts_alone(without_none: dict[str, Any]) -> None:
    without_none["drawable"] = [[2, 3, 4]] + [LEFT] * 5
    assert uniform_entropy(without_none) == pytest.approx((math.log(3) + 5 * math.log(4)) / 6)
    assert next(iter(probability_figure(without_none).data[0].text[0])) == "–"


def test_what_cannot_be_drawn_has_no_column(without_none: dict[str, Any]) -> None:
    heat = probability_figure(without_none).data[0]
    assert list(heat.x) == ["skip", "conv 1×1", "conv 3×3", "avg pool 3×3"]
    assert heat.z.shape == (6, 4)
    assert list(heat.text[0]) == ["0.25", "0.25", "◆ 0.25", "0.25"]
    assert "none" not in probability_table(without_none)[0]


def test_a_primitive_that_the_live_cell_has_keeps_its_column(
    without_none: dict[str, Any], genotype: dict[str, Any]
) -> None:
    without_none["genotype"] = genotype
    assert chosen_columns(genotype, without_none)[4] == 0
    assert next(iter(probability_figure(without_none).data[0].text[4])) == "◆ –"


def test_darts_without_knowledge_stands_on_its_line(make_event: Callable[..., Any]) -> None:
    """Its rows give `none` a share, which no cell has: the entropy is that of the draw."""
    rows = [[0.1] * 10 for _ in DARTS.edges]
    cell: dict[str, Any] = {"space": "darts", "cells": {}}
    facts = {"primitives": list(DARTS.primitives), "edges": [list(edge) for edge in DARTS.edges], "probabilities": rows}
    event = make_event(0, "genotype", genotype=cell, argmax_genotype=cell, entropy=[math.log(10)] * 28, **facts)
    assert uniform_entropy(event.payload) == pytest.approx(math.log(9))
    assert entropy_series([event]).value[0] == pytest.approx(math.log(9))
    heat = probability_figure(event.payload).data[0]
    assert "none" not in heat.x
    assert heat.z[0].sum() == pytest.approx(1.0)
