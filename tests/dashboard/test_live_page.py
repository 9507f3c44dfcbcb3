"""The live page in every state that a run can be in."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.store import AlertEvent, GrowthEvent, InterventionEvent, OomEvent, PlanEvent, RollbackEvent, control

CHARTS = {"timeline", "genotype", "proof", "probabilities", "temperature", "loss", "accuracy", "stability", "memory"}


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_store_says_where_it_looked_and_how_to_begin(page: Any, root: Path, made: bool) -> None:
    if made:
        root.mkdir()
    page.open()
    assert f"No run yet in {root}" in page.text
    assert "lab train" in page.text
    assert not page.kpis


def test_a_run_that_begins_appears_by_itself(page: Any, recorder: Callable[..., Any]) -> None:
    page.open()
    recorder("first").steps(0, 1)
    assert page.tick().app.selectbox(key="run").value == "first"


def test_a_root_that_is_a_file_is_one_line(page: Any, root: Path) -> None:
    root.write_text("no folder")
    page.open()
    assert "expected a folder of runs" in page.app.error[0].value


def test_a_running_search_shows_every_panel(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    assert page.charts.keys() == CHARTS
    assert page.kpis == {
        "Step": "30",
        "Phase · cycle 1": "retraining",
        "Epoch": "3",
        "Temperature τ": "3.000",
        "Entropy": "1.200",
        "Stability": "0.90 steady",
        "Decision accuracy": "75.0%",
        "Memory": "768 MiB",
    }
    assert "running" in page.text
    assert "data: made up (synthetic)" in page.text
    assert re.search(r"updated \d+ s ago", page.text)


def test_every_chart_says_in_words_what_it_shows(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    charts = page.open().charts
    assert all(chart["label"] for chart in charts.values())
    assert "0→2 skip" in charts["genotype"]["label"]
    assert "retraining" in charts["timeline"]["label"]


def test_a_tick_brings_what_is_new(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 5)
    page.open()
    assert page.kpis["Step"] == "4"
    run.steps(5, 3)
    page.tick()
    assert page.kpis["Step"] == "7"
    assert page.values("loss", -1, "x") == list(range(8))


def test_before_the_first_step_the_page_says_so(page: Any, recorder: Callable[..., Any]) -> None:
    recorder()
    page.open()
    assert "has not finished its first step" in page.text
    assert page.kpis["Step"] == "–"
    assert page.charts.keys() == CHARTS
    assert "No values" in page.charts["loss"]["layout"]["annotations"][0]["text"]


def test_one_step_is_a_whole_page(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().steps(0, 1)
    page.open()
    assert page.kpis["Step"] == "0"
    assert page.values("loss", -1) == [2.0]


def test_a_finished_run_takes_no_commands(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.run.scalars(30, {"test/accuracy": 0.9625, "test/loss": 0.1})
    run.run.finish()
    page.open()
    assert "finished" in page.text
    assert "test accuracy 96.25%" in page.text
    assert not page.app.error
    assert not any(page.enabled(name) for name in ("mutate", "pause", "resume", "checkpoint", "stop"))


def test_a_failed_run_says_why_and_that_nothing_is_left_to_go_on_from(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 4)
    run.run.finish("failed", "TrainingError: three rollbacks in a row")
    page.open()
    assert "The run failed: TrainingError: three rollbacks in a row. Its last step was 3." in page.text
    assert "It left no checkpoint" in page.text


def test_a_failed_run_with_a_checkpoint_says_how_to_go_on(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.run.finish("failed", "out of luck")
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "step_3.pt").touch()
    page.open()
    assert page.app.code[0].value == f"lab train --resume {run.path}"


def test_a_run_that_a_person_stopped_is_no_error(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.run.finish("finished", "stopped at epoch 3")
    page.open()
    assert not page.app.error
    assert "The run was ended: stopped at epoch 3" in page.app.info[0].value


def test_a_dead_process_is_stale_and_said_to_be_dead(page: Any, dead_run: Path) -> None:
    page.open("dead")
    assert "stale" in page.text
    assert "The run is dead or stuck: no heartbeat; process" in page.text
    assert page.kpis["Step"] == "30"
    assert not page.enabled("mutate")


def test_nan_is_a_warning_and_a_cross(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    run.steps(3, 2, loss=float("nan"))
    run.steps(5, 1, health=float("nan"))
    page.open()
    assert "loss was NaN or infinite 2 times, first at step 3." in page.text
    assert page.kpis["Stability"] == "NaN critical"
    crosses = page.charts["loss"]["data"][-1]
    assert crosses["name"] == "batches: NaN or Inf (2)"


def test_a_run_of_nan_alone_is_a_whole_page(page: Any, recorder: Callable[..., Any]) -> None:
    nothing = float("nan")
    recorder().steps(0, 4, loss=nothing, accuracy=nothing, health=nothing, temperature=float("inf"))
    page.open()
    assert page.kpis["Temperature τ"] == "∞"
    assert page.charts.keys() == CHARTS


def test_alerts_have_level_step_and_reason(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 9)
    run.record(8, AlertEvent(level="error", title="loss is NaN", text="batch 8"))
    run.record(8, OomEvent(action="halved", micro_batch=16, text="asked for 2 GiB"))
    rows = page.open().tables[-1].to_dict("records")
    assert rows == [
        {"level": "⚠ warning", "step": "8", "what": "out of memory: halved", "reason": "asked for 2 GiB"},
        {"level": "✖ error", "step": "8", "what": "loss is NaN", "reason": "batch 8"},
    ]


def test_a_table_of_sentences_shows_a_runs_text_letter_by_letter(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 9)
    text = "**bold** [a link](http://elsewhere) <b>0</b>"
    run.record(8, AlertEvent(level="info", title="a_b_c", text=text))
    (row,) = page.open().tables[-1].to_dict("records")
    assert (row["what"], row["reason"]) == ("a_b_c", text)
    (written,) = page.app.table[0].value.to_dict("records")
    assert written["reason"].startswith("\\*\\*bold")


def test_stability_gives_reasons_and_what_was_done(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.record(31, InterventionEvent(action="reduce_lr", reason="the loss swings", before=0.1, after=0.05))
    run.record(32, RollbackEvent(reason="loss is NaN", to_step=20))
    page.open()
    assert "step 31: ⚑ intervention, reduce lr (0.1 → 0.05): the loss swings" in page.text
    assert "step 32: ↺ rollback to step 20: loss is NaN" in page.text
    assert "step 30: improving (health 0.90): It falls." in page.text


def test_verdicts_that_agree_are_told_once(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    for step in (1, 2, 3):
        run.epoch(step, step)
    page.open()
    assert "step 3: improving" in page.text
    assert "step 2: improving" not in page.text


def test_what_changed_tells_edits_difference_and_status(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    assert "Mutation 1 at step 20: ● applied" in page.text
    assert "edge 0→2: conv 3×3 → skip" in page.text
    assert "output changed by 2.0e-07 at that moment" in page.text
    assert "decision loss before: 0.5" in page.text


def test_a_hand_over_shows_how_far_it_is(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.steps(30, 1, beta=0.4)
    assert page.open().app.get("progress")[0].proto.value == 40


def test_a_fixed_network_without_a_search_is_a_whole_page(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder(recipe="fixed")
    run.steps(0, 5, temperature=float("nan"))
    page.open()
    assert "No genotype" in page.charts["genotype"]["layout"]["annotations"][0]["text"]
    assert "No mutation" in page.text


def test_the_true_rank_is_shown_where_a_table_was_loaded(
    page: Any, recorder: Callable[..., Any], ranked_genotype: Any
) -> None:
    recorder().record(5, ranked_genotype)
    page.open()
    assert "True rank of the most probable cell, 1 the best: 1,234 on cifar10-valid" in page.text


def test_an_unreadable_folder_is_one_line(page: Any, root: Path) -> None:
    (root / "broken").mkdir(parents=True)
    (root / "broken" / "events.db").write_bytes(b"this is no database, and long enough to be looked at" * 40)
    page.open("broken")
    assert "This run cannot be read: expected" in page.text


def test_a_run_that_vanishes_is_one_line(page: Any, recorder: Callable[..., Any], tmp_path: Path) -> None:
    run = recorder()
    run.steps(0, 2)
    page.open()
    run.run.finish()
    shutil.move(run.path, tmp_path / "elsewhere")
    page.tick()
    assert "No run named run" in page.text or "No run yet" in page.text


def test_text_of_a_run_cannot_format_the_page(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.run.finish("failed", "![x](http://example.invalid/x.png) :red[**bold**] $x$")
    shown = page.open().app.error[0].value
    assert "\\!\\[x\\]\\(http\\:\u2060//example.invalid/x.png\\) \\:red\\[\\*\\*bold\\*\\*\\] \\$x\\$" in shown


def test_a_control_folder_that_cannot_be_written_is_said(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 2)
    page.open()
    (run.path / "control").write_text("in the way")
    page.press("mutate")
    assert "The command was not sent" in page.text
    (run.path / "control").unlink()
    assert not control.poll(run.path)


def test_growth_is_told_with_what_it_cost(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    event = GrowthEvent(
        what="depth", where="backbone.cells.1", parameters_before=1000, parameters_after=1500, difference=0.0
    )
    run.run.record(40, event)
    run.run.flush()
    page.open()
    assert "grew in depth at backbone.cells.1, 1,000 → 1,500 parameters of the supernet" in page.text
    assert "output changed by 0.0e+00" in page.text


def test_a_planned_run_says_what_was_chosen_and_why(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    assert "Plan for" not in page.open().text
    weighed = [
        {"channels": width, "operations": 1e9 * width, "seconds": None, "epochs": 160 / width} for width in (4, 8)
    ]
    event = PlanEvent(
        operations=160e9,
        seconds=None,
        channels=8,
        layers=3,
        epochs=20,
        steps=780,
        candidates=weighed,
        reasons=["8 channels: the largest width that gets at least 20 epochs"],
    )
    run.run.record(30, event)
    run.run.flush()
    page.tick()
    assert "Plan for 160 GFLOP\\: 8 channels, 3 cells, 20 epochs" in [each.label for each in page.app.expander]
    assert "the largest width that gets at least 20 epochs" not in page.text, "made when it is opened"
    page.unfold("plan")
    assert "the largest width that gets at least 20 epochs" in page.text
    tables = [table.value for table in page.app.dataframe]
    assert any("8 *" in list(table.get("channels", [])) for table in tables)


FOLDED = {
    "edges": "Edges of the cell with primitive and probability",
    "mutations": "All mutations, the latest first",
    "probabilities": "Probabilities and entropy per edge",
}


def test_a_table_that_is_folded_away_is_made_when_it_is_opened(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    known = [table.proto.alt for table in page.app.dataframe]
    for key, label in FOLDED.items():
        assert label not in known, "closed"
        assert label in [table.proto.alt for table in page.unfold(key).app.dataframe]
    assert len(page.tick().app.dataframe) == len(known) + len(FOLDED), "a tick leaves them open"
