"""Wall, slider and replay in a real browser, over the recorded run: nothing is trained here."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from lab.cli.replay import RUN, recorded_runs
from lab.cli.serve import dashboard_server, free_port
from lab.store import RunReader

pytestmark = pytest.mark.browser

MILLISECONDS = 120_000
"""That anything may take on a busy machine."""
LEAST = 20.0
"""Pixels of the smallest text on a screen of 1920x1080."""
SMALLEST = """() => {
  const sizes = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { textContent: text, parentElement: parent } = walker.currentNode;
    const place = parent.closest(".lab-wall, .lab-slider");
    if (!place || !text.trim() || !parent.checkVisibility()) continue;
    sizes[text.trim()] = parseFloat(getComputedStyle(parent).fontSize);
  }
  return sizes;
}"""
"""Text of the wall and of its slider -> its size in pixels."""
FITS = """() => {
  const wall = document.querySelector(".lab-wall");
  const inside = [...document.querySelectorAll(".lab-wall > *, .lab-slider > *")];
  return document.documentElement.scrollHeight <= innerHeight && wall.scrollHeight <= innerHeight
    && wall.scrollWidth <= innerWidth
    && inside.every((part) => {
      const { bottom, right, top, left } = part.getBoundingClientRect();
      return top >= -1 && left >= -1 && bottom <= innerHeight + 1 && right <= innerWidth + 1;
    });
}"""
CUT_OFF = """() => [...document.querySelectorAll(".lab-wall-said, .lab-wall-title, .lab-wall-name, .lab-wall-head")]
  .filter((part) => part.scrollHeight > part.clientHeight + 2 || part.scrollWidth > part.clientWidth + 2)
  .map((part) => part.textContent)"""
RANGE = "place => place.layout.xaxis.range"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    before = sorted(recorded_runs().rglob("*"))
    with dashboard_server(free_port(), recorded_runs()) as found:
        yield found
    assert sorted(recorded_runs().rglob("*")) == before, "the recorded runs are read and nothing is written beside them"


@pytest.fixture(scope="module")
def errors() -> Iterator[list[str]]:
    """What the console says and what is asked of another host; nothing may be."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture(scope="module")
def page(browser: Browser, errors: list[str], address: str) -> Iterator[Page]:
    """A page that is closed before its server ends."""
    expect.set_options(timeout=MILLISECONDS)
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: urlsplit(request.url).hostname not in (None, "", "127.0.0.1") and errors.append(request.url),
    )
    yield page
    context.close()


def step_of(page: Page) -> int:
    """The step that the slider shows."""
    return int(page.locator(".lab-slider-range").input_value())


def asked(page: Page) -> dict[str, str]:
    """The address's parameters."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def until(page: Page, ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true."""
    for _ in range(MILLISECONDS // 100):
        if answer := ask():
            return answer
        page.wait_for_timeout(100)
    raise AssertionError(f"waited in vain; the page showed:\n{page.locator('body').inner_text()}")


def open_wall(page: Page, address: str, **parameters: object) -> None:
    words = "&".join(f"{name}={value}" for name, value in {"run": RUN, "view": "wall", **parameters}.items())
    page.goto(f"{address}/?{words}")
    for area in range(5):
        page.locator(".lab-wall .lab-chart").nth(area).locator(".main-svg").first.wait_for()


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 720)])
@pytest.mark.parametrize("step", [400, 897])
def test_the_wall_fits_on_the_screen_in_text_that_is_read_from_afar(
    page: Page, address: str, width: int, height: int, step: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    open_wall(page, address, step=step)
    assert page.evaluate(FITS)
    assert page.evaluate(CUT_OFF) == []
    sizes = page.evaluate(SMALLEST)
    # The genotype, the heat map, curves, numbers and the slider are among them.
    for text in ("conv 3×3", "0→1", "selection split", "Decision accuracy", f"step {step} of 897", "Now"):
        assert any(text in each for each in sizes), (text, sorted(sizes))
    # On a smaller screen each size is the same share of it.
    least = LEAST * width / 1920
    assert {text: size for text, size in sizes.items() if size < least - 0.01} == {}


def test_nothing_that_the_wall_covers_can_be_seen_or_reached(page: Page) -> None:
    for name in ("stSidebar", "stHeader"):
        assert page.get_by_test_id(name).count() == 1
        expect(page.get_by_test_id(name)).not_to_be_visible()


def test_a_replay_goes_on_by_itself_in_the_same_elements(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    open_wall(page, address, step=230, play=5)
    chart = page.locator(".lab-wall .lab-chart").nth(2)
    page.evaluate("document.querySelector('.lab-wall').marked = true")
    chart.evaluate("place => { place.marked = true }")
    first = step_of(page)
    until(page, lambda: step_of(page) > first + 20)
    assert page.evaluate("document.querySelector('.lab-wall').marked") is True
    assert chart.evaluate("place => place.marked") is True
    assert asked(page)["step"] == "230", "the address names where the replay began, and no step on the way"


def test_the_space_bar_stops_the_replay_and_lets_it_go_on(page: Page) -> None:
    page.keyboard.press("Space")
    until(page, lambda: "play" not in asked(page))
    held = step_of(page)
    assert asked(page)["step"] == str(held)
    page.wait_for_timeout(1_500)
    assert step_of(page) == held
    page.keyboard.press("Space")
    until(page, lambda: step_of(page) > held)
    assert asked(page)["play"] == "5"
    page.keyboard.press("Space")
    until(page, lambda: "play" not in asked(page))


def test_arrows_go_through_the_run_and_everything_goes_along(page: Page, address: str) -> None:
    open_wall(page, address, step=372)
    expect(page.locator(".lab-wall-story")).to_contain_text("Step 364: mutation 1 is accepted")
    genotype = page.locator(".lab-wall .lab-chart").first
    before = genotype.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".lab-wall-story")).to_contain_text("Step 377: mutation 2 is applied")
    assert step_of(page) == 381
    until(page, lambda: genotype.get_attribute("aria-label") != before)
    until(page, lambda: page.locator(".lab-wall .lab-chart").nth(2).evaluate(RANGE)[1] == 381)
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".lab-slider-text")).to_have_text("step 380 of 897")
    until(page, lambda: asked(page)["step"] == "380")
    expect(page.locator(".lab-wall-state")).to_have_text("data: digits · finished, shown at step 380")


