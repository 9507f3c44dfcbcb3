"""Text of a run in a real browser: what is drawn of it, and that nothing of it can be clicked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from lab.cli.serve import dashboard_server, free_port
from lab.store import StabilityEvent

pytestmark = pytest.mark.browser

TEXT = "see HTTPS://a.example/x ftp://a.example www.a.example, ask me@a.example :material/bolt: [b](//c) a -> b -- c"


def test_an_address_in_the_text_of_a_run_is_no_link(recorder: Callable[..., Any], root: Path, browser: Browser) -> None:
    run = recorder()
    run.steps(0, 2)
    verdict = {"health": 0.5, "state": "degraded", "oscillation": 0.0, "degradation": 0.2, "trend": 0.1}
    run.record(1, StabilityEvent(**verdict, reasons=[TEXT]))
    run.run.finish("failed", TEXT)
    with dashboard_server(free_port(), root) as address:
        page = browser.new_page()
        page.goto(f"{address}/?run=run")
        # The reason of the end and the verdict, letter by letter.
        body = page.get_by_test_id("stMain")
        expect(body.get_by_text("degraded (health")).to_be_visible(timeout=120_000)
        shown = body.inner_text().replace("\u2060", "")
        # What a training says has the page's arrows; what ended it is told as it is.
        assert (shown.count(TEXT), shown.count(TEXT.replace("->", "→"))) == (1, 1)
        links = [link.get_attribute("href") or "" for link in body.locator("a").all()]
        assert [link for link in links if "example" in link or "//c" in link] == []
        page.close()
