"""The sidebar's choices of how curves are drawn: each stands in the address, and the curves follow it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from components.feed import SnapshotFeed
from components.figures import scale_of
from components.sidebar import AXES, POINTS

STEP_CURVES = ("loss", "accuracy", "temperature", "stability", "memory")


def titles(page: Any) -> dict[str, str]:
    charts = page.charts
    return {key: charts[key]["layout"]["xaxis"]["title"]["text"] for key in STEP_CURVES}


def test_the_address_says_what_the_horizontal_axis_measures(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    assert set(titles(page.open()).values()) == {"step"}
    steps = page.values("loss", -1, "x")
    view = page.charts["loss"]["view"]
    assert page.app.selectbox(key="x").options == list(AXES)
    page.app.selectbox(key="x").select("epoch")
    assert set(titles(page.tick()).values()) == {"epochs"}
    assert page.charts["loss"]["view"] != view
    assert "over epochs" in page.charts["loss"]["label"]
    # Its two epochs ended at the steps 10 and 30, as the first and the third.
    expected = np.interp(steps, [0, 10, 30], [0, 1, 3])
    np.testing.assert_allclose(page.values("loss", -1, "x"), expected)
    assert page.charts["timeline"]["layout"]["xaxis"]["range"] == [0, 3]
    page.app.selectbox(key="x").select("log step")
    assert set(titles(page.tick()).values()) == {"step + 1"}
    assert page.charts["loss"]["layout"]["xaxis"]["type"] == "log"
    assert page.values("loss", -1, "x")[0] == steps[0] + 1


def test_an_address_opens_the_same_curves(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 1200)
    run.steps(1200, 1, loss=1e9)
    run.steps(1201, 600)
    page.open(x="epoch", robust="true", points="500")
    # Before the first epoch has ended the axis says that it is still one of steps.
    assert page.charts["loss"]["layout"]["xaxis"]["title"]["text"].startswith("step (showing ")
    run.epoch(1801, 0)
    loss = page.tick().charts["loss"]["layout"]
    assert loss["xaxis"]["title"]["text"].startswith("epochs (showing ")
    assert " of 1,802 points; off the axis: 1)" in loss["xaxis"]["title"]["text"]
    assert loss["yaxis"]["range"][1] < 10
    assert len(page.values("loss", 0)) <= 500


@pytest.mark.parametrize("points", POINTS)
def test_the_number_of_points_is_chosen_and_told(page: Any, recorder: Callable[..., Any], points: int) -> None:
    recorder().steps(0, 2300)
    page.open(points=str(points))
    title = page.charts["loss"]["layout"]["xaxis"]["title"]["text"]
    shown = len(page.values("loss", 0))
    assert shown <= points
    assert title == ("step" if points > 2300 else f"step (showing {shown:,} of 2,300 points)")


def test_time_of_training_is_that_of_the_events_without_pauses(
    recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("lab.store.writer.time.time", lambda: clock[0])
    run = recorder()
    for step, passed in ((0, 0.0), (10, 5.0), (20, 5.0)):
        clock[0] += passed
        run.phase(step, "warmup")
    run.answer(20, "pause")
    clock[0] += 600.0
    run.answer(20, "resume")
    clock[0] += 2.0
    run.phase(30, "warmup")
    scale = scale_of(SnapshotFeed(run.path).refresh(), "time")
    assert scale is not None
    np.testing.assert_allclose(scale.at([0, 5, 10, 20, 30]), [0, 2.5, 5, 10, 12])
    assert scale.title == "training time (s)"
