"""Figures of the page: built once, thrown away in order."""

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from components.feed import SnapshotFeed
from components.figures import DrawingCache, curves_of, drawn_edges, latest_change, transition_share


def figure() -> go.Figure:
    return go.Figure(layout={"height": 100})


def test_a_known_key_builds_nothing() -> None:
    cache, built = DrawingCache(), []

    def build() -> go.Figure:
        built.append(1)
        return figure()

    assert cache.get("a", build) is cache.get("a", build)
    assert built == [1]


def test_the_figure_that_was_used_longest_ago_goes_first() -> None:
    cache = DrawingCache(size=2)
    first, second = cache.get("a", figure), cache.get("b", figure)
    assert cache.get("a", figure) is first
    cache.get("c", figure)
    assert cache.get("a", figure) is first
    assert cache.get("b", figure) is not second


def test_a_drawing_has_the_height_of_its_figure() -> None:
    assert DrawingCache().get("a", figure).height == 100


def test_only_splits_that_were_measured_have_a_curve(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 3)
    assert [curve.style.label for curve in curves_of(SnapshotFeed(run.path).refresh(), "loss")] == ["batches"]
    run.epoch(3, 0)
    run.run.scalars(3, {"test/loss": 0.2})
    run.run.flush()
    labels = [curve.style.label for curve in curves_of(SnapshotFeed(run.path).refresh(), "loss")]
    assert labels == ["batches", "selection split", "test split, read once"]


def test_curves_of_one_panel_differ_in_colour(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.run.scalars(30, {"test/accuracy": 0.2})
    run.run.flush()
    colors = [curve.style.color for curve in curves_of(SnapshotFeed(run.path).refresh(), "accuracy")]
    assert len(set(colors)) == len(colors) == 4


def test_steps_of_architecture_phases_are_points_of_their_own(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    batches, _, search = curves_of(SnapshotFeed(run.path).refresh(), "loss")
    assert batches.series.step.tolist() == [*range(10), *range(20, 30)]
    assert search.series.step.tolist() == list(range(10, 20))
    assert (batches.joined, search.joined) == (True, False)


def test_a_rejected_mutation_stars_no_edge(recorder: Callable[..., Any], rejection: Any) -> None:
    run = recorder()
    run.search()
    run.record(31, rejection)
    snapshot = SnapshotFeed(run.path).refresh()
    event, change = snapshot.latest("genotype"), latest_change(snapshot)
    assert change is not None
    assert change.status == "rejected"
    assert not any(edge.changed for edge in drawn_edges(event, change))


def test_an_earlier_moment_knows_nothing_of_later_mutations(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    snapshot = SnapshotFeed(run.path).refresh()
    assert latest_change(snapshot.at(19)) is None
    later = latest_change(snapshot.at(20))
    assert later is not None
    assert later.number == 1


def test_a_transition_has_a_share_until_it_is_done_or_judged(recorder: Callable[..., Any], rejection: Any) -> None:
    run = recorder()
    run.steps(0, 1, beta=0.7)  # of an earlier transition
    run.search()

    def share() -> float | None:
        snapshot = SnapshotFeed(run.path).refresh()
        return transition_share(snapshot, latest_change(snapshot))

    assert share() is None
    run.steps(30, 1, beta=0.25)
    assert share() == 0.25
    run.steps(31, 1, beta=float("nan"))
    assert share() is None
    run.steps(32, 1, beta=1.0)
    assert share() is None
    run.steps(33, 1, beta=0.5)
    run.record(34, rejection)
    assert share() is None


def test_the_last_step_is_that_of_scalars_and_events(recorder: Callable[..., Any]) -> None:
    run = recorder()
    assert SnapshotFeed(run.path).refresh().last_step == 0
    run.steps(0, 5)
    run.phase(7, "warmup")
    assert SnapshotFeed(run.path).refresh().last_step == 7
