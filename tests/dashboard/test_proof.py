"""The proof, the images, the layers, the question to the class: on runs that a test wrote."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from lab.cli.serve import dashboard_server, free_port
from lab.store import ImagesEvent, LayersEvent, PredictionsEvent, ProofEvent

CLASSES = [f"class {number}" for number in range(10)]
SECONDS = 120_000
"""Milliseconds that anything may take on a busy machine."""


def picture(shade: int) -> str:
    """A grey picture of 8x8 pixels."""
    target = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(target, "WEBP", lossless=True)
    return base64.b64encode(target.getvalue()).decode()


def images_event(**fields: Any) -> ImagesEvent:
    labels = [place % 10 for place in range(40)]
    pictures = [picture(6 * place) for place in range(40)]
    made = ImagesEvent(samples=list(range(40)), labels=labels, classes=CLASSES, images=pictures)
    return replace(made, **fields)


def predictions_event(wrong: int) -> PredictionsEvent:
    """A reading in which the first so many samples are wrong; made-up numbers."""
    right = [place >= wrong for place in range(40)]
    predicted = [(place + (place < wrong)) % 10 for place in range(40)]
    outputs = [[0.91 if column == place else 0.01 for column in range(10)] for place in range(10)]
    confusion = [[20 if row == column else int(column == row + 1) for column in range(10)] for row in range(10)]
    return PredictionsEvent(
        samples=list(range(40)),
        right=right,
        predicted=predicted,
        confidence=[0.91] * 40,
        columns=list(range(10)),
        outputs=outputs,
        confused=list(range(10)),
        confusion=confusion,
    )


def proof_event(**fields: Any) -> ProofEvent:
    rows = [[0.73 if column == place else 0.03 for column in range(10)] for place in range(10)]
    made = ProofEvent(
        what="mutation",
        number=1,
        title="cell 0->2: nor_conv_3x3 -> skip_connect",
        samples=list(range(10)),
        labels=list(range(10)),
        columns=list(range(10)),
        before=rows,
        after=rows,
        difference=2e-7,
        moved=6e-8,
        same=93,
        outputs=100,
        exact=True,
    )
    return replace(made, **fields)


def layers_event(scale: float) -> LayersEvent:
    return LayersEvent(layers=["stem", "cells.0", "head"], gradient=[scale, 1.0, None], ratio=[1e-3, scale, None])


def write(run: Any) -> None:
    """A search whose mutation is proven and not decided yet."""
    run.record(0, images_event())
    run.record(0, layers_event(0.1))
    run.search()
    run.record(30, predictions_event(9))
    run.record(30, proof_event())
    run.record(30, layers_event(0.01))
    run.record(30, predictions_event(6))
    run.run.scalars(30, {"beta": 0.25})
    run.run.flush()


def test_the_proof_is_drawn_with_its_pictures_and_what_the_network_says_now(
    page: Any, recorder: Callable[..., Any]
) -> None:
    write(recorder())
    page.open()
    chart = page.charts["proof"]
    assert len(chart["data"]) == 3
    assert len(chart["layout"]["images"]) == 10
    assert page.values("proof", 1) == [-height for height in page.values("proof", 0)]
    assert "The proof: Mutation 1 at step 30" in page.text
    assert "93 of 100 outputs have the same bits" in page.text
    assert "2.0e-07" in chart["label"]


def test_images_confusion_and_layers_are_drawn(page: Any, recorder: Callable[..., Any]) -> None:
    write(recorder())
    page.open()
    assert {"images", "confusion", "layers"} <= page.charts.keys()
    assert "34 of 40 right; 3 ▲ turned from wrong to right" in page.text
    assert len(page.charts["images"]["layout"]["images"]) == 40


def test_a_run_of_an_earlier_version_has_no_images_and_says_nothing_wrong(
    page: Any, recorder: Callable[..., Any]
) -> None:
    recorder().search()
    page.open()
    assert not {"images", "confusion", "layers"} & page.charts.keys()
    assert "stored no proofs of its changes" in page.charts["proof"]["layout"]["annotations"][0]["text"]


def test_samples_that_are_no_images_are_a_table_with_the_reason(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder(recipe="text")
    note = "This run reads sentences, which are no images."
    run.record(0, images_event(images=[], texts=[f"sentence {place}" for place in range(40)], note=note))
    run.steps(0, 3)
    run.record(2, PredictionsEvent(samples=[0, 1], right=[True, False]))
    page.open()
    assert note in page.text
    assert "1 of 2 right" in page.text
    assert "images" not in page.charts


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, recorder_class: type[Any]) -> Iterator[tuple[str, Any]]:
    """A page over one run, and who writes the run."""
    root = tmp_path_factory.mktemp("proof") / "runs"
    run = recorder_class(root, "run")
    write(run)
    with dashboard_server(free_port(), root) as address:
        yield address, run
    run.run.finish()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Its pages share the files that one of them has loaded."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield context
    context.close()


@pytest.fixture
def shown(context: BrowserContext, pages: tuple[str, Any]) -> Iterator[Page]:
    """The page, of which nothing may go to another host or end up in the console."""
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    # A page that follows asks for news at each tick; one that stands still sends nothing by itself.
    page.goto(f"{pages[0]}/?run=run&follow=false&ask=true")
    yield page
    page.close()
    assert errors == []


@pytest.mark.browser
def test_bars_and_pictures_are_seen(shown: Page) -> None:
    for key, count in (("proof", 10), ("images", 40)):
        chart = shown.locator(f".st-key-figure_{key} .lab-chart")
        chart.scroll_into_view_if_needed()
        expect(chart.locator("g.layer-above image, g.layer-below image, .imagelayer image, image")).to_have_count(count)
    heights = shown.locator(".st-key-figure_proof .lab-chart").evaluate(
        "place => place.data.slice(0, 2).map(bars => [...bars.y].map(Math.abs))"
    )
    assert heights[0] == heights[1]


@pytest.mark.browser
def test_answers_are_counted_in_the_browser_alone_and_the_outcome_is_revealed(
    shown: Page, pages: tuple[str, Any], rejection: Any
) -> None:
    kept, back = (shown.get_by_role("button", name=name) for name in ("Kept:", "Taken back:"))
    kept.scroll_into_view_if_needed()
    expect(shown.get_by_text("Not decided yet")).to_be_visible()
    expect(shown.get_by_role("button", name="Reveal")).to_be_hidden()
    shown.evaluate(
        """() => { window.sent = 0; for (const kind of [WebSocket, XMLHttpRequest]) {
          const send = kind.prototype.send;
          kind.prototype.send = function (...all) { window.sent += 1; return send.apply(this, all); }; } }"""
    )
    for _ in range(2):
        kept.click()
    back.click()
    expect(kept).to_have_text("Kept: 2")
    expect(back).to_have_text("Taken back: 1")
    shown.wait_for_timeout(1_000)
    assert shown.evaluate("window.sent") == 0
    pages[1].record(31, rejection)
    shown.get_by_text("Follow", exact=True).click()
    expect(shown.get_by_text("an outcome is held back").first).to_be_visible()
    expect(shown.get_by_role("button", name="Reveal")).to_be_visible()
    assert "rejected" not in shown.locator("body").inner_text()
    shown.get_by_role("button", name="Reveal").click()
    expect(shown.get_by_text("It was taken back. 1 of 3 answers were right.")).to_be_visible()
    # The page, too, shows it from now on.
    expect(shown.get_by_text("Mutation 1 at step 20: ✘ rejected")).to_be_visible()
    expect(kept).to_be_disabled()
    expect(kept).to_have_text("Kept: 2")
