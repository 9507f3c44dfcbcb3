"""The moment that the page shows: a cut of the run in which nothing is of later, a replay, the address."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from components import moment
from components.feed import SnapshotFeed
from components.history import History
from components.moment import ShownMoment, asked_moment, training_seconds
from components.slider import change_marks

from lab.base import ConfigError
from lab.store import ControlEvent, GrowthEvent, PhaseEvent, RunWriter

ROOT = Path(__file__).resolve().parents[2]
RUNS = {
    "search": (ROOT / "data" / "recorded" / "digits", 400),
    "agent": (ROOT / "tests" / "stored" / "agent", 40),
    "multitask": (ROOT / "tests" / "stored" / "hybrid", 4),
}
"""Real runs, each with a step in its middle."""
OF_THE_RUN = re.compile(r"as it was at step|^(ended|last heartbeat|updated) |attempt \d|The run was ended|To resume")


class Address(dict):
    """The address of a page."""

    def to_dict(self) -> dict[str, str]:
        return dict(self)


def copy(run: Path, root: Path, last: int | None = None) -> None:
    """Copy a run's database; with `last` as that of a run that ended there."""
    root.mkdir(parents=True, exist_ok=True)
    (root / run.name).mkdir()
    shutil.copy(run / "events.db", root / run.name)
    if last is not None:
        with closing(sqlite3.connect(root / run.name / "events.db")) as connection, connection:
            connection.execute("DELETE FROM scalar WHERE step > ?", (last,))
            connection.execute("DELETE FROM event WHERE step > ?", (last,))
            connection.execute("UPDATE attempt SET last_step = ?", (last,))


def shown(page: Any) -> dict[str, Any]:
    """All that the page shows of a run, but for what is of the run as it is now."""
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "code")
    texts = [str(element.value) for kind in kinds for element in page.app.get(kind)]
    charts = {key: {**chart, "view": ""} for key, chart in page.charts.items()}
    tables = [table.to_dict("records") for table in page.tables]
    said = [text for text in texts if not any(OF_THE_RUN.search(part) for part in [*text.split(" ", 1)[-1:], text])]
    return {"charts": charts, "numbers": page.kpis, "texts": said, "tables": tables}


def slider(page: Any) -> dict[str, Any]:
    """What the slider was told."""
    return told(page, "lab_slider")


def told(page: Any, component: str) -> dict[str, Any]:
    """Data of the component of that name."""
    found = [each.proto for each in page.app.get("bidi_component") if each.proto.component_name == component]
    assert len(found) == 1
    data: dict[str, Any] = json.loads(found[0].json)
    return data


@pytest.mark.parametrize("kind", RUNS)
def test_every_panel_at_a_step_is_that_of_a_run_that_ended_there(kind: str, page: Any, root: Path) -> None:
    run, step = RUNS[kind]
    copy(run, root, last=step)
    ended = shown(page.open(run.name))
    shutil.rmtree(root)
    copy(run, root)
    whole = shown(page.open(run.name))
    cut = shown(page.open(run.name, step=str(step)))
    for part in cut:
        assert cut[part] == ended[part], part
    assert whole["charts"] != cut["charts"]
    assert f"as it was at step {step}" in page.text


def test_the_wall_at_a_step_is_that_of_a_run_that_ended_there(page: Any, root: Path) -> None:
    run, step = RUNS["search"]
    copy(run, root, last=step)
    ended = told(page.open(run.name, view="wall"), "lab_wall")
    shutil.rmtree(root)
    copy(run, root)
    cut = told(page.open(run.name, view="wall", step=str(step)), "lab_wall")
    assert cut.pop("state") == f"finished, shown at step {step}"
    ended.pop("state")
    assert cut == ended


