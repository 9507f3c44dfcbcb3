"""The page in a real browser, against a real training process: what only a browser can show."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from lab.cli.serve import dashboard_server, free_port
from lab.store import RunReader, list_runs

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120_000
"""Milliseconds that anything may take on a busy machine."""
POINTS = "place => place._fullData[0].x.length"
"""Points of a chart's first curve."""
RANGE = "place => place.layout.xaxis.range"


@dataclass
class Watched:
    """A page with everything it said and asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(SECONDS)
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def metric(self, label: str) -> str:
        """Value of a headline number."""
        card = self.page.get_by_test_id("stMetric").filter(has_text=label)
        return card.get_by_test_id("stMetricValue").inner_text()

    def wait_for_step(self, least: int) -> int:
        """Wait until the page shows step `least` or later; the step it shows."""
        return int(self.until(lambda: (step := self.step()) >= least and step))

    def step(self) -> int:
        """The step that the page shows; -1 before there is one."""
        text = self.metric("Step").replace(",", "")
        return int(text) if text.isdigit() else -1

    def chart(self, key: str) -> Any:
        """The drawn chart `key`."""
        return self.page.locator(f".st-key-figure_{key} .lab-chart")

    def until(self, ask: Callable[[], Any]) -> Any:
        """Ask until the answer is true."""
        end = time.monotonic() + SECONDS / 1000
        while time.monotonic() < end:
            if answer := ask():
                return answer
            self.page.wait_for_timeout(100)
        shown = self.page.locator("body").inner_text()
        raise AssertionError(f"waited in vain; errors in the console: {self.errors}; the page showed:\n{shown}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def training(runs: Path) -> Iterator[Path]:
    """A training process in its second cycle's first half: long enough to be watched, ended at the end."""
    options = "--dataset digits --warmup-epochs 1 --arch-training-epochs 1 --weight-training-epochs 500"
    options += " --total-cycles 2 --init-channels 4 --batch-size 32 --threads 1 --device cpu --name live"
    command = [sys.executable, "-m", "lab.cli", "train", *options.split(), "--save-dir", str(runs)]
    with (runs.parent / f"{runs.name}.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        # It trains for as long as the tests look at it: what else runs here goes first.
        psutil.Process(process.pid).nice(5)
        try:
            end = time.monotonic() + 120
            while not any(run.state == "running" for run in list_runs(runs)):
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < end, "the training did not begin"
                time.sleep(0.1)
            yield runs / "live"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with dashboard_server(free_port(), runs) as found:
        yield found


@pytest.fixture(scope="module")
def watched(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The live page, opened before there is a run; nothing may be asked of another host or end up in the console."""
    expect.set_options(timeout=SECONDS)
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    seen = Watched(context.new_page())
    seen.page.goto(address)
    expect(seen.page.get_by_text(re.compile("No run yet in"))).to_be_visible()
    seen.page.evaluate("window.untouched = true")
    request.getfixturevalue("training")
    seen.page.wait_for_selector(".lab-chart.js-plotly-plot")
    yield seen
    context.close()
    assert seen.errors == []
    local = [url for url in seen.requests if not url.startswith(("data:", "blob:"))]
    assert local
    assert {urlsplit(url).hostname for url in local} == {"127.0.0.1"}


def test_a_run_that_begins_appears_without_reload(watched: Watched, training: Path) -> None:
    expect(watched.page.get_by_role("heading", name=training.name)).to_be_visible()
    assert watched.page.evaluate("window.untouched") is True


def test_values_advance_without_reload(watched: Watched) -> None:
    first = watched.wait_for_step(1)
    later = watched.wait_for_step(first + 5)
    assert later > first
    assert watched.page.evaluate("window.untouched") is True


def test_curves_grow_in_place_and_keep_a_zoom(watched: Watched) -> None:
    chart = watched.chart("loss")
    chart.scroll_into_view_if_needed()
    chart.locator(".nsewdrag").wait_for()
    chart.evaluate("place => { place.marked = true }")
    whole = chart.evaluate(RANGE)
    drag(watched.page, chart.locator(".nsewdrag"), 0.25, 0.5)
    zoomed = watched.until(lambda: (shown := chart.evaluate(RANGE)) != whole and shown)
    assert zoomed[1] - zoomed[0] < 0.5 * (whole[1] - whole[0])
    points = chart.evaluate(POINTS)
    watched.until(lambda: chart.evaluate(POINTS) > points)
    assert chart.evaluate("place => place.marked") is True
    assert chart.evaluate(RANGE) == zoomed
    chart.locator(".nsewdrag").dblclick()
    watched.until(lambda: chart.evaluate(RANGE)[1] >= whole[1])


def drag(page: Page, place: Locator, start: float, end: float) -> None:
    """Drag level over `place` from one share of its width to another."""
    box = place.bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], height)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], height, steps=5)
    page.mouse.up()


def test_mutate_now_makes_the_trainer_mutate_and_the_new_cell_appears(watched: Watched, training: Path) -> None:
    reader = RunReader(training)
    watched.until(
        lambda: any(event.payload["reason"] == "extracted" for event in reader.events(kinds=("genotype",)).events)
    )
    known = mutations(reader)
    watched.until(lambda: "0→1" in (watched.chart("genotype").get_attribute("aria-label") or ""))
    before = watched.chart("genotype").get_attribute("aria-label")
    watched.page.get_by_role("button", name="Mutate now").click()
    watched.until(lambda: mutations(reader) - known)
    numbers = {number for number, requested in mutations(reader) - known if requested == "control"}
    assert numbers
    expect(watched.page.get_by_text(re.compile("Mutate now: done after"))).to_be_visible()
    expect(watched.page.get_by_text(re.compile(f"^Mutation {max(numbers)} at step")).first).to_be_visible()
    watched.until(lambda: watched.chart("genotype").get_attribute("aria-label") != before)


def genotype_reasons(reader: RunReader) -> set[str]:
    return {event.payload["reason"] for event in reader.events(kinds=("genotype",)).events}


def mutations(reader: RunReader) -> set[tuple[int, str]]:
    found = reader.events(kinds=("mutation",)).events
    return {(event.payload["number"], event.payload["requested"]) for event in found}


def test_pause_holds_the_step_and_resume_lets_it_go(watched: Watched) -> None:
    watched.page.get_by_role("button", name="Pause").click()
    expect(watched.page.get_by_text(re.compile("Pause: done after"))).to_be_visible()
    expect(watched.page.get_by_role("button", name="Resume")).to_be_enabled()
    held = watched.step()
    watched.page.wait_for_timeout(2_500)
    assert watched.step() == held
    watched.page.get_by_role("button", name="Resume").click()
    assert watched.wait_for_step(held + 1) > held


def test_keys_of_the_wall_pause_mutate_and_resume_the_training(browser: Browser, address: str, training: Path) -> None:
    reader = RunReader(training)
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    seen = Watched(context.new_page())
    seen.page.goto(f"{address}/?run={training.name}&view=wall")
    seen.page.locator(".lab-wall .lab-chart .main-svg").first.wait_for()
    answer = seen.page.locator(".lab-wall-answer")
    shown = seen.page.locator(".lab-slider-range")
    first = int(shown.input_value())
    seen.until(lambda: int(shown.input_value()) > first)
    known = mutations(reader)
    seen.page.keyboard.press("m")
    expect(answer).to_contain_text("Mutate now: ")
    seen.until(lambda: "done after" in answer.inner_text() or "refused after" in answer.inner_text())
    # Refused where the mutation of the test before is still under way on every edge that is left.
    if "done after" in answer.inner_text():
        numbers = {number for number, requested in mutations(reader) - known if requested == "control"}
        expect(seen.page.locator(".lab-wall-story")).to_contain_text(f"mutation {max(numbers)} is applied")
        expect(seen.page.locator(".lab-wall-story")).to_contain_text("a person asked for it")
    else:
        assert "Wait until the transition has ended" in answer.inner_text()
    seen.page.keyboard.press("Space")
    expect(answer).to_contain_text("Pause: done after")
    expect(seen.page.locator(".lab-wall-state")).to_contain_text("paused")
    seen.page.keyboard.press("Space")
    expect(answer).to_contain_text("Resume: done after")
    # One look back does not stop the training, and it stays while rows come.
    seen.page.keyboard.press("Shift+ArrowLeft")
    seen.until(lambda: "step=" in seen.page.url)
    held = shown.input_value()
    last = int(shown.get_attribute("max") or 0)
    seen.until(lambda: int(shown.get_attribute("max") or 0) > last)
    assert shown.input_value() == held
    assert seen.errors == []
    context.close()


def test_text_of_the_charts_follows_the_theme(browser: Browser, address: str, training: Path) -> None:
    light: dict[str, int] = {}
    # One context: the second page need not fetch the files of the first again.
    context = browser.new_context()
    context.set_default_timeout(SECONDS)
    for scheme in ("light", "dark"):
        page = context.new_page()
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{address}/?run={training.name}")
        page.locator(".st-key-figure_timeline .lab-chart").scroll_into_view_if_needed()
        fill = page.locator(".st-key-figure_timeline .xtick text").first.evaluate("text => text.style.fill")
        light[scheme] = sum(int(part) for part in re.findall(r"\d+", fill)[:3])
        page.close()
    context.close()
    assert light["light"] < 3 * 80
    assert light["dark"] > 3 * 175


def test_the_address_follows_the_chosen_run(watched: Watched, runs: Path) -> None:
    assert "run=live" in watched.page.url
    watched.chart("loss").scroll_into_view_if_needed()
    watched.page.get_by_text("Logarithmic loss").click()
    watched.until(lambda: "log=true" in watched.page.url)
    watched.until(lambda: watched.chart("loss").evaluate("place => place.layout.yaxis.type") == "log")


def test_stop_asks_first_and_then_ends_the_run(watched: Watched, training: Path) -> None:
    watched.page.get_by_test_id("stPopoverButton").filter(has_text="Stop").click()
    assert RunReader(training).state() == "running"
    watched.page.get_by_role("button", name="Yes, stop the run").click()
    expect(watched.page.get_by_text(re.compile("The run was ended: stopped at epoch"))).to_be_visible()
    assert RunReader(training).state() == "finished"
    expect(watched.page.get_by_role("button", name="Mutate now")).to_be_disabled()
