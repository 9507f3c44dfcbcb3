"""Runs page: settings and results on parallel axes, and the horizontal axis of what is compared."""

from collections.abc import Callable
from typing import Any

import pytest
from components.coordinates import ABOUT_MACHINE, MOST_SETTINGS, column_rows, run_columns
from components.feed import SnapshotFeed


def runs_page(page: Any, **parameters: str) -> Any:
    page.open(**parameters)
    page.app.switch_page("app_pages/runs.py")
    return page.tick()


def snapshots(*runs: Any) -> dict[str, Any]:
    return {run.path.name: SnapshotFeed(run.path).refresh() for run in runs}


def test_axes_are_the_settings_that_differ_and_the_results(recorder: Callable[..., Any]) -> None:
    one = recorder("one", lr=0.1, search={"growth": "none"}, recipe="aso-se")
    two = recorder("two", lr=0.01, search={"growth": "width"}, recipe="aso-se")
    for run in (one, two):
        run.steps(0, 3)
        run.epoch(3, 0)
    found = run_columns(snapshots(one, two), "loss")
    assert found.columns == {
        "run": ["one", "two"],
        "lr": [0.1, 0.01],
        "search.growth": ["none", "width"],
        "decision/accuracy": [0.75, 0.75],
        "decision/loss": [0.5, 0.5],
        "loss": [1.98, 1.98],
    }
    assert column_rows(found)[1]["search.growth"] == "width"
    assert (found.left_out, found.hidden) == ((), 0)


def test_a_run_without_the_value_is_named_and_settings_of_the_machine_come_last(recorder: Callable[..., Any]) -> None:
    many = {f"z{number:02}": 0 for number in range(MOST_SETTINGS)}
    one = recorder("one", environment={"cpu": "a"}, **many)
    two = recorder("two", environment={"cpu": "b"}, **dict.fromkeys(many, 1))
    empty, broken = recorder("empty"), recorder("broken")
    one.steps(0, 2)
    two.steps(0, 2)
    broken.steps(0, 2, loss=float("nan"))
    found = run_columns(snapshots(one, two, empty, broken), "loss")
    assert found.columns["run"] == ["one", "two"]
    assert found.left_out == ("empty", "broken")
    assert found.hidden == 1
    assert not [name for name in found.columns if name.startswith(ABOUT_MACHINE)]


def test_the_page_draws_the_axes_with_a_table_and_compares_over_epochs_and_time(
    page: Any, recorder: Callable[..., Any]
) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        run = recorder(name, seed=seed)
        run.steps(0, 11)
        run.epoch(10, 0)
    recorder("new", seed=2).steps(0, 2)
    runs_page(page, compare_x="epoch", scalar="loss").app.multiselect(key="compare").set_value(["one", "two", "new"])
    page.tick()
    chart = page.charts["compare_coordinates"]
    assert [each["label"] for each in chart["data"][0]["dimensions"]] == ["run", "seed", "loss"]
    assert chart["label"] == "3 runs as lines across run, seed, loss"
    assert list(page.app.dataframe[-1].value["seed"]) == ["0", "1", "2"]
    curves = page.charts["compare_figure"]
    assert {trace["legendgroup"] for trace in curves["data"]} == {"one", "two"}
    assert curves["layout"]["xaxis"]["title"]["text"] == "epochs"
    assert "loss over epochs" in curves["label"]
    assert page.values("compare_figure", 0, "x")[-1] == 1.0
    assert "Left out, since no epoch has passed there: new." in page.text
    page.app.selectbox(key="compare_x").select("time")
    assert "training time (s)" in page.tick().charts["compare_figure"]["layout"]["xaxis"]["title"]["text"]


def test_the_axes_are_the_same_settings_in_every_language(
    page: Any, recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        recorder(name, seed=seed).steps(0, 3)
    monkeypatch.setenv("LAB_LANG", "de")
    runs_page(page, scalar="loss").app.multiselect(key="compare").set_value(["one", "two"])
    chart = page.tick().charts["compare_coordinates"]
    assert [each["label"] for each in chart["data"][0]["dimensions"]] == ["Lauf", "seed", "loss"]


def test_one_run_alone_has_no_axes(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 3)
    assert "compare_coordinates" not in runs_page(page).charts
