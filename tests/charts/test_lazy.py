"""A figure that Plotly checks when somebody looks into it: the same figure, later."""

import copy
import json
import pickle

import numpy as np
import plotly.graph_objects as go
import pytest

from lab.charts import LazyFigure, figure_spec

DATA = [{"type": "scatter", "x": np.arange(3), "y": [1.0, 2.0, 3.0], "name": "a"}]
LAYOUT = {"height": 100, "shapes": [{"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1}]}


def plain(figure: go.Figure) -> object:
    return json.loads(figure.to_json())


def test_it_is_the_figure_that_plotly_makes_of_the_same_data() -> None:
    wanted = plain(go.Figure(data=DATA, layout=LAYOUT))
    for made in (LazyFigure(DATA, LAYOUT), copy.deepcopy(LazyFigure(DATA, LAYOUT))):
        assert isinstance(made, go.Figure)
        assert plain(made) == wanted
    assert plain(pickle.loads(pickle.dumps(LazyFigure(DATA, LAYOUT)))) == wanted
    figure = LazyFigure(DATA, LAYOUT)
    assert figure.layout.shapes[0].x0 == 1
    figure.update_layout(height=200)
    assert figure_spec(figure)[1]["height"] == 200
    assert "_repr_html_" in dir(figure)


def test_what_it_was_made_of_is_read_without_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("checked")

    monkeypatch.setattr(go.Figure, "__init__", refuse)
    data, layout = LazyFigure(DATA, LAYOUT).spec
    assert data is DATA
    assert layout is LAYOUT
    with pytest.raises(AssertionError, match="checked"):
        _ = LazyFigure(DATA, LAYOUT).data


def test_what_plotly_does_not_know_is_refused_at_the_first_look() -> None:
    with pytest.raises(ValueError, match="nothing"):
        _ = LazyFigure([], {"nothing": 1}).layout


def test_any_figure_is_told_as_plain_data() -> None:
    data, layout = figure_spec(go.Figure(data=[{"type": "bar", "y": [1]}], layout={"height": 50}))
    assert (data[0]["type"], layout["height"]) == ("bar", 50)
