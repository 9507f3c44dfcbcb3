"""All metrics of a run: grouped, found by a text, drawn when their group is opened."""

from collections.abc import Callable
from typing import Any

import pytest
from components.metrics import UNGROUPED, find_metrics, is_dense, metric_groups

from lab.base import ConfigError
from lab.charts import make_series

NAMES = ("loss", "decision/loss", "decision/accuracy", "router/load/0", "router/load/1", "lr")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", sorted(NAMES)),
        ("LOSS", ["decision/loss", "loss"]),
        ("^loss|^lr$", ["loss", "lr"]),
        (r"load/\d", ["router/load/0", "router/load/1"]),
        ("nothing", []),
    ],
)
def test_a_part_of_a_name_or_a_regular_expression_finds_metrics(text: str, found: list[str]) -> None:
    assert list(find_metrics(NAMES, text)) == found


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a regular expression in the field Metrics, got 'loss\(': missing \)"):
        find_metrics(NAMES, "loss(")


def test_groups_are_the_first_parts_of_names() -> None:
    groups = metric_groups(sorted(NAMES))
    assert list(groups) == [UNGROUPED, "decision", "router"]
    assert groups["router"] == ("router/load/0", "router/load/1")
    assert groups[UNGROUPED] == ("loss", "lr")


def test_only_values_of_about_every_step_are_smoothed() -> None:
    assert is_dense(make_series("a", range(10), range(10)))
    assert not is_dense(make_series("a", range(0, 100, 10), range(10)))
    assert not is_dense(make_series("a", [3], [1.0]))


def metric_charts(page: Any) -> set[str]:
    return {key.removeprefix("metric ") for key in page.charts if key.startswith("metric ")}


def groups_of(page: Any) -> list[str]:
    return [each.label for each in page.app.expander if each.label in (UNGROUPED, "decision", "memory")]


def test_a_group_is_closed_and_draws_its_metrics_when_it_is_opened(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    assert "9 metrics" in page.text
    assert groups_of(page) == [UNGROUPED, "decision", "memory"]
    assert metric_charts(page) == set()
    page.app.session_state["group_decision"] = True
    page.tick()
    assert metric_charts(page) == {"decision/accuracy", "decision/loss"}
    assert "decision/accuracy: 0.75" in page.text.replace("*", "")


def test_the_address_filters_and_opens_what_it_found(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open(metrics="rss|^loss$")
    assert "2 of 9 metrics match 'rss|^loss$'" in page.text
    assert groups_of(page) == [UNGROUPED, "memory"]
    assert metric_charts(page) == {"loss", "memory/rss"}
    page.app.text_input(key="metrics").set_value("loss(")
    page.tick()
    assert [warning.value for warning in page.app.warning if "Metrics" in warning.value]
    assert metric_charts(page) == set()
