"""The chart's own script, alone in a browser with a stand-in for Plotly that counts what it is asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components.patch import difference
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

COMPONENTS = Path(__file__).resolve().parents[2] / "dashboard" / "components"
SCRIPT = "\n".join((COMPONENTS / name).read_text(encoding="utf-8") for name in ("patch.js", "figure.js", "chart.js"))
PLOTLY = """() => {
  window.calls = [];
  window.Plotly = {
    react(place, data, layout) {
      window.calls.push(["react", layout.font.color, layout.xaxis?.range]);
      place.layout = layout;
      place.on ??= (name, act) => ((place.acts ??= {})[name] = act);
      return Promise.resolve();
    },
    purge() { window.calls.push(["purge"]); },
  };
}"""
SET_UP = """async (script) => {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const chart = (await import(url)).default;
  window.draw_ = chart;
  window.parent_ = document.body.appendChild(document.createElement("div"));
  window.show = (changes = {}) => {
    const figure = { data: [], layout: { font: {}, xaxis: { range: [0, changes.end ?? 10] } } };
    const text = changes.patch === undefined ? JSON.stringify(figure) : JSON.stringify(changes.patch);
    const { view = "a", base = "" } = changes;
    const texts = { label: "a curve", waiting: "It is on its way." };
    const data = { figure: text, base, height: 100, view, ...texts };
    return chart({ data, parentElement: window.parent_ });
  };
}"""


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A page with the script and its stand-in for Plotly."""
    page = browser.new_page()
    page.evaluate(PLOTLY)
    page.evaluate(SET_UP, SCRIPT)
    yield page
    page.close()


def calls(page: Page, name: str = "react") -> list[list[object]]:
    found: list[list[object]] = json.loads(page.evaluate("JSON.stringify(window.calls)"))
    return [call for call in found if call[0] == name]


def drawn(page: Page, count: int) -> None:
    page.wait_for_function(f"window.calls.filter(([name]) => name === 'react').length === {count}")


def test_a_chart_has_a_label_and_a_text_until_it_is_drawn(blank: Page) -> None:
    blank.evaluate("window.kept = window.Plotly; window.Plotly = undefined; window.show()")
    chart = blank.locator(".lab-chart")
    assert (chart.get_attribute("role"), chart.get_attribute("aria-label")) == ("figure", "a curve")
    assert chart.inner_text() == "It is on its way."
    blank.evaluate("window.Plotly = window.kept")
    drawn(blank, 1)
    assert chart.inner_text() == ""


def test_the_same_figure_is_drawn_once(blank: Page) -> None:
    blank.evaluate("window.show()")
    drawn(blank, 1)
    blank.evaluate("window.show()")
    blank.evaluate("window.show({ end: 20 })")
    drawn(blank, 2)
    assert [call[2] for call in calls(blank)] == [[0, 10], [0, 20]]
    assert blank.locator(".lab-chart").count() == 1


def test_text_takes_the_colour_of_the_page(blank: Page) -> None:
    blank.evaluate("window.show()")
    drawn(blank, 1)
    blank.evaluate("document.body.style.color = 'rgb(1, 2, 3)'; window.show()")
    drawn(blank, 2)
    assert calls(blank)[-1][1] == "rgb(1, 2, 3)"


def test_an_overtaken_call_leaves_the_chart_where_it_is(blank: Page) -> None:
    blank.evaluate("window.clean = window.show()")
    drawn(blank, 1)
    blank.evaluate("window.clean()")
    assert blank.locator(".lab-chart").count() == 1
    assert calls(blank, "purge") == []


def test_a_chart_that_left_the_page_is_cleaned_up(blank: Page) -> None:
    blank.evaluate("window.clean = window.show()")
    drawn(blank, 1)
    blank.evaluate("window.parent_.remove(); window.clean()")
    blank.wait_for_function("window.calls.at(-1)[0] === 'purge'")


def test_a_chart_out_of_sight_waits_until_it_is_seen(blank: Page) -> None:
    blank.evaluate("window.parent_.style.marginTop = '5000px'; window.show()")
    blank.wait_for_timeout(300)
    assert calls(blank) == []
    blank.locator(".lab-chart").scroll_into_view_if_needed()
    drawn(blank, 1)


def test_a_zoom_outlives_new_data_and_ends_with_the_view_or_a_double_click(blank: Page) -> None:
    blank.evaluate("window.show()")
    drawn(blank, 1)
    zoom = """() => {
      const place = document.querySelector('.lab-chart');
      place.layout.xaxis.range = [2, 3];
      place.acts.plotly_relayout({ 'xaxis.range[0]': 2, 'xaxis.range[1]': 3 });
    }"""
    blank.evaluate(zoom)
    blank.evaluate("window.show({ end: 20 })")
    drawn(blank, 2)
    blank.evaluate("window.show({ end: 20, view: 'b' })")
    drawn(blank, 3)
    blank.evaluate(zoom)
    blank.evaluate("document.querySelector('.lab-chart').acts.plotly_doubleclick()")
    drawn(blank, 4)
    assert [call[2] for call in calls(blank)] == [[0, 10], [2, 3], [0, 20], [0, 20]]


