"""The live page of a run that trains a text model."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.store import AlertEvent

CHARTS = {"loss", "accuracy", "stability", "memory"}


@pytest.fixture
def training(recorder: Callable[..., Any]) -> Any:
    """Twenty steps on sentences; made-up numbers."""
    run = recorder(recipe="text", text={"task": "share", "encoder": "tiny"}, dataset_title="sentences (synthetic)")
    run.phase(0, "training")
    run.record(0, AlertEvent(level="info", title="Encoder proven", text="21 tensors of model.safetensors"))
    run.steps(0, 20)
    return run


def test_the_page_says_what_the_model_says_and_that_there_is_no_cell(page: Any, training: Any) -> None:
    page.open()
    assert page.charts.keys() == CHARTS
    assert "One encoder with two heads says the class" in page.text
    assert "It has no cell" in page.text
    assert page.kpis["Task"] == "share"
    (rows,) = [table for table in page.tables if "level" in table]
    assert list(rows["what"]) == ["Encoder proven"]
    assert not page.enabled("mutate")
    assert "keeps the structure" in page.app.button(key="press_mutate").help


def test_both_losses_are_drawn_when_they_are_known(page: Any, training: Any) -> None:
    training.run.scalars(19, {"decision/loss/criteria": 0.6, "decision/loss/evidence": 1.25})
    training.run.flush()
    chart = page.open().charts["parts"]
    assert chart["label"] == "Loss of each part over steps; now criteria 0.600, evidence 1.250"
    assert len(chart["data"]) == 2
