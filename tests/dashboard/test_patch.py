"""A figure goes to the browser once; then what has changed of it, as long as that is little."""

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
from components.figures import DrawingCache, figure_text
from components.patch import LARGE, MOST_PATCH, Base, common_start, difference

from lab.charts import Curve, Mark, curve_figure, make_series
from lab.charts.style import series_style

VALUES = np.random.default_rng(0).normal(size=40_000)


def curve(steps: int, *, seed: int = 0) -> go.Figure:
    """A curve of so many steps with marks, as the live page draws it."""
    marks = [Mark(step=step, text=f"M{step}", color="red") for step in range(0, steps, 40)]
    series = make_series("loss", np.arange(steps), VALUES[:steps] + seed)
    return curve_figure([Curve(series=series, style=series_style("batches", 0))], y_title="loss", marks=marks)


def figure_of(drawing: Any, patched: Any) -> Any:
    """The figure that the browser draws."""
    if drawing.base is None:
        return json.loads(drawing.text)
    return patched(json.loads(drawing.base.payload)["figure"], json.loads(drawing.text))


def test_a_patch_makes_the_new_of_the_old(patch_cases: list[tuple[Any, Any]], patched: Any) -> None:
    for old, new in patch_cases:
        text = json.dumps(difference(old, new))
        assert patched(json.loads(json.dumps(old)), json.loads(text)) == new, (old, new)
    assert difference({"a": [1, 2]}, {"a": [1, 2]}) is None


def test_a_curve_that_has_grown_is_told_by_its_end(patched: Any) -> None:
    cache = DrawingCache()
    first, second = (cache.get(steps, lambda steps=steps: curve(steps), chart="loss") for steps in (30_000, 30_020))
    assert first.base is not None
    assert first.text == "null"
    assert first.base == second.base
    assert len(first.base.text) > LARGE
    assert len(first.base.text) > 20 * len(second.text)
    assert figure_of(first, patched) == json.loads(figure_text(curve(30_000)))
    assert figure_of(second, patched) == json.loads(figure_text(curve(30_020)))


def test_another_curve_is_a_base_of_its_own(patched: Any) -> None:
    cache = DrawingCache()
    first, second = (cache.get(seed, lambda seed=seed: curve(9_000, seed=seed), chart="loss") for seed in (0, 1))
    assert first.base is not None
    assert second.base is not None
    assert first.base.id != second.base.id
    assert len(json.dumps(difference(first.base.figure, second.base.figure))) > MOST_PATCH
    assert figure_of(second, patched) == second.base.figure


def test_a_small_figure_is_told_whole_and_so_is_one_that_no_chart_follows(patched: Any) -> None:
    small = go.Figure(layout={"height": 10, "template": "none"})
    assert len(figure_text(small)) < LARGE < len(figure_text(curve(30)))
    assert DrawingCache().get("a", lambda: small, chart="loss").base is None
    assert DrawingCache().get("a", lambda: curve(30), chart="loss").base is not None
    whole = DrawingCache().get("a", lambda: curve(9_000))
    assert whole.base is None
    assert figure_of(whole, patched) == json.loads(figure_text(curve(9_000)))


def test_a_base_is_named_by_what_it_says() -> None:
    one, same, other = (Base(text=text, figure=json.loads(text)) for text in ('{"a":1}', '{"a":1}', '{"a":2}'))
    assert one.id == same.id != other.id
    assert json.loads(one.payload) == {"id": one.id, "figure": {"a": 1}}


def test_long_arrays_have_seven_digits_and_short_ones_all() -> None:
    long, short = (json.loads(figure_text(curve(steps)))["data"][0]["y"] for steps in (9_000, 100))
    assert long["dtype"] == "f4"
    assert short == VALUES[:100].tolist()


def test_the_common_start_is_found_wherever_two_texts_part() -> None:
    for place in range(9):
        assert common_start("a" * place + "b" * 8, "a" * place + "c" * 5) == place
    assert common_start("abc", "abc") == 3
    assert common_start("", "abc") == 0
