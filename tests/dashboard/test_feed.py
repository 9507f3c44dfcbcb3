"""The feed: everything once, nothing twice, nothing superseded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from components import feed as feed_module
from components.feed import SnapshotFeed
from components.typeset import typeset

from lab.base import StoreError
from lab.store import AlertEvent, RunReader, RunWriter


class CountingReader(RunReader):
    """Counts the rows that were read."""

    rows = 0

    def scalars(self, *arguments: Any, **options: Any) -> Any:
        found = super().scalars(*arguments, **options)
        CountingReader.rows += len(found)
        return found


def test_a_refresh_reads_only_what_is_new(recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "RunReader", CountingReader)
    monkeypatch.setattr(CountingReader, "rows", 0)
    run = recorder()
    run.steps(0, 10)
    feed = SnapshotFeed(run.path)
    feed.refresh()
    run.steps(10, 2)
    snapshot = feed.refresh()
    assert CountingReader.rows == 4 * 12
    assert snapshot.series("loss").step.tolist() == list(range(12))


def test_what_a_training_wrote_in_ascii_stands_on_the_page_in_its_signs(recorder: Callable[..., Any]) -> None:
    run = recorder()
    text = "decision loss 0.5 -> 0.4, paired difference +0.1 +- 0.02"
    run.record(0, AlertEvent(level="info", title="0->1", text=text))
    (event,) = SnapshotFeed(run.path).refresh().of("alert")
    shown = "decision loss 0.5 → 0.4, paired difference +0.1 ± 0.02"
    assert (event.payload["title"], event.payload["text"]) == ("0→1", shown)
    (kept,) = RunReader(run.path).events(kinds=("alert",)).events
    assert kept.payload["text"] == text
    assert typeset(kept).payload["text"] == shown
    assert typeset(event) is event
    rows = replace(event, payload={"surgeries": [{"text": "width 4 -> 8"}], "edges": [[0, 1, "->"]]})
    assert typeset(rows).payload == {"surgeries": [{"text": "width 4 → 8"}], "edges": [[0, 1, "->"]]}


def test_nothing_new_gives_the_same_version(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    feed = SnapshotFeed(run.path)
    first = feed.refresh()
    assert feed.refresh().version == first.version
    run.steps(3, 1)
    assert feed.refresh().version != first.version


def test_a_snapshot_stays_as_it_was(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    feed = SnapshotFeed(run.path)
    early = feed.refresh()
    run.steps(3, 3)
    feed.refresh()
    assert len(early.series("loss")) == 3


def test_a_resumed_run_drops_what_its_new_attempt_supersedes(recorder: Callable[..., Any], root: Path) -> None:
    run = recorder()
    run.steps(0, 10)
    feed = SnapshotFeed(run.path)
    assert len(feed.refresh().series("loss")) == 10
    run.run.finish("failed", "on purpose")
    with RunWriter(root, "run", resume=True, step=6) as again:
        again.scalars(6, {"loss": 77.0})
        again.flush()
        series = feed.refresh().series("loss")
    assert series.step.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert series.value[-1] == 77.0


def test_a_long_run_comes_in_pages(recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 8)
    run = recorder()
    run.steps(0, 5)
    feed = SnapshotFeed(run.path)
    first = feed.refresh()
    assert (len(first.series("loss")), first.complete) == (2, False)
    while not (last := feed.refresh()).complete:
        pass
    assert last.series("loss").step.tolist() == [0, 1, 2, 3, 4]


def test_events_are_found_by_kind_and_the_latest_is_the_last(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.phase(0, "warmup")
    run.phase(9, "arch_training")
    snapshot = SnapshotFeed(run.path).refresh()
    assert [event.step for event in snapshot.of("phase")] == [0, 9]
    latest = snapshot.latest("phase")
    assert latest is not None
    assert latest.payload["phase"] == "arch_training"
    assert snapshot.latest("genotype") is None
    assert snapshot.last_event_id == latest.id


def test_at_a_step_nothing_is_known_of_later(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    whole = SnapshotFeed(run.path).refresh()
    cut = whole.at(20)
    assert cut.last_step == 20
    assert cut.summary.last_step == 20
    assert [event.step for event in cut.events] == [event.step for event in whole.events if event.step <= 20]
    assert cut.last_event_id == cut.version[2] == cut.events[-1].id
    assert cut.of("mutation")
    before = whole.at(9)
    assert "decision/loss" not in before.scalars
    assert not before.of("genotype", "mutation")
    assert whole.at(None) is whole
    assert whole.cut is None


def test_an_unknown_scalar_is_a_series_without_points(recorder: Callable[..., Any]) -> None:
    assert len(SnapshotFeed(recorder().path).refresh().series("nothing")) == 0


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected"):
        SnapshotFeed(tmp_path)
