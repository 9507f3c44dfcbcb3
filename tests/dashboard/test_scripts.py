"""The scripts of the page's parts: one message has them all, what is drawn again and again has a call of a line."""

from collections.abc import Callable
from typing import Any

import pytest
from components.scripts import CALL, PARTS, all_parts
from playwright.sync_api import Browser

LOADED_ONCE = {"lab_scripts", "lab_plotly", "lab_clock"}
"""Components that stand outside the live part, or never change."""


def test_no_tick_sends_a_script(page: Any, recorder: Callable[..., Any]) -> None:
    recorder().search()
    page.open()
    found = {each.proto.component_name: each.proto for each in page.app.get("bidi_component")}
    assert {"lab_chart", "lab_slider", "lab_base", "lab_tick", *LOADED_ONCE} <= set(found)
    for name in found.keys() - LOADED_ONCE:
        assert len(found[name].js_content) < 300, name
        assert found[name].css_content == "", name
    assert len(found["lab_scripts"].js_content) > 10_000


def test_the_wall_and_the_question_are_calls_too() -> None:
    script = all_parts()
    for name in PARTS:
        assert script.count(f"window.labParts.{name} = function") == 1
    assert "export default function (" not in script.replace("export default function () {}", "")


USE = """async ([parts, call]) => {
  const load = async (script) => {
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    return (await import(url)).default;
  };
  const chart = await load(call);
  const place = document.body.appendChild(document.createElement("div"));
  const texts = { figure: '{"data":[],"layout":{"font":{}}}', base: "", view: "", label: "a", waiting: "soon" };
  const data = { ...texts, height: 90 };
  const dropped = document.createElement("div");
  chart({ data, parentElement: dropped })();
  const end = chart({ data, parentElement: place });
  const before = place.children.length;
  await load(parts);
  await new Promise((done) => setTimeout(done, 200));
  const after = place.textContent;
  const ended = dropped.children.length;
  place.remove();
  end();
  return [before, after, ended];
}"""


@pytest.mark.browser
def test_a_call_waits_for_its_part_and_a_call_that_has_ended_does_not_come_back(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate(USE, [all_parts(), CALL.replace("NAME", "chart")]) == [0, "soon", 0]
    page.close()
