"""Buttons and address: what a person does on the live page."""

from collections.abc import Callable
from typing import Any

import pytest
from components.feed import SnapshotFeed
from components.words import held_temperature

from lab.store import PhaseEvent, TemperatureEvent, control

TEMPERED = ["pause", "resume", "stop", "checkpoint", "release_temperature", "set_temperature"]


@pytest.mark.parametrize("command", ["mutate", "pause", "checkpoint", "stop"])
def test_a_button_sends_its_command_once(page: Any, recorder: Callable[..., Any], command: str) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press(command)
    assert [sent.name for sent in control.poll(run.path)] == [command]
    page.tick()
    assert control.poll(run.path) == ()


def test_the_temperature_is_sent_with_its_value(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().app.number_input(key="temperature").set_value(2.5)
    page.press("set_temperature")
    assert [(sent.name, sent.arguments) for sent in control.poll(run.path)] == [
        ("set_temperature", {"temperature": 2.5})
    ]


def test_a_held_temperature_has_a_badge_a_mark_and_a_way_to_let_go(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.record(0, PhaseEvent(phase="arch_training", epoch=0, epochs=2, cycle=0, offers=TEMPERED))
    run.steps(0, 3)
    assert not page.open().enabled("release_temperature")
    run.record(2, TemperatureEvent(temperature=1.0, schedule="control", held=True))
    assert "temperature held at 1.0" in page.tick().text
    assert "τ held at 1.0" in [note["text"] for note in page.charts["temperature"]["layout"]["annotations"]]
    page.press("release_temperature")
    assert [(sent.name, sent.arguments) for sent in control.poll(run.path)] == [("release_temperature", {})]
    run.record(2, TemperatureEvent(temperature=4.0, schedule="cosine"))
    assert "held at" not in page.tick().text
    assert not page.enabled("release_temperature")


def test_a_temperature_of_an_earlier_version_was_never_held(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.run.event(2, "temperature", {"temperature": 1.0, "schedule": "control"})
    run.run.flush()
    assert held_temperature(SnapshotFeed(run.path).refresh()) is None
    run.record(2, TemperatureEvent(temperature=1.0, schedule="control", held=True))
    assert held_temperature(SnapshotFeed(run.path).refresh()) == 1.0


def test_the_page_tells_what_became_of_a_command(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("mutate")
    assert "the run has not received it yet" in page.text
    control.poll(run.path)
    assert "the run has received it" in page.tick().text
    run.answer(3, "mutate", text="mutation 1 applied")
    assert "Mutate now: done after" in page.tick().text
    assert "mutation 1 applied" in page.text


def test_an_old_answer_is_no_answer_to_a_new_command(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("mutate")
    run.answer(3, "mutate", text="mutation 1 applied")
    page.tick().press("mutate")
    assert "mutation 1 applied" not in page.text
    assert "Mutate now: sent" in page.text


def test_the_answer_to_another_command_is_no_answer(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("mutate")
    run.answer(3, "checkpoint", text="checkpoint written")
    assert "Mutate now: sent" in page.tick().text


def test_a_refused_command_gives_the_reason(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("mutate")
    run.answer(3, "mutate", done=False, text="there is no live network yet")
    assert "Mutate now: refused after" in page.tick().text
    assert "there is no live network yet" in page.text


def test_a_command_to_a_run_that_ends_is_lost_and_said_so(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("mutate")
    run.run.finish()
    assert "the run is finished and did not answer" in page.tick().text


def test_a_done_stop_stays_done_when_the_run_has_ended(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open().press("stop")
    run.answer(3, "stop")
    run.run.finish()
    assert "Stop: done after" in page.tick().text


def test_pause_and_resume_take_turns(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open()
    assert (page.enabled("pause"), page.enabled("resume")) == (True, False)
    run.answer(3, "pause")
    page.tick()
    assert (page.enabled("pause"), page.enabled("resume")) == (False, True)
    assert "paused" in page.text
    assert page.enabled("mutate")
    run.answer(3, "resume")
    page.tick()
    assert (page.enabled("pause"), page.enabled("resume")) == (True, False)


def test_buttons_go_grey_when_the_run_ends_while_it_is_watched(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    page.open()
    assert page.enabled("stop")
    run.run.finish()
    assert not page.tick().enabled("stop")


def test_the_newest_run_is_shown_unless_the_address_names_another(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("old").steps(0, 3)
    recorder("young").steps(0, 9)
    assert page.open().kpis["Step"] == "8"


def test_the_address_names_the_run(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("old").steps(0, 3)
    recorder("young").steps(0, 9)
    assert page.open("old").kpis["Step"] == "2"
    page.app.selectbox(key="run").select("young")
    assert page.tick().kpis["Step"] == "8"
    assert page.app.query_params["run"] == "young"


def test_the_address_names_the_run_that_was_chosen_by_itself(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("only").steps(0, 3)
    assert page.open().app.query_params["run"] == "only"


def test_the_watched_run_is_remembered_over_the_other_pages(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("old").steps(0, 3)
    recorder("young").steps(0, 9)
    page.open("old")
    page.app.switch_page("app_pages/help.py")
    page.tick()
    del page.app.query_params["run"]
    page.app.switch_page("app_pages/live.py")
    assert page.tick().kpis["Step"] == "2"


def test_an_unknown_run_in_the_address_is_said_and_not_replaced(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("old").steps(0, 3)
    page.open("gone")
    assert "No run named gone in" in page.text
    assert "Choose a run in the sidebar" in page.text
    assert not page.kpis


def test_the_view_is_in_the_address(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().steps(0, 600)
    page.open("run", window="last 200 steps", smoothing="0", log="true")
    layout = page.charts["loss"]["layout"]
    assert layout["xaxis"]["range"] == [399, 599]
    assert layout["yaxis"]["type"] == "log"
    assert len(page.charts["loss"]["data"]) == 1
    assert page.charts["accuracy"]["layout"]["yaxis"]["type"] == "linear"


def test_follow_off_stops_the_clock(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().steps(0, 3)
    page.open()
    assert page.clocks == [1.0]
    page.app.toggle(key="follow").set_value(False)
    assert page.tick().clocks == []


def test_the_interval_sets_the_clock(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().steps(0, 3)
    page.open()
    page.app.select_slider(key="interval").set_value("5 s")
    assert page.tick().clocks == [5.0]


def test_a_step_in_the_address_shows_the_cell_and_what_was_known_then(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    assert "0→2 skip" in page.charts["genotype"]["label"]
    page.open(step="15")
    assert "0→2 conv 3×3" in page.charts["genotype"]["label"]
    assert "Genotype at step 10" in page.text
    assert "No mutation" in page.text
    assert "as it was at step 15" in page.text
    assert page.kpis["Step"] == "15"


def test_the_changed_edge_is_starred(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    notes = page.open().charts["genotype"]["layout"]["annotations"]
    assert [note["text"] for note in notes if note["text"].startswith("★")] == ["★ <b>skip</b> 0.20"]


def test_scalars_and_the_shown_cell_can_be_downloaded(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    labels = {button.label for button in page.open().app.get("download_button")}
    assert labels == {"Scalars (CSV)", "Report (HTML)", "Genotype (DOT)", "Genotype (JSON)"}


def test_the_buttons_are_what_the_run_offers_in_its_phase(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    own = ["pause", "resume", "stop", "checkpoint"]
    run.run.record(3, PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0, offers=[*own, "set_temperature"]))
    buttons = {button.key: button.disabled for button in page.open().app.button}
    assert buttons["press_mutate"]
    assert not buttons["press_pause"]
    assert not buttons["press_set_temperature"]
    run.run.record(4, PhaseEvent(phase="training", epoch=0, epochs=1, cycle=0, offers=[*own, "mutate"]))
    buttons = {button.key: button.disabled for button in page.tick().app.button}
    assert not buttons["press_mutate"]
