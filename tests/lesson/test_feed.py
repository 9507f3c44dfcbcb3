import math
import time

import numpy as np
import pytest

from lab.base import StoreError, TrainingError
from lab.charts import make_series
from lab.lesson import RunFeed, start_run
from lab.lesson.feed import PAGE, _spark
from lab.store import MutationEvent, PhaseEvent, RunWriter

NAMES = ("loss", "accuracy")


def mutation(status="applied"):
    cell = {"space": "nb201", "cells": {"cell": []}}
    return MutationEvent(
        number=1,
        status=status,
        old=cell,
        new=cell,
        edits=[["cell", 1, 0, "skip_connect", "nor_conv_3x3"]],
        difference=2e-7,
        requested="control",
        reason="asked",
    )


def read_to_the_end(feed):
    while feed.refresh():
        time.sleep(0.02)


def test_each_refresh_adds_what_came_since_and_nothing_twice(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.flush()
        feed = RunFeed(tmp_path / "run", NAMES)
        for step in range(3):
            writer.scalars(step, {"loss": 1.0 / (step + 1), "other": 5.0})
            writer.flush()
            assert feed.refresh()
            assert feed.series("loss").step.tolist() == list(range(step + 1))
    assert feed.series("loss").value.tolist() == [1.0, 0.5, 1 / 3]
    assert len(feed.series("accuracy")) == 0
    assert feed.step == 2


def test_the_end_of_the_run_ends_the_feed_with_every_row_read(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.flush()
        feed = RunFeed(tmp_path / "run", NAMES)
        assert feed.refresh()
        writer.scalars(7, {"loss": 1.0})
    assert not feed.refresh()
    assert feed.state == "finished"
    assert feed.step == 7


def test_a_long_run_is_read_in_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("lab.lesson.feed.PAGE", 10)
    with RunWriter(tmp_path, "run", {}) as writer:
        for step in range(25):
            writer.scalars(step, {"loss": float(step)})
    feed = RunFeed(tmp_path / "run", NAMES)
    rounds = [feed.refresh(), feed.refresh(), feed.refresh()]
    assert rounds == [True, True, False]
    assert len(feed.series("loss")) == 25
    assert PAGE == 50_000


def test_points_that_a_later_attempt_superseded_are_dropped(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        for step in range(5):
            writer.scalars(step, {"loss": 1.0})
    feed = RunFeed(tmp_path / "run", NAMES)
    feed.refresh()
    with RunWriter(tmp_path, "run", resume=True, step=3) as writer:
        writer.scalars(3, {"loss": 9.0})
    feed.refresh()
    assert feed.series("loss").value.tolist() == [1.0, 1.0, 1.0, 9.0]


def test_events_are_counted_by_kind_and_field(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.record(0, PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0))
        writer.record(1, mutation())
        writer.record(2, mutation("accepted"))
        writer.record(3, PhaseEvent(phase="arch_training", epoch=1, epochs=2, cycle=0))
    feed = RunFeed(tmp_path / "run", NAMES)
    feed.refresh()
    assert feed.count("mutation") == 2
    assert feed.count("mutation", status="accepted") == 1
    assert feed.latest("phase")["phase"] == "arch_training"
    feed.refresh()
    assert feed.count("mutation") == 2
    assert feed.latest("rollback") is None


def test_a_snapshot_tells_the_moment_in_words(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.record(0, PhaseEvent(phase="weight_retraining", epoch=1, epochs=2, cycle=0))
        writer.scalars(4, {"loss": 2.0})
        writer.scalars(9, {"loss": 0.5})
        writer.record(9, mutation())
    feed = RunFeed(tmp_path / "run", NAMES)
    feed.refresh()
    text = str(feed.snapshot())
    assert "run run · finished · step 9 · weight retraining" in text
    assert "█▁" in text
    assert "edge 0→1: skip → conv 3×3" in text
    assert "output changed by 2.0e-07" in text
    assert feed.snapshot().to_dict()["curves"]["loss"] == {"points": 2, "first": 2.0, "last": 0.5}


def test_a_snapshot_before_the_first_step_is_text_too(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.flush()
        feed = RunFeed(tmp_path / "run", NAMES)
        assert "waiting · no step yet" in str(feed.snapshot())
        feed.refresh()
        assert "running · no step yet" in str(feed.snapshot())


def test_a_failed_run_says_why(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path, "run", {}):
        1 // 0
    feed = RunFeed(tmp_path / "run", NAMES)
    assert not feed.refresh()
    assert "failed · no step yet · ZeroDivisionError" in str(feed.snapshot())


def test_a_curve_in_characters_keeps_its_course_and_leaves_out_what_is_no_number():
    falling = make_series("loss", range(100), np.linspace(2.0, 0.0, 100))
    spark = _spark(falling)
    assert len(spark) == 24
    assert (spark[0], spark[-1]) == ("█", "▁")
    assert list(spark) == sorted(spark, reverse=True)
    assert _spark(make_series("loss", [0, 1, 2], [1.0, math.nan, 2.0])) == "▁█"
    assert _spark(make_series("loss", [], [])) == ""


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(StoreError, match="run"):
        RunFeed(tmp_path / "nothing", NAMES)


def test_a_scalar_that_is_not_followed_is_named(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.flush()
        with pytest.raises(TrainingError, match="one of loss, accuracy, got 'lr'"):
            RunFeed(tmp_path / "run", NAMES).series("lr")


def test_a_handle_is_waited_for_until_its_process_writes(program, tmp_path):
    with start_run([], root=tmp_path, name="one", program=program) as run:
        feed = RunFeed(run, NAMES)
        assert feed.refresh()
        run.wait_ready()
        feed.refresh()
        assert feed.state == "running"


def test_a_process_that_ends_without_a_run_is_no_endless_wait(program, tmp_path):
    run = start_run(["--fail"], root=tmp_path, name="one", program=program)
    feed = RunFeed(run, NAMES)
    with pytest.raises(TrainingError, match="got a pear"):
        read_to_the_end(feed)
