"""The live page of a run that learns several tasks at once."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.store import AlertEvent

CHARTS = {"router", "weights", "tasks", "components", "loss", "accuracy", "stability", "memory"}
TITLE = "made-up records, synthetic texts"


def component(name: str, parameters: float, state: float, kept: float, peak: float) -> dict[str, float]:
    sizes = {"parameters": parameters, "state": state, "kept": kept, "peak": peak}
    return {f"component/{name}/{kind}": value for kind, value in sizes.items()}


@pytest.fixture
def learning(recorder: Callable[..., Any]) -> Any:
    """Twenty steps of two tasks, with two experts; made-up numbers."""
    # As runs of before were stored, when the recipe was called hybrid.
    run = recorder(recipe="hybrid", hybrid={"weighting": "gradnorm"}, dataset_title=TITLE)
    run.phase(0, "weight_retraining")
    values = {"router/load/0": 0.75, "router/load/1": 0.25, "conflict": 0.5, "router/balance": 1.2}
    values |= {"loss/kind": 0.5, "loss/amount": 1.5, "weight/kind": 1.25, "weight/amount": 0.75}
    run.run.scalars(0, component("memory", 2048, 1024, 512, 4096) | component("(whole model)", 1, 1, 1, 2**20))
    run.steps(0, 20, **values)
    run.run.scalars(19, {"decision/loss/kind": 0.6})
    run.epoch(19, 0)
    return run


def test_the_page_shows_router_weights_tasks_components_and_that_there_is_no_cell(page: Any, learning: Any) -> None:
    page.open()
    assert page.charts.keys() == CHARTS
    assert "It has no cell, so there is no genotype" in page.text
    assert "GradNorm: at each step" in page.text
    assert "Whole model: peak 1.0 MiB" in page.text
    figures = page.kpis
    assert figures.pop("Memory") == "768 MiB"
    assert figures == {
        "Step": "19",
        "Epoch": "1",
        "Tasks": "2",
        "Largest expert load": "75% of 2",
        "Conflict": "50%",
        "Stability": "0.90 steady",
        "Decision accuracy": "75.0%",
    }


def test_the_charts_say_in_words_what_they_show(page: Any, learning: Any) -> None:
    charts = page.open().charts
    assert charts["router"]["label"] == "Share of load of each expert over steps; now 0 75%, 1 25%"
    assert charts["weights"]["label"] == "Weight of each loss over steps; now kind 1.25, amount 0.75"
    assert charts["tasks"]["label"] == "Loss of each task over steps; now kind 0.500, amount 1.500"
    assert charts["components"]["label"] == "Peak memory of each component: memory 4.0 KiB"


def test_a_chart_is_drawn_anew_when_its_numbers_come(page: Any, learning: Any) -> None:
    before = page.open().charts
    learning.steps(20, 5, **{"router/load/0": 0.5, "router/load/1": 0.5, "weight/kind": 1.0, "weight/amount": 1.0})
    after = page.tick().charts
    assert after["router"]["label"].endswith("0 50%, 1 50%")
    assert after["weights"]["data"] != before["weights"]["data"]
    assert after["components"]["data"] == before["components"]["data"]


def test_the_title_of_the_records_says_itself_what_is_synthetic(page: Any, learning: Any) -> None:
    text = page.open().text
    assert f"data: {TITLE}" in text
    assert "(synthetic)" not in text


def test_what_this_recipe_cannot_do_cannot_be_pressed(page: Any, learning: Any) -> None:
    page.open()
    assert not page.enabled("mutate")
    assert "keeps the structure" in page.app.button(key="press_mutate").help
    popovers = {block.proto.popover.label: block.proto.popover for block in page.app.get("popover")}
    assert popovers["Temperature"].disabled
    assert not popovers["Stop"].disabled
    assert page.enabled("pause")


def test_a_run_that_has_just_begun_says_when_numbers_come(page: Any, recorder: Callable[..., Any]) -> None:
    recorder(recipe="multitask")
    page.open()
    assert page.kpis["Largest expert load"] == "–"
    note = page.charts["components"]["layout"]["annotations"][0]["text"]
    assert note == "Not measured:<br>it comes with the first step."


def test_an_alert_is_shown(page: Any, learning: Any) -> None:
    learning.record(19, AlertEvent(level="warning", title="Rolled back", text="loss is NaN"))
    (rows,) = [table for table in page.open().tables if "level" in table]
    assert list(rows["what"]) == ["Rolled back"]


def test_a_recorded_run_of_the_engine_is_drawn(page: Any, root: Any) -> None:
    from lab.datasets import DataConfig
    from lab.multitask import MultitaskConfig
    from lab.runs import Run, RunConfig
    from lab.train import DeviceConfig

    config = RunConfig(
        recipe="multitask",
        data=DataConfig(name="multitask"),
        epochs=2,
        threads=1,
        devices=DeviceConfig(device="cpu"),
        multitask=MultitaskConfig(weighting="dwa", embed_dim=8, table_dim=8, fused_dim=8),
    )
    Run(config, save_dir=root, name="engine").execute()
    charts = page.open().charts
    assert charts.keys() == CHARTS | {"layers"}
    assert [trace["name"] for trace in charts["router"]["data"] if "raw" not in trace["name"]][-1] == "even: 1/4"
    assert page.kpis["Tasks"] == "3"
    assert {trace["name"] for trace in charts["weights"]["data"]} == {"diagnosis", "worst_area", "worst_texture"}
    assert "feed_forward" in charts["components"]["label"]
    assert "texts (synthetic)" not in page.text


def test_the_help_page_tells_what_each_weighting_does(page: Any, root: Any) -> None:
    root.mkdir()
    page.open()
    page.app.switch_page("app_pages/help.py")
    text = page.tick().text
    assert "Several losses" in text
    assert all(f"**{name}**" in text for name in ("sum", "dwa", "gradnorm", "pcgrad"))
