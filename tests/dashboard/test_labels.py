"""Runs page: titles, notes, archive, deletion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.compare import RunFilter, run_rows
from components.labels import labels_of

from lab.store import RunLabel, list_runs, read_label, write_label
from lab.store.labels import LABEL


def runs_page(page: Any) -> Any:
    page.open()
    page.app.switch_page("app_pages/runs.py")
    return page.tick()


def test_a_title_and_a_note_are_saved_and_listed(page: Any, recorder: Callable[..., Any], root: Path) -> None:
    recorder("one").run.finish()
    runs_page(page)
    assert "note" not in page.app.dataframe[0].value
    page.app.text_input(key="title_one").set_value("the good one")
    page.app.text_area(key="note_one").set_value("with less noise")
    page.app.button(key="save_label").click()
    row = page.tick().app.dataframe[0].value.iloc[0]
    assert (row["run"], row["title"], row["note"]) == ("one", "the good one", "with less noise")
    assert read_label(root / "one") == RunLabel(title="the good one", note="with less noise")


def test_a_title_that_is_too_long_is_one_line_and_changes_nothing(
    page: Any, recorder: Callable[..., Any], root: Path
) -> None:
    recorder("one").run.finish()
    runs_page(page).app.text_input(key="title_one").set_value("a" * 201)
    page.app.button(key="save_label").click()
    assert "expected a title of one line" in page.tick().app.error[0].value
    assert read_label(root / "one") == RunLabel()


def test_an_archived_run_is_listed_only_when_asked(page: Any, recorder: Callable[..., Any], root: Path) -> None:
    for name in ("one", "two"):
        recorder(name).run.finish()
    write_label(root / "one", RunLabel(archived=True))
    assert list(runs_page(page).app.dataframe[0].value["run"]) == ["two"]
    page.app.toggle(key="archived").set_value(True)
    assert sorted(page.tick().app.dataframe[0].value["run"]) == ["one", "two"]


def test_a_run_is_deleted_after_a_question_and_never_while_it_is_running(
    page: Any, recorder: Callable[..., Any], root: Path
) -> None:
    one = recorder("one")
    one.steps(0, 2)
    recorder("two").run.finish()
    runs_page(page).app.selectbox(key="open_name").select("one")
    # Its button cannot be reached while the run is running; a page of before may still have it.
    page.tick().app.button(key="delete_one").click()
    assert "expected a run that has ended" in page.tick().app.error[0].value
    assert (root / "one" / "events.db").exists()
    one.run.finish()
    page.tick().app.button(key="delete_one").click()
    assert list(page.tick().app.dataframe[0].value["run"]) == ["two"]
    assert [path.name for path in root.iterdir()] == ["two"]


def test_a_broken_label_is_told_and_the_run_stays_listed(recorder: Callable[..., Any], root: Path) -> None:
    recorder("one").run.finish()
    (root / "one" / LABEL).write_text("{")
    runs = list_runs(root)
    labels, wrong = labels_of(runs)
    assert "expected a label as JSON" in wrong[0]
    assert run_rows(runs, labels)[0]["run"] == "one"


def test_the_filter_looks_into_titles_and_notes(recorder: Callable[..., Any], root: Path) -> None:
    recorder("one").run.finish()
    run = list_runs(root)[0]
    label = RunLabel(title="Baseline", note="less noise")
    assert [RunFilter(text=text).takes(run, label) for text in ("base", "NOISE", "on", "cell")] == [True] * 3 + [False]