def test_a_recorded_run_takes_no_commands_and_says_so(page: Page) -> None:
    page.keyboard.press("m")
    expect(page.locator(".lab-wall-answer")).to_have_text(
        "The command was not sent: Mutate now: the run is finished and takes no commands"
    )


def test_f_fills_the_screen(page: Page) -> None:
    page.keyboard.press("f")
    until(page, lambda: page.evaluate("Boolean(document.fullscreenElement)"))
    page.keyboard.press("f")
    until(page, lambda: not page.evaluate("Boolean(document.fullscreenElement)"))


def test_now_goes_back_to_the_end(page: Page) -> None:
    page.get_by_role("button", name="Now").click()
    expect(page.locator(".lab-slider-text")).to_have_text("step 897 of 897")
    until(page, lambda: "step" not in asked(page))
    expect(page.locator(".lab-wall-story")).to_contain_text("Step 772: mutation 4 is accepted")


def test_on_the_live_page_one_slider_moves_cell_numbers_and_curves_and_a_zoom_stays(page: Page, address: str) -> None:
    page.goto(f"{address}/?run={RUN}&step=700")
    loss = page.locator(".st-key-figure_loss .lab-chart")
    loss.scroll_into_view_if_needed()
    loss.locator(".nsewdrag").wait_for()
    loss.evaluate("place => { place.marked = true; return window.Plotly.relayout(place, {'xaxis.range': [50, 150]}) }")
    metric = page.get_by_test_id("stMetric").filter(has_text="Step").get_by_test_id("stMetricValue")
    expect(metric).to_have_text("700")
    track = page.locator(".lab-slider-range")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.78 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    step = until(page, lambda: (found := step_of(page)) < 250 and found)
    expect(metric).to_have_text(str(step))
    until(page, lambda: asked(page).get("step") == str(step))
    expect(page.get_by_text(re.compile(f"as it was at step {step}")).first).to_be_visible()
    loss.scroll_into_view_if_needed()
    assert loss.evaluate("place => place.marked") is True
    assert loss.evaluate(RANGE) == [50, 150]
    until(page, lambda: max(loss.evaluate("place => Array.from(place._fullData[0].x)")) <= step)
    page.get_by_text("Download", exact=True).click()
    with page.expect_download() as begun:
        page.get_by_role("button", name="Genotype (JSON)").click()
    events = RunReader(recorded_runs() / RUN).events(kinds=("genotype",)).events
    known = [event.payload["genotype"] for event in events if event.step <= step]
    assert json.loads(begun.value.path().read_text(encoding="utf-8")) == known[-1] != events[-1].payload["genotype"]


STEPS = """() => {
  window.steps = [];
  const look = () => {
    const metrics = [...document.querySelectorAll("[data-testid=stMetric]")];
    const metric = metrics.find((each) => /^Step/.test(each.textContent));
    const shown = metric?.querySelector("[data-testid=stMetricValue]").textContent;
    if (shown && shown !== window.steps.at(-1)?.[0]) {
      window.steps.push([shown, document.querySelector(".lab-slider-range").value]);
    }
    requestAnimationFrame(look);
  };
  look();
}"""
"""Notes at each picture of the screen with another step in its card the step of the slider."""


def test_in_a_replay_the_slider_goes_with_the_numbers_of_the_page(page: Page, address: str) -> None:
    page.goto(f"{address}/?run={RUN}&step=230&play=1")
    page.locator(".lab-slider-range").wait_for()
    page.evaluate(STEPS)
    steps = until(page, lambda: len(found := page.evaluate("window.steps")) > 6 and found)
    assert [shown for shown, _ in steps[1:]] == [slider for _, slider in steps[1:]]


def test_a_step_that_the_slider_does_not_know_is_shown_at_once(page: Page, address: str) -> None:
    """As in a run that goes on: the numbers of the page come before the slider's data."""
    page.goto(f"{address}/?run={RUN}")
    expect(page.locator(".lab-slider-text")).to_have_text("step 897 of 897")
    page.evaluate("Object.assign(document.querySelector('.lab-step').dataset, { last: 950, step: 950 })")
    expect(page.locator(".lab-slider-text")).to_have_text("step 950 of 950")
    assert step_of(page) == 950


def test_a_chart_is_saved_as_a_picture(page: Page, address: str) -> None:
    page.goto(f"{address}/?run={RUN}")
    loss = page.locator(".st-key-figure_loss .lab-chart")
    loss.scroll_into_view_if_needed()
    loss.locator(".nsewdrag").hover()
    with page.expect_download() as begun:
        loss.locator(".modebar-btn[data-title*='png' i]").click()
    picture = begun.value.path().read_bytes()
    assert begun.value.suggested_filename.endswith(".png")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    box = loss.bounding_box()
    assert box is not None
    assert (width, height) == (round(box["width"]), round(box["height"]))
