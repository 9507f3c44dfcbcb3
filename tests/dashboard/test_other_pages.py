"""Runs page and Help page."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components.compare import MOST_RUNS, live_address

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "dashboard" / "app_pages"


def runs_page(page: Any) -> Any:
    page.open()
    page.app.switch_page("app_pages/runs.py")
    return page.tick()


def test_the_list_has_every_run_with_its_state(page: Any, recorder: Callable[..., Any], root: Path) -> None:
    recorder("one").run.finish("failed", "out of luck")
    recorder("two").steps(0, 3)
    (root / "empty").mkdir()
    table = runs_page(page).app.dataframe[0].value
    states = dict(zip(table["run"], table["state"], strict=True))
    assert states == {"one": "failed", "two": "running", "empty": "unreadable"}


def test_each_row_links_to_its_run_and_tells_its_accuracy(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").epoch(3, 0)
    recorder("three").steps(0, 3)
    frame = runs_page(page).app.dataframe[0]
    table = frame.value.set_index("run")
    assert table["accuracy"].to_dict() == {"one": "75.0%", "three": "–"}
    assert table["live"].to_dict() == {"one": "./?run=one", "three": "./?run=three"}
    assert live_address("one & two") == "./?run=one%20%26%20two"
    assert json.loads(frame.proto.columns)["live"]["type_config"]["type"] == "link"


def test_the_runs_page_is_drawn_anew_while_it_is_open(page: Any, recorder: Callable[..., Any]) -> None:
    one = recorder("one")
    one.steps(0, 3)
    runs_page(page)
    assert page.clocks == [2.0]
    one.steps(3, 3)
    two = recorder("two")
    table = page.tick().app.dataframe[0].value.set_index("run")
    assert table["last step"].to_dict() == {"one": "5", "two": "–"}
    for each in (one, two):
        each.run.finish()
    assert page.tick().clocks == [5.0]


def test_a_runs_page_without_a_run_waits_for_one(page: Any, recorder: Callable[..., Any]) -> None:
    assert runs_page(page).clocks == [2.0]
    recorder("one")
    assert list(page.tick().app.dataframe[0].value["run"]) == ["one"]


def test_runs_lie_over_each_other_with_best_values_and_settings(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one", seed=0).steps(0, 5)
    recorder("two", seed=1).steps(0, 9)
    runs_page(page)
    names = {trace["name"] for trace in page.charts["compare_figure"]["data"] if trace.get("showlegend", True)}
    assert names == {"one", "two"}
    settings, best = (frame.value for frame in page.app.dataframe[1:3])
    assert set(best["run"]) == {"one", "two"}
    assert settings.to_dict("records") == [{"setting": "seed", "two": "1", "one": "0"}]


def test_runs_with_the_same_settings_say_so(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 2)
    recorder("two").steps(0, 2)
    assert "these runs have the same settings" in runs_page(page).text


def test_runs_are_filtered_by_text_and_state(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one-cell").run.finish("failed", "out of luck")
    recorder("two-cells").run.finish()
    recorder("three")
    runs_page(page).app.text_input(key="filter").set_value("CELL")
    assert sorted(page.tick().app.dataframe[0].value["run"]) == ["one-cell", "two-cells"]
    assert "2 of 3 runs" in page.text
    page.app.pills(key="state").set_value(["failed", "running"])
    assert list(page.tick().app.dataframe[0].value["run"]) == ["one-cell"]
    page.app.text_input(key="filter").set_value("nothing like it")
    assert "No run matches this filter" in page.tick().text


def test_twenty_runs_are_compared_and_told_apart_and_one_more_is_not(page: Any, recorder: Callable[..., Any]) -> None:
    for number in range(MOST_RUNS + 1):
        recorder(f"run{number:02}", seed=number).steps(0, 3)
    runs_page(page)
    choice = page.app.multiselect(key="compare")
    assert choice.proto.max_selections == MOST_RUNS
    choice.set_value(choice.options[:MOST_RUNS])
    traces = [trace for trace in page.tick().charts["compare_figure"]["data"] if trace.get("showlegend", True)]
    assert len({trace["name"] for trace in traces}) == MOST_RUNS
    assert len({(trace["line"]["color"], trace["line"]["dash"]) for trace in traces}) == MOST_RUNS
    settings = page.app.dataframe[1].value
    assert list(settings["setting"]) == ["seed"]
    assert settings.shape == (1, MOST_RUNS + 1)


def test_an_address_with_a_run_that_is_not_there_says_so(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 2)
    recorder("two").steps(0, 2)
    page.open(compare="gone")
    page.app.switch_page("app_pages/runs.py")
    page.app.query_params["compare"] = ["one", "gone"]
    assert "No run named gone here to compare." in page.tick().text


def test_another_curve_can_be_chosen(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 5)
    runs_page(page).app.selectbox(key="scalar").select("accuracy")
    assert page.tick().charts["compare_figure"]["layout"]["yaxis"]["title"]["text"] == "accuracy"


def test_a_run_opens_on_the_live_page(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 5)
    recorder("two").steps(0, 9)
    runs_page(page).app.selectbox(key="open_name").select("one")
    page.app.button(key="open").click()
    page.tick()
    assert page.kpis["Step"] == "4"


def test_nothing_to_compare_is_a_sentence(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one")
    assert "Choose at least one run that has values" in runs_page(page).text


def test_the_runs_page_of_an_empty_store_is_a_sentence(page: Any) -> None:
    assert "No run yet in" in runs_page(page).text


def test_help_explains_every_panel_and_every_button(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    panels = {line.strip("*") for line in page.text.splitlines() if line.startswith("**")}
    panels = {name.split(" at step")[0] for name in panels}
    page.app.switch_page("app_pages/help.py")
    text = page.tick().text.lower()
    assert panels
    assert not [name for name in panels if name.lower() not in text]
    assert all(word in text for word in ("mutate now", "pause", "resume", "save", "temperature", "stop"))
    assert "aso-se** is *alternating stable optimization with stochastic exploration*" in text
    assert "mahia-x** is " in text


def test_the_page_loads_no_torch(recorder: Callable[..., Any], root: Path) -> None:
    recorder().search()
    code = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        "app = AppTest.from_file('dashboard/page.py', default_timeout=60).run();"
        "assert not app.exception, app.exception; assert app.metric;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'transformers', 'optuna', 'sklearn'}))"
    )
    environment = {**os.environ, "LAB_RUNS": str(root), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.py")), ids=lambda path: path.name)
def test_a_page_shows_no_text_by_accident(path: Path) -> None:
    """Streamlit writes every bare expression of a page's script onto the page, a constant's docstring too."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    bare = [node.lineno for node in body[1:] if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)]
    assert not bare