DRAW = """([length, figure]) => {
  window.Plotly.react = (place, data, layout) => {
    Object.assign(place, { data, layout, _fullLayout: { xaxis: { _length: 200 }, yaxis: { _length: length } } });
    place.on = () => {};
    window.calls.push(["react", layout.width ?? null]);
    return Promise.resolve();
  };
  window.Plotly.restyle = (place, { text }) => window.calls.push(["restyle", text[0]]);
  window.parent_.style.width = "300px";
  const data = { figure: JSON.stringify(figure), base: "", height: 100, view: "a", label: "a map", waiting: "" };
  window.draw_({ data, parentElement: window.parent_ });
}"""


@pytest.mark.parametrize(("length", "shown"), [(40, [["restyle", [["◆", ""], ["", "▲"]]]]), (400, [])])
def test_numbers_that_are_larger_than_their_cells_are_left_to_the_colours(
    blank: Page, length: int, shown: list[Any]
) -> None:
    text = [["◆ 0.90", "0.10"], ["0.40", "▲ 0.60"]]
    heat = {"type": "heatmap", "z": [[1, 2], [3, 4]], "text": text, "texttemplate": "%{text}", "textfont": {"size": 24}}
    blank.evaluate(DRAW, [length, {"data": [heat], "layout": {"font": {}}}])
    drawn(blank, 1)
    blank.wait_for_timeout(50)
    assert calls(blank, "restyle") == shown


@pytest.mark.parametrize(("axes", "width"), [(2, None), (12, 96 * 11)])
def test_many_parallel_axes_scroll_on_a_narrow_page(blank: Page, axes: int, width: int | None) -> None:
    lines = {"type": "parcoords", "dimensions": [{"values": [1, 2]}] * axes}
    blank.evaluate(DRAW, [400, {"data": [lines], "layout": {"font": {}}}])
    drawn(blank, 1)
    assert calls(blank)[-1][1] == width
    scrolls = "place => [getComputedStyle(place).overflowX, place.tabIndex]"
    assert blank.locator(".lab-chart").evaluate(scrolls) == (["visible", -1] if width is None else ["auto", 0])


LATE_NEWS = """() => {
  const watch = window.IntersectionObserver;
  window.IntersectionObserver = class {
    constructor(act) { this.inner = new watch((entries) => act([{ isIntersecting: false }, ...entries])); }
    observe(place) { this.inner.observe(place); }
    disconnect() { this.inner.disconnect(); }
  };
}"""
"""As on a busy page: that the chart was out of sight and that it is in sight now are told at once."""


def test_of_several_changes_of_sight_the_latest_counts(blank: Page) -> None:
    blank.evaluate(LATE_NEWS)
    blank.evaluate("window.show()")
    drawn(blank, 1)


APPLY = """async ([script, cases]) => {
  const url = URL.createObjectURL(new Blob([script, "export { patched };"], { type: "text/javascript" }));
  const { patched } = await import(url);
  return cases.map(([old, patch]) => patched(old, patch));
}"""


def test_a_patch_makes_the_new_of_the_old_in_the_browser(blank: Page, patch_cases: list[tuple[Any, Any]]) -> None:
    script = (COMPONENTS / "patch.js").read_text(encoding="utf-8")
    asked = [[old, difference(old, new)] for old, new in patch_cases]
    assert blank.evaluate(APPLY, [script, [*asked, ["same", None]]]) == [*(new for _, new in patch_cases), "same"]


BASE = """async ([script, steps]) => {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const keep = (await import(url)).default;
  for (const [id, end] of steps) {
    const figure = { data: [], layout: { font: {}, xaxis: { range: [0, end] } } };
    keep({ data: new TextEncoder().encode(JSON.stringify({ id, figure })), parentElement: document.body });
  }
  return [...window.labBases.keys()];
}"""


def test_a_patch_waits_for_its_base_and_of_the_bases_the_last_two_are_kept(blank: Page) -> None:
    script = (COMPONENTS / "base.js").read_text(encoding="utf-8")
    patch = {"d": {"layout": {"d": {"xaxis": {"d": {"range": {"k": 1, "t": [20]}}, "x": []}}, "x": []}}, "x": []}
    blank.evaluate("(patch) => window.show({ base: 'b', patch })", patch)
    blank.wait_for_timeout(200)
    assert calls(blank) == []
    assert blank.evaluate(BASE, [script, [["a", 5], ["b", 10]]]) == ["a", "b"]
    drawn(blank, 1)
    assert calls(blank)[-1][2] == [0, 20]
    blank.evaluate("window.show({ base: 'b', patch: null })")
    drawn(blank, 2)
    assert calls(blank)[-1][2] == [0, 10], "the base itself is as it was"
    assert blank.evaluate(BASE, [script, [["b", 10], ["c", 11]]]) == ["b", "c"]
    assert blank.evaluate(BASE, [script, [["b", 10]]]) == ["b", "c"]
