"""A run of any length hands over the same: thinned by the database, said on the axis, and at rest once it has ended."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from components import clock
from components import feed as feed_module
from components.feed import SnapshotFeed

from lab.charts import CurveView, Mark, curve_figure, make_series
from lab.charts.curves import Curve
from lab.charts.marks import MOST_MARKS, shown_marks
from lab.charts.style import series_style


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a run of a few hundred steps exceeds."""
    for name, value in (("PAGE", 400), ("RECENT", 100), ("POINTS", 20)):
        monkeypatch.setattr(feed_module, name, value)


def whole(feed: SnapshotFeed) -> Any:
    while not (snapshot := feed.refresh()).complete:
        pass
    return snapshot


def write(run: Any, first: int, count: int, spikes: tuple[int, ...] = ()) -> None:
    for step in range(first, first + count):
        run.run.scalars(step, {"loss": 99.0 if step in spikes else float(np.sin(step)), "accuracy": 0.5})
    run.run.flush()


@pytest.mark.usefixtures("short")
def test_a_long_past_is_thinned_and_the_last_steps_are_whole(recorder: Callable[..., Any]) -> None:
    run = recorder()
    write(run, 0, 800, spikes=(37, 411))
    series = whole(SnapshotFeed(run.path)).series("loss")
    assert series.rows == 800
    assert len(series) <= 20 + 101
    assert series.step[-101:].tolist() == list(range(699, 800))
    assert [int(step) for step, value in zip(series.step, series.value, strict=True) if value == 99.0] == [37, 411]
    assert (np.diff(series.step) >= 0).all()


@pytest.mark.usefixtures("short")
def test_a_run_that_grows_long_is_held_in_bounded_memory(recorder: Callable[..., Any]) -> None:
    run = recorder()
    feed = SnapshotFeed(run.path)
    for first in range(0, 3000, 150):
        write(run, first, 150, spikes=(200,))
        snapshot = whole(feed)
    series = snapshot.series("loss")
    assert series.rows == 3000
    assert len(series) <= 20 + 2 * 100 + 20 + 1
    assert series.value.max() == 99.0


@pytest.mark.usefixtures("short")
def test_a_long_run_keeps_what_is_no_number(recorder: Callable[..., Any]) -> None:
    run = recorder()
    write(run, 0, 300)
    run.run.scalars(300, {"loss": float("nan")})
    write(run, 301, 500)
    series = whole(SnapshotFeed(run.path)).series("loss")
    assert series.broken.tolist() == [300]
    figure = curve_figure([Curve(series=series, style=series_style("batches", 0))], y_title="loss")
    assert any("at least 1" in (trace.name or "") for trace in figure.data)


@pytest.mark.usefixtures("short")
def test_the_axis_says_how_many_points_stand_for_how_many(recorder: Callable[..., Any]) -> None:
    run = recorder()
    write(run, 0, 800)
    series = whole(SnapshotFeed(run.path)).series("loss")
    figure = curve_figure([Curve(series=series, style=series_style("batches", 0))], y_title="loss", view=CurveView())
    assert figure.layout.xaxis.title.text == f"step (showing {len(series)} of 800 points)"


def test_a_thinned_series_is_averaged_over_all_that_its_points_stand_for() -> None:
    value = np.random.default_rng(0).normal(size=100)
    plain = make_series("a", np.arange(100), value)
    assert plain.averaged(0.9).value == pytest.approx(feed_module.replace(plain, thinned=40).averaged(0.9).value)
    heavy = feed_module.replace(plain, thinned=40, each=50.0)
    assert heavy.rows == 40 * 50 + 60
    assert heavy.averaged(0.9).value[:40] == pytest.approx(value[:40], abs=0.05)


def test_of_many_marks_each_piece_of_the_axis_keeps_its_latest() -> None:
    marks = [Mark(step=step, text=f"M{step}", color="red") for step in range(5000)]
    shown, note = shown_marks(marks, 0, 4999)
    assert MOST_MARKS / 2 < len(shown) <= MOST_MARKS
    assert note == f"{len(shown)} of 5,000 marks"
    assert shown[-1].step == 4999
    assert shown_marks(marks[:3], 0, 10) == (marks[:3], "")


def test_marks_stay_while_the_run_goes_on() -> None:
    marks = [Mark(step=step, text=f"M{step}", color="red") for step in range(0, 9000, 3)]
    before, after = (shown_marks([mark for mark in marks if mark.step <= end], 0, end)[0] for end in (8_500, 8_600))
    assert after[: len(before) - 1] == before[:-1]


def test_the_page_of_a_run_that_has_ended_stands_still(
    page: Any, recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated: list[tuple[str, float | None]] = []
    repeat = clock.repeat

    def watched(draw: Any, every: float | None) -> None:
        repeated.append((getattr(draw, "func", draw).__name__, every))
        repeat(draw, every)

    monkeypatch.setattr(clock, "repeat", watched)
    run = recorder()
    run.search()
    page.open()
    assert repeated == [("live", 1.0)]
    run.run.finish()
    repeated.clear()
    page.tick()
    assert repeated[-2:] == [("live", None), ("look_again", 1.0)]


def test_a_run_that_goes_on_after_its_end_is_drawn_anew(page: Any, recorder: Callable[..., Any], root: Any) -> None:
    from lab.store import RunWriter

    run = recorder()
    run.steps(0, 5)
    run.run.finish()
    page.open()
    with RunWriter(root, "run", resume=True, step=5) as again:
        again.scalars(5, {"loss": 0.125})
        again.flush()
        assert "running" in page.tick().text


def test_a_first_picture_has_an_outline_of_many_events_and_the_next_ticks_bring_all(
    recorder: Callable[..., Any], rejection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MANY_EVENTS", 20), ("PAST_EVENTS", 200)):
        monkeypatch.setattr(feed_module, name, value)
    run = recorder()
    run.search()
    for step in range(30, 630):
        run.record(step, replace(rejection, number=step - 28))
    feed = SnapshotFeed(run.path)
    first = feed.refresh(past=False)
    assert not first.complete
    assert len(first.history.changes) < 601
    assert first.latest("genotype") is not None, "the latest of each kind is there"
    assert [event.step for event in first.of("phase")] == [0, 10, 20, 20], "so is all of a rare kind"
    assert [event.step for event in first.of("mutation")][-500:] == list(range(130, 630))
    run.record(630, replace(rejection, number=602))
    last = whole(feed)
    assert [change.number for change in last.history.changes] == list(range(1, 603))
    assert [event.id for event in last.events] == sorted({event.id for event in last.events})
    assert last.version[2] == len(last.events) != first.version[2], "figures of events are drawn anew"


def test_a_first_picture_waits_for_nothing_of_the_past(
    recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    run = recorder()
    write(run, 0, 800)
    feed = SnapshotFeed(run.path)
    monkeypatch.setattr(feed, "_thin", lambda: pytest.fail("a past that nobody has asked for yet"))
    assert not feed.refresh(past=False).complete
