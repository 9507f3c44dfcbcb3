import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.charts import layer_figure, layer_table
from lab.charts.layers import MOST_READINGS, layer_rows


@dataclass(frozen=True)
class Row:
    id: int
    step: int
    ts: float
    kind: str
    payload: dict[str, Any]


def reading(step: int, **layers: float | None) -> Row:
    values = list(layers.values())
    return Row(step, step, 0.0, "layers", {"layers": list(layers), "gradient": values, "ratio": values})


def test_a_row_is_a_layer_and_a_column_a_step_in_powers_of_ten() -> None:
    gradient, ratio = layer_figure([reading(0, stem=0.1, head=10.0), reading(64, stem=0.01, head=None)]).data
    assert list(gradient.x) == [0, 64]
    assert list(gradient.y) == ["stem", "head"]
    assert np.allclose(np.asarray(gradient.z, float), [[-1, -2], [1, np.nan]], equal_nan=True)
    assert (ratio.zmin, ratio.zmax) == (-5, -1)


def test_layers_that_came_later_and_went_away_have_rows_of_their_own() -> None:
    found = [reading(0, stem=1.0, old=1.0), reading(1, stem=1.0, new=1.0)]
    assert layer_rows(found) == ("stem", "new", "old")
    z = np.asarray(layer_figure(found).data[0].z, float)
    assert math.isnan(z[1][0])
    assert math.isnan(z[2][1])


def test_names_are_told_without_the_part_that_all_begin_with() -> None:
    found = [reading(0, **{"backbone.stem": 1.0, "backbone.cells.0": 1.0})]
    assert list(layer_figure(found).data[0].y) == ["stem", "cells.0"]
    assert list(layer_figure([reading(0, **{"a" * 40: 1.0})]).data[0].y) == ["…" + "a" * 26]


def test_a_long_run_is_thinned_and_says_so() -> None:
    figure = layer_figure([reading(step, stem=1.0) for step in range(1000)])
    assert len(figure.data[0].x) == MOST_READINGS
    assert (figure.data[0].x[0], figure.data[0].x[-1]) == (0, 999)
    assert "200 of 1,000" in figure.layout.xaxis.title.text


def test_values_that_are_no_numbers_leave_a_gap() -> None:
    z = np.asarray(layer_figure([reading(0, a=math.nan, b=0.0, c=1.0)]).data[0].z, float)
    assert np.isnan(z[:2]).all()
    assert z[2][0] == 0.0


def test_the_table_holds_the_latest_reading() -> None:
    rows = layer_table([reading(0, stem=1.0), reading(9, stem=0.5, head=None)])
    assert rows[0] == {"layer": "stem", "gradient norm": "5.00e-01", "update / weights": "5.00e-01"}
    assert rows[1]["gradient norm"] == "no gradient"
    assert layer_table([]) == []


def test_before_the_first_reading_it_says_so() -> None:
    assert "No reading" in layer_figure([]).layout.annotations[0].text
