"""A page that follows a run does so to its end, in a real browser: whatever stops its clock starts it again."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from lab.cli.serve import dashboard_server, free_port

pytestmark = pytest.mark.browser

MILLISECONDS = 120_000
"""That anything may take on a busy machine."""
KEEP_TIMERS = """
  const set = window.setInterval;
  window.timers = [];
  window.setInterval = (act, after, ...more) => {
    const id = set(act, after, ...more);
    window.timers.push(id);
    return id;
  };
  window.untouched = true;
"""
"""Keeps the numbers of all timers: Streamlit's ticks are some of them."""
HURRY = """
  const now = performance.now.bind(performance);
  performance.now = () => 5 * now();
"""
"""Lets the guard of the clock ask after two seconds instead of ten; its timers and Streamlit's stay as they are."""
STILL = 2.5
"""Seconds without a tick after which none is under way: more than two ticks."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A page's address, and the folder that it shows."""
    folder = tmp_path_factory.mktemp("runs")
    with dashboard_server(free_port(), folder) as found:
        yield found, folder


@pytest.fixture
def address(server: tuple[str, Path], root: Path, tmp_path: Path) -> Iterator[str]:
    """Of the page over `root`: the server's folder while the test runs, empty at first."""
    root.symlink_to(server[1])
    yield server[0]
    # Away in one step: the server may still be reading.
    for left in server[1].iterdir():
        left.rename(tmp_path / f"ended-{left.name}")


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Its pages share the files that one of them has loaded."""
    expect.set_options(timeout=MILLISECONDS)
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.add_init_script(KEEP_TIMERS)
    context.set_default_timeout(MILLISECONDS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    page = context.new_page()
    yield page
    page.close()


def shows_step(page: Page, step: int) -> None:
    card = page.get_by_test_id("stMetric").filter(has_text="Step")
    expect(card.get_by_test_id("stMetricValue")).to_have_text(str(step))


def test_a_page_whose_ticks_were_lost_goes_on(page: Page, address: str, recorder: Callable) -> None:
    run = recorder("lost")
    run.search()
    page.add_init_script(HURRY)
    page.goto(address)
    shows_step(page, 30)
    assert page.evaluate("window.timers.length") > 0
    # As when the message that starts them never comes.
    page.evaluate("window.timers.forEach(clearInterval)")
    run.steps(31, 10)
    shows_step(page, 40)
    run.steps(41, 10)
    shows_step(page, 50)
    assert page.evaluate("window.untouched") is True


def test_a_page_that_waits_for_a_run_goes_on_without_ticks(page: Page, address: str, recorder: Callable) -> None:
    page.add_init_script(HURRY)
    page.goto(address)
    expect(page.get_by_text("No run yet in")).to_be_visible()
    page.evaluate("window.timers.forEach(clearInterval)")
    recorder("awaited").search()
    shows_step(page, 30)


def test_a_run_whose_folder_came_before_its_database_appears(
    page: Page, address: str, recorder: Callable, tmp_path: Path
) -> None:
    run = recorder("written")
    run.search()
    run.run.finish()
    shutil.move(run.path, tmp_path / "written")
    (tmp_path / "runs" / "written").mkdir()
    page.goto(address)
    expect(page.get_by_text("This run cannot be read")).to_be_visible()
    shutil.copytree(tmp_path / "written", tmp_path / "runs" / "written", dirs_exist_ok=True)
    shows_step(page, 30)
    expect(page.get_by_text("This run cannot be read")).to_have_count(0)
    assert page.evaluate("window.untouched") is True


NO_TICK = """(milliseconds) => {
  const tick = window.labClock.tick;
  if (window.lastTick?.tick !== tick) window.lastTick = { tick, seen: performance.now() };
  return performance.now() - window.lastTick.seen > milliseconds;
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_tab_that_nobody_sees_stands_still_and_goes_on_when_it_is_seen(
    page: Page, address: str, recorder: Callable
) -> None:
    run = recorder("hidden")
    run.search()
    page.goto(address)
    shows_step(page, 30)
    page.evaluate(HIDE, True)
    # The last ticks that were under way end; then none comes.
    page.wait_for_function(NO_TICK, arg=1000 * STILL)
    tick = page.evaluate("window.labClock.tick")
    run.steps(31, 10)
    page.wait_for_timeout(1000 * STILL)
    assert page.evaluate("window.labClock.tick") == tick
    page.evaluate(HIDE, False)
    shows_step(page, 40)
    run.steps(41, 10)
    shows_step(page, 50)
    assert page.evaluate("window.untouched") is True


@pytest.mark.parametrize("how", ["throw error", "Promise.reject(error)"], ids=["thrown", "rejected"])
def test_a_page_whose_drawing_has_broken_down_is_loaded_anew(
    page: Page, address: str, recorder: Callable, how: str
) -> None:
    recorder("broken").search()
    page.goto(address)
    shows_step(page, 30)
    page.evaluate("window.before = true")
    page.evaluate(BREAK.replace("ACT", how))
    page.wait_for_function("window.before === undefined")
    shows_step(page, 30)
    # Not again at once: a page that breaks down each time is not loaded for ever.
    page.evaluate("window.before = true")
    page.evaluate(BREAK.replace("ACT", how))
    page.wait_for_timeout(1000 * STILL)
    assert page.evaluate("window.before") is True


BREAK = """setTimeout(() => {
  const error = new Error("'setIn' cannot be called on an ElementNode");
  ACT;
})"""
"""What Streamlit says where a message is for a place that another run has changed since."""
