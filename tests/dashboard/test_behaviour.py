"""What the help page says of runs and charts is what they do."""

from collections.abc import Callable
from typing import Any

import torch
from components.behaviour import PHASE_SENTENCES, TRAINED, ZOOM_ENDS, health_text, phases_text, slider_text, zoom_text

from lab.charts import PHASE_STYLES, health_word
from lab.runs import build


def help_text(page: Any) -> str:
    page.open()
    page.app.switch_page("app_pages/help.py")
    return page.tick().text


def test_help_has_what_is_tested_here(page: Any) -> None:
    text = help_text(page)
    assert phases_text() in text
    assert zoom_text() in text
    assert health_text() in text
    assert slider_text() in text
    assert set(TRAINED) <= set(PHASE_SENTENCES) <= set(PHASE_STYLES)
    assert "architecture parameters alone" in text


def test_a_phase_trains_what_help_says_and_nothing_else(make_config: Any) -> None:
    parts = build(make_config({"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1}))
    strategy, seen = parts.strategy, {}
    for epoch in range(3):
        plan = strategy.begin_epoch(epoch, epoch, parts.data)
        phase = strategy.phase
        before = {"architecture": strategy.explorer.alpha.detach().clone(), "weights": weights_of(strategy)}
        strategy.step(*next(iter(parts.data.batches(plan.split, epoch))))
        after = {"architecture": strategy.explorer.alpha.detach(), "weights": weights_of(strategy)}
        seen[phase] = [name for name in before if not torch.equal(before[name], after[name])]
        strategy.phases.left = 1
        strategy.end_epoch(epoch, parts.data)
    assert seen == {phase: [trained] for phase, trained in TRAINED.items()}


def weights_of(strategy: Any) -> torch.Tensor:
    network = strategy.live.child or strategy.live.supernet
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_zoom_outlives_new_values_and_ends_with_each_control_that_help_names(
    page: Any, recorder: Callable[..., Any]
) -> None:
    run = recorder()
    run.steps(0, 5)
    view = page.open().charts["loss"]["view"]
    run.steps(5, 5)
    assert page.tick().charts["loss"]["view"] == view
    for kind, key, value in (
        ("selectbox", "window", "last 200 steps"),
        ("selectbox", "x", "time"),
        ("slider", "smoothing", 0.2),
        ("toggle", "log", True),
        ("toggle", "robust", True),
        ("selectbox", "points", 500),
    ):
        control = getattr(page.app, kind)(key=key)
        assert control.label == ZOOM_ENDS[key]
        control.set_value(value)
        before, view = view, page.tick().charts["loss"]["view"]
        assert view != before, key
    assert page.charts["loss"]["layout"]["yaxis"]["type"] == "log"


def test_help_says_the_words_of_the_health_score() -> None:
    steady, shaky, critical = (health_word(health) for health in (1.0, 0.69, 0.39))
    assert (health_word(0.7), health_word(0.4)) == (steady, shaky)
    assert health_text() == f"Health near 1 is {steady}; below 0.7 {shaky}; below 0.4 {critical}."
