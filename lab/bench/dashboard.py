"""`lab bench dashboard`: the page in a real browser, beside a training and over a long run, each in its own process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from lab.base import ReportTable
from lab.bench import dashboard_latency, dashboard_replay, dashboard_scale, dashboard_tabs
from lab.bench.page import find_chromium, find_playwright
from lab.bench.settings import DASHBOARD_PARTS, DashboardBench
from lab.results import machine

MEASURES: Mapping[str, Callable[[DashboardBench, Any], dict[str, Any]]] = MappingProxyType(
    {
        "latency": dashboard_latency.measure,
        "paint": dashboard_scale.paint,
        "ticks": dashboard_scale.ticks,
        "listing": dashboard_scale.listing,
        "tabs": dashboard_tabs.measure,
        "replay": dashboard_replay.measure,
    }
)
ROWS: tuple[Callable[[Mapping[str, Any]], Sequence[tuple[str, str, str]]], ...] = (
    dashboard_latency.latency_rows,
    dashboard_scale.scale_rows,
    dashboard_tabs.tab_rows,
    dashboard_replay.replay_rows,
)
"""What each module has measured of the parts: what, figure, aim."""


def run(config: DashboardBench) -> dict[str, Any]:
    """Measure what `config.parts` name, in their order here.

    Raises:
        ConfigError: no Playwright, or no browser.
        StoreError: a training or a page did not come up, or did not answer.
    """
    start_browser, chromium = find_playwright(), find_chromium(config.chromium)
    parts: dict[str, Any] = {}
    with start_browser() as playwright:
        for name in DASHBOARD_PARTS:
            if name in config.parts:
                # A browser of its own: what one part leaves behind costs the next one nothing.
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                parts[name] = MEASURES[name](config, browser)
                browser.close()
    return {"bench": "dashboard", "config": asdict(config), "machine": machine(), "results": parts}


def result_name(config: DashboardBench) -> str:
    """Name of the result's file: that of the whole measurement, or of the parts that were measured."""
    return "dashboard" if config.parts == DASHBOARD_PARTS else f"dashboard-{'-'.join(config.parts)}"


def summary(result: dict[str, Any]) -> ReportTable:
    """The result, one row for each figure with its aim."""
    parts = result["results"]
    measured = (
        dashboard_latency.latency_rows,
        dashboard_scale.scale_rows,
        dashboard_tabs.tab_rows,
        dashboard_replay.replay_rows,
    )
    rows = [row for rows_of in measured for row in rows_of(parts)]
    loads = ", ".join(f"{name} {each['load_average']:.1f}" for name, each in parts.items())
    note = f"load average on {result['machine']['cores']} cores: {loads}"
    return ReportTable(title="dashboard", columns=("what", "measured", "aim"), rows=tuple(rows), notes=(note,))
