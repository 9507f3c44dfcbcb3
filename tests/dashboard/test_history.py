"""The events of a run by kind: what follows from all of them is computed once, and again when one has come."""

from collections.abc import Callable
from typing import Any

import pytest
from components import feed as feed_module
from components import history as history_module
from components.feed import SnapshotFeed
from components.history import History

from lab.charts import action_marks, add_change, agent_actions, entropy_series, mutation_changes, mutation_marks


@pytest.fixture
def search(recorder: Callable[..., Any]) -> Any:
    run = recorder()
    run.search()
    return run


def test_a_history_knows_what_the_charts_make_of_all_events(search: Any) -> None:
    history = SnapshotFeed(search.path).refresh().history
    assert history.changes == mutation_changes(history.events) != ()
    assert history.marks == (*mutation_marks(history.events), *action_marks(history.events)) != ()
    assert history.actions == agent_actions(history.events)
    assert history.entropy.value.tolist() == entropy_series(history.events).value.tolist() != []
    assert history.of("phase", "mutation") == tuple(e for e in history.events if e.kind in ("phase", "mutation"))
    assert history.latest("phase", "mutation") == history.of("phase", "mutation")[-1]
    assert history.latest("growth") is None
    assert history.last_id == history.events[-1].id
    assert History().last_id == 0


def test_it_is_computed_once_until_an_event_comes(search: Any, ranked_genotype: Any) -> None:
    feed = SnapshotFeed(search.path)
    before = feed.refresh().history
    search.steps(30, 5)
    assert feed.refresh().history is before, "scalars alone came"
    assert before.changes is before.changes
    search.record(35, ranked_genotype)
    after = feed.refresh().history
    assert len(after.entropy) == len(before.entropy) + 1
    assert after.of("genotype")[:-1] == before.of("genotype")
    assert len(before.of("genotype")) == len(before.entropy), "the former one has not changed"


def test_a_moment_of_the_past_has_the_events_until_then(search: Any) -> None:
    whole = SnapshotFeed(search.path).refresh()
    past = whole.at(15)
    assert past.events == tuple(event for event in whole.events if event.step <= 15)
    assert past.history.changes == ()
    assert whole.at(15).history is past.history, "a page that stands there looks again and again"
    assert whole.at(20).history.changes != ()


def test_tabs_share_what_one_of_them_has_just_read(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "SHARED_SECONDS", 60.0)
    feed = SnapshotFeed(search.path)
    read = feed.refresh("first")
    search.steps(30, 5)
    assert feed.refresh("second") is read
    assert feed.refresh("first").last_step == 34, "a tab that asks again is told what is new"
    search.steps(35, 1)
    monkeypatch.setattr(feed_module, "SHARED_SECONDS", 0.0)
    assert feed.refresh("second").last_step == 35
    search.steps(36, 1)
    monkeypatch.setattr(feed_module, "SHARED_SECONDS", 60.0)
    assert feed.refresh().last_step == 36, "who names no tab is told all"


def test_a_longer_history_goes_on_from_the_one_before(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events = SnapshotFeed(search.path).refresh().history.events
    asked: list[int] = []
    monkeypatch.setattr(history_module, "add_change", lambda known, event: (asked.append(event.id), add(known, event)))
    add, history = add_change, History()
    for place, event in enumerate(events, start=1):
        former, history = history, history.then([event])
        assert history.changes == mutation_changes(events[:place])
        assert history.mutation_marks == mutation_marks(events[:place])
        assert history.entropy.value.tolist() == entropy_series(events[:place]).value.tolist()
        assert former.changes == mutation_changes(events[: place - 1]), "the former one has not changed"
    assert asked == [event.id for event in events], "each event is read once"
