"""A person starts a training on the page, sees it in a second tab, and stops it from there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from lab.cli.serve import dashboard_server, free_port
from lab.store import RunReader, launch

pytestmark = pytest.mark.browser

SECONDS = 120_000
"""Milliseconds that anything may take on a busy machine."""
STOPPED = re.compile("The run was ended: stopped at epoch")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs; what was started there and still lives at the end is ended."""
    yield tmp_path / "runs"
    for run in (tmp_path / "runs").glob("*"):
        launch.end(run, stop_seconds=0.0, term_seconds=5.0)


@pytest.fixture
def tabs(browser: Browser, root: Path) -> Iterator[tuple[Page, Page]]:
    """The runs page ready to start a run, and the live page of a store without one."""
    expect.set_options(timeout=SECONDS)
    # A window for each: Chromium draws a tab that lies behind another one when it likes.
    contexts = [browser.new_context(viewport={"width": 1400, "height": 1000}) for _ in range(2)]
    errors: list[str] = []
    with dashboard_server(free_port(), root) as address:
        for context in contexts:
            context.set_default_timeout(SECONDS)
            context.on("console", lambda message: message.type == "error" and errors.append(message.text))
        first, second = (context.new_page() for context in contexts)
        second.goto(address)
        expect(second.get_by_text(re.compile("No run yet in"))).to_be_visible()
        first.goto(address)
        first.get_by_text("Start a run").click()
        yield first, second
        for context in contexts:
            context.close()
    assert errors == []


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()
    # What stands beside it depends on it.
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def test_a_run_is_started_in_one_tab_seen_in_another_and_stopped_there(tabs: tuple[Page, Page], root: Path) -> None:
    first, second = tabs
    choose(first, "Recipe", "fixed")
    choose(first, "Length in", "epochs")
    epochs = first.get_by_role("spinbutton", name="Epochs")
    epochs.fill("5000")
    epochs.press("Enter")
    name = first.get_by_role("textbox", name="Name")
    name.fill("from-the-page")
    name.press("Enter")
    first.get_by_role("button", name="Start", exact=True).click()
    for tab in tabs:
        expect(tab.get_by_role("heading", name="from-the-page")).to_be_visible()
        expect(tab.get_by_test_id("stMetric").filter(has_text="Step")).to_contain_text(re.compile(r"\d"))
    process = launch.read(root / "from-the-page").process
    assert process.alive()
    config = RunReader(root / "from-the-page").config()
    assert (config["recipe"], config["data"]["name"], config["seed"], config["epochs"]) == ("fixed", "digits", 0, 5000)
    second.get_by_test_id("stPopoverButton").filter(has_text="Stop").click()
    expect(second.get_by_text(re.compile("was started from this page and has not ended 60 s"))).to_be_visible()
    second.get_by_role("button", name="Yes, stop the run").click()
    for tab in tabs:
        expect(tab.get_by_text(STOPPED)).to_be_visible()
    assert RunReader(root / "from-the-page").state() == "finished"
    for _ in range(SECONDS // 500):
        # Its run has ended; Python takes a while to go.
        if not process.alive():
            break
        second.wait_for_timeout(500)
    assert process.alive() is False
