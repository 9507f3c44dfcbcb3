"""CSV of a run: every row, NaN as a word; its report, as the command line writes it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components.export import scalars_csv
from components.report import report_html

from lab.base import StoreError


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_scalar_is_one_line(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.run.scalars(0, {"loss": 1.5, "accuracy": 0.25})
    run.run.scalars(1, {"loss": float("nan"), "accuracy": float("inf")})
    run.run.flush()
    rows = rows_of(scalars_csv(run.path))
    assert [(row["step"], row["name"], row["value"]) for row in rows] == [
        ("0", "loss", "1.5"),
        ("0", "accuracy", "0.25"),
        ("1", "loss", "nan"),
        ("1", "accuracy", "inf"),
    ]
    assert {row["attempt"] for row in rows} == {"1"}


def test_pages_are_joined_without_loss(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 7)
    assert scalars_csv(run.path, page=4) == scalars_csv(run.path)
    assert len(rows_of(scalars_csv(run.path, page=4))) == 28


def test_the_report_is_that_of_the_command_line_or_says_why_there_is_none(
    recorder: Callable[..., Any], tmp_path: Path
) -> None:
    run = recorder("one")
    run.search()
    assert b"<title>one: " in report_html(run.path)
    with pytest.raises(StoreError, match="expected a report of none, got lab: expected a run"):
        report_html(tmp_path / "none")
