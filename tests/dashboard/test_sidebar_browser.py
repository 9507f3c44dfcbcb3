"""How curves are drawn, in a real browser: each choice goes into the address, and the address brings it back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from lab.cli.serve import dashboard_server, free_port

pytestmark = pytest.mark.browser

MILLISECONDS = 120_000
"""That anything may take on a busy machine."""
TITLE = "place => place.layout.xaxis.title.text"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, recorder_class: Any) -> Iterator[str]:
    """A server over two runs that have ended; the loss of the first has one spike."""
    root: Path = tmp_path_factory.mktemp("runs")
    for name in ("spiked", "other"):
        run = recorder_class(root, name)
        run.search()
        run.steps(30, 700)
        run.steps(730, 1, loss=1e6)
        run.epoch(731, 3)
        run.run.finish()
    with dashboard_server(free_port(), root) as found:
        yield found


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that is closed before its server ends; the console may say nothing."""
    expect.set_options(timeout=MILLISECONDS)
    context = browser.new_context(viewport={"width": 1400, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.location["url"]))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    # On a deep link Streamlit asks for its own files below the page's name first, and then in the right place.
    assert [error for error in errors if "/runs/_stcore/" not in error] == []


def wait_for_title(page: Page, start: str) -> str:
    """The title of the loss chart's axis, once it begins like that."""
    # It is drawn when it comes into sight.
    chart = page.locator(".st-key-figure_loss .lab-chart")
    chart.scroll_into_view_if_needed()
    place = 'document.querySelector(".st-key-figure_loss .lab-chart")'
    page.wait_for_function(f"start => {place}?.layout?.xaxis.title.text.startsWith(start)", arg=start)
    return str(chart.evaluate(TITLE))


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_axis_range_points_and_metrics_go_into_the_address_and_come_back(page: Page, address: str) -> None:
    page.goto(f"{address}/?run=spiked")
    assert wait_for_title(page, "step") == "step"
    page.get_by_text("Robust value axis").click()
    assert wait_for_title(page, "step (off") == "step (off the axis: 1)"
    high = page.locator(".st-key-figure_loss .lab-chart").evaluate("place => place.layout.yaxis.range[1]")
    assert high < 1e3
    for key, option, title in (("points", "500", "step (showing"), ("x", "epoch", "epochs (showing")):
        page.locator(f".st-key-{key} input").click()
        page.get_by_role("option", name=option, exact=True).click()
        wait_for_title(page, title)
    page.locator(".st-key-metrics input").fill("rss|^loss$")
    page.locator(".st-key-metrics input").press("Enter")
    expect(page.get_by_text("2 of 9 metrics match")).to_be_visible()
    page.wait_for_function("location.search.includes('metrics=')")
    asked = query(page)
    assert {name: asked[name] for name in ("robust", "points", "x", "metrics")} == {
        "robust": ["true"],
        "points": ["500"],
        "x": ["epoch"],
        "metrics": ["rss|^loss$"],
    }
    page.reload()
    assert "of 734 points; off the axis: 1)" in wait_for_title(page, "epochs (showing ")
    expect(page.get_by_text("2 of 9 metrics match")).to_be_visible()
    expect(page.locator("[class*='st-key-figure_metric'] .lab-chart")).to_have_count(2)


def test_the_list_of_runs_keeps_its_filter_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/runs?filter=spik&state=finished")
    expect(page.get_by_text("1 of 2 runs")).to_be_visible()
    page.get_by_role("button", name="finished", exact=True).click()
    page.wait_for_function("!location.search.includes('state=')")
    page.locator(".st-key-filter input").fill("no such run")
    page.locator(".st-key-filter input").press("Enter")
    expect(page.get_by_text("No run matches this filter.")).to_be_visible()
    assert query(page)["filter"] == ["no such run"]