def test_the_shown_step_stays_while_the_run_goes_on(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    page.open(step="15")
    assert (page.kpis["Step"], slider(page)["last"], slider(page)["now"]) == ("15", 30, False)
    run.steps(31, 20)
    page.tick()
    assert (page.kpis["Step"], slider(page)["last"], slider(page)["step"]) == ("15", 50, 15)
    assert page.app.query_params["step"] == "15"


def test_without_a_step_the_slider_stands_at_the_end_and_follows(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    page.open()
    assert (slider(page)["step"], slider(page)["now"], slider(page)["playing"]) == (30, True, False)
    run.steps(31, 5)
    assert slider(page.tick())["step"] == 35


def test_a_step_at_or_behind_the_end_is_now(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    assert slider(page.open(step="30"))["now"]
    assert "as it was at" not in page.text


@pytest.mark.parametrize(("name", "value"), [("step", "soon"), ("step", "-3"), ("play", "3")])
def test_an_address_that_names_no_moment_is_said(
    page: Any, recorder: Callable[..., Any], name: str, value: str
) -> None:
    recorder().search()
    page.open(**{name: value})
    assert "in the address" in page.app.warning[0].value
    assert page.kpis["Step"] == "30"


def test_a_replay_that_reaches_the_end_is_over(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    # Its events lie milliseconds apart: at twenty times the speed they are over at the first tick.
    page.open(step="0", play="20")
    assert page.kpis["Step"] == "30"
    assert not {"step", "play"} & set(page.app.query_params)
    assert page.clocks[-1] == 1.0


def test_a_replay_ticks_twice_a_second_also_over_a_run_that_has_ended(page: Any, root: Path) -> None:
    run, _ = RUNS["search"]
    copy(run, root)
    page.open(run.name, step="100", play="1")
    assert page.clocks == [0.5]
    assert slider(page)["playing"]
    assert 100 <= slider(page)["step"] < 500


def test_at_speed_1_a_replay_takes_the_time_of_the_training(root: Path) -> None:
    run, _ = RUNS["search"]
    snapshot = SnapshotFeed(run).refresh()
    seconds = training_seconds(snapshot)
    events = snapshot.events
    last = next(event for event in events if event.step == snapshot.last_step)
    assert seconds.value[-1] == pytest.approx(last.time - events[0].time)
    begun = ShownMoment(step=0, speed=1, since=1000.0)
    assert begun.shown(snapshot, 1000.0) == 0
    for event in (events[len(events) // 3], events[len(events) // 2]):
        first = next(row for row in events if row.step == event.step)
        passed = first.time - events[0].time
        assert begun.shown(snapshot, 1000.0 + passed) == pytest.approx(event.step, abs=1)
        tenfold = ShownMoment(step=0, speed=10, since=1000.0)
        assert tenfold.shown(snapshot, 1000.0 + passed / 10) == pytest.approx(event.step, abs=1)
    assert begun.shown(snapshot, 1000.0 + seconds.value[-1] + 0.1) is None


def test_time_in_which_the_run_was_paused_or_down_does_not_count(root: Path) -> None:
    phase = PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0)
    with RunWriter(root, "run", {}) as run:
        run.record(0, phase)
        run.record(10, phase)
        for command in ("pause", "resume"):
            run.record(20, ControlEvent(command=command, arguments={}, done=True, text=""))
    with RunWriter(root, "run", {}, resume=True, step=30) as again:
        again.record(30, phase)
        again.record(40, phase)
    snapshot = SnapshotFeed(root / "run").refresh()
    times = (10.0, 11.0, 13.0, 5000.0, 9000.0, 9001.0)
    events = [replace(event, time=time) for event, time in zip(snapshot.events, times, strict=True)]
    seconds = training_seconds(replace(snapshot, history=History(events)))
    assert seconds.step.tolist() == [0, 10, 20, 30, 40]
    assert seconds.value.tolist() == [0.0, 1.0, 3.0, 3.0, 4.0]


def test_a_run_whose_events_tell_no_time_is_replayed_all_the_same(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 101)
    snapshot = SnapshotFeed(run.path).refresh()
    assert ShownMoment(step=0, speed=2, since=0.0).shown(snapshot, 2.5) == 50


def test_the_address_of_a_replay_begins_at_its_step() -> None:
    assert asked_moment({}, 7.0) == ShownMoment()
    assert asked_moment({"step": "12"}, 7.0) == ShownMoment(step=12, since=7.0)
    assert asked_moment({"step": "12", "play": "5"}, 7.0) == ShownMoment(step=12, speed=5, since=7.0)
    with pytest.raises(ConfigError, match="one of 1, 2, 5, 10, 20 as play"):
        asked_moment({"play": "0"}, 7.0)


def test_changes_are_marked_on_the_slider(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.record(30, GrowthEvent(what="width", where="stem", parameters_before=1, parameters_after=2, difference=0.0))
    marks = change_marks(SnapshotFeed(run.path).refresh())
    assert [(mark.step, mark.text) for mark in marks] == [(20, "M1 ●"), (30, "grew in width")]


def test_a_request_from_before_a_press_does_not_undo_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = SimpleNamespace(session_state={}, query_params={"step": "230", "play": "5"})
    page.query_params = Address(page.query_params)
    clock = SimpleNamespace(time=lambda: clock.now, now=100.0)
    monkeypatch.setattr(moment, "st", page)
    monkeypatch.setattr(moment, "time", clock)
    assert moment.moment_of(tmp_path).speed == 5
    moment.go_to(tmp_path, ShownMoment(step=305))
    assert page.query_params == {"step": "305"}
    page.query_params = Address({"step": "230", "play": "5"})
    assert moment.moment_of(tmp_path) == ShownMoment(step=305), "a tick that was under way"
    page.query_params = Address({"step": "305"})
    assert moment.moment_of(tmp_path) == ShownMoment(step=305)
    clock.now += 60.0
    page.query_params = Address({"step": "230", "play": "5"})
    assert moment.moment_of(tmp_path).speed == 5, "a person who goes back in the browser"
