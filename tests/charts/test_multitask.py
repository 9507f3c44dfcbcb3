"""Figures of a model that learns several tasks at once, from scalars by name."""

import pytest

from lab.charts import (
    CurveView,
    Series,
    component_bytes,
    component_figure,
    component_table,
    make_series,
    named_series,
    router_figure,
    task_figure,
    weight_figure,
)

RAW = CurveView(smoothing=0.0)


def scalars(**values: list[float]) -> dict[str, Series]:
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return {name: make_series(name, range(len(value)), value) for name, value in named.items()}


def numbers(name: str, *values: float) -> dict[str, float]:
    kinds = ("parameters", "state", "kept", "peak")
    return {f"component/{name}/{kind}": value for kind, value in zip(kinds, values, strict=True)}


def test_series_are_found_by_the_part_before_and_experts_come_in_order_of_number() -> None:
    found = scalars(**{f"router__load__{n}": [0.1] for n in (10, 2, 0)}, router__balance=[1.0], loss__a__b=[1.0])
    assert [series.name for series in named_series(found, "router/load/")] == ["0", "2", "10"]
    assert named_series(found, "loss/") == ()


def test_the_even_share_stands_beside_the_experts() -> None:
    loads = named_series(scalars(router__load__0=[0.7, 0.6], router__load__1=[0.3, 0.4]), "router/load/")
    figure = router_figure(loads, view=RAW)
    assert [trace.name for trace in figure.data] == ["expert 0", "expert 1", "even: 1/2"]
    assert [list(trace.y) for trace in figure.data] == [[0.7, 0.6], [0.3, 0.4], [0.5, 0.5]]
    assert len({trace.line.dash for trace in figure.data}) == 3


def test_weights_are_drawn_as_they_are() -> None:
    weights = named_series(scalars(weight__a=[1.0, 1.4], weight__b=[1.0, 0.6]), "weight/")
    figure = weight_figure(weights, view=CurveView(smoothing=0.9, log_y=True))
    assert {trace.name: list(trace.y) for trace in figure.data} == {"a": [1.0, 1.4], "b": [1.0, 0.6]}
    assert figure.layout.yaxis.type == "linear"


def test_a_task_has_one_colour_for_its_batches_and_its_decision_split() -> None:
    batches = named_series(scalars(loss__a=[2.0, 1.0], loss__b=[4.0, 3.0]), "loss/")
    decisions = named_series(scalars(**{"decision__loss__b": [3.5]}), "decision/loss/")
    traces = {trace.name: trace for trace in task_figure(batches, decisions, view=RAW).data}
    assert traces.keys() == {"a", "b", "b, selection split"}
    assert traces["b, selection split"].line.color == traces["b"].line.color != traces["a"].line.color
    assert traces["b, selection split"].mode == "markers"


def test_the_axis_of_losses_has_their_unit() -> None:
    series = make_series("digit", [0, 1], [1.0, 2.0])
    assert task_figure([series], []).layout.yaxis.title.text == "loss (nats)"
    assert task_figure([series], [], y_title="loss (bits)").layout.yaxis.title.text == "loss (bits)"


def test_components_are_read_whole_and_shown_in_kibibytes_without_the_whole_model() -> None:
    named = numbers("memory", 2048, 1024, 512, 4096) | numbers("heads.a", 1024, 0, 0, 0)
    named |= numbers("(whole model)", 9e6, 9e6, 9e6, 9e6) | {"component/half/state": 1.0, "loss": 2.0}
    rows = component_bytes(named)
    assert [row.name for row in rows] == ["memory", "heads.a", "(whole model)"]
    table = component_table(rows)
    assert table[0] == {
        "component": "memory",
        "parameters": "2,048",
        "state": "1,024",
        "kept for backward": "512",
        "peak": "4,096",
    }
    bars = component_figure(rows).data
    assert list(bars[0].y) == ["heads.a", "memory"]
    assert {bar.name: list(bar.x) for bar in bars} == {
        "parameters": [1.0, 2.0],
        "state": [0.0, 1.0],
        "kept for backward": [0.0, 0.5],
        "peak": [0.0, 4.0],
    }
    assert len({bar.marker.pattern.shape for bar in bars}) == 4


@pytest.mark.parametrize("figure", [router_figure([]), weight_figure([]), task_figure([], []), component_figure([])])
def test_a_figure_without_numbers_says_when_they_come(figure) -> None:
    assert "first" in figure.layout.annotations[0].text
