"""Lessons as a reader sees them in Jupyter Lab: a curve that advances, sliders, a prediction, a wrong answer."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from lab.lesson.notebook import needed_cells, read_cells

# The page gives up on the first widget at once, as it does on a slow machine: it hears none of that widget's messages.
SLOW_ONCE = """
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    let first = true;
    AbortSignal.timeout = (milliseconds) => {
        const now = first && milliseconds === 2000;
        if (now) first = false;
        return timeout(now ? 0 : milliseconds);
    };
"""
# Last step of any line in the first picture, -1 where there is none yet; long curves are thinned, so that the number of
# their points says less.
LAST_STEP = """() => {
    const plot = document.querySelector('.jp-OutputArea-output .js-plotly-plot');
    const last = line => line.x?.length ? line.x[line.x.length - 1] : -1;
    return plot && plot.data ? Math.max(-1, ...plot.data.map(last)) : -1;
}"""
# Largest number of marked mutations in any picture.
MARKS = """() => Math.max(
    ...[...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.layout?.shapes?.length || 0)
)"""
PROMPTS = "() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent)"
# Heights of the bars of one picture with bars, rounded.
BARS = """number => [...document.querySelectorAll('.js-plotly-plot')].filter(
    plot => plot.data?.[0]?.type === 'bar'
)[number].data.map(bars => Array.from(bars.y).map(height => Math.round(1000 * height)))"""
# Corners of the landscape, rounded.
LANDSCAPE = """() => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    const rows = plots.find(plot => plot.data?.[0]?.type === 'heatmap').data[0].z;
    return [rows[0], rows[rows.length - 1]].flatMap(row => [row[0], row[row.length - 1]])
        .map(z => Math.round(1000 * z));
}"""
# Whether every picture is as wide as its place.
FITS = """() => [...document.querySelectorAll('.js-plotly-plot')].every(
    plot => plot._fullLayout?.width === plot.clientWidth
)"""
# The same for at least half of them: the widget that the page has given up on is not heard of again.
HALF_FITS = """() => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    return 2 * plots.filter(plot => plot._fullLayout?.width === plot.clientWidth).length >= plots.length;
}"""


def cut(path: Path, keep: Callable[[int, str], bool]) -> None:
    """Take the code cells out of a lesson that a test does not need; `test_execution.py` runs them."""
    notebook = nbformat.read(path, as_version=4)
    numbered = enumerate(list(notebook.cells))
    notebook.cells = [cell for number, cell in numbered if cell.cell_type != "code" or keep(number, cell.source)]
    nbformat.write(notebook, path)


def watch(page: Page, enough: int, seconds: int) -> list[int]:
    """The last steps seen, each new one once, until `enough` differ."""
    seen: list[int] = []
    for _ in range(seconds * 5):
        step = page.evaluate(LAST_STEP)
        if step > 0 and (not seen or step != seen[-1]):
            seen.append(step)
        if len(seen) == enough:
            break
        page.wait_for_timeout(200)
    return seen


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_the_curve_of_the_tour_advances_in_jupyter_lab(server, open_lesson, tmp_path: Path) -> None:
    path = server.folder / "00_tour.ipynb"
    sources = [cell.source for cell in read_cells(path)]
    begin = next(number for number, source in enumerate(sources) if source.startswith("data = open_streams"))
    end = next(number for number, source in enumerate(sources) if "live.until(" in source)
    cut(path, lambda number, source: number <= begin or (number >= end and "run" in source))
    requests: list[str] = []

    def prepare(page: Page) -> None:
        page.set_viewport_size({"width": 1400, "height": 2000})
        page.add_init_script(SLOW_ONCE)
        page.on("request", lambda request: requests.append(request.url))

    lesson = open_lesson("00_tour", prepare)
    lesson.cell(lesson.number("data = open_streams")).locator(".cm-content").click()
    lesson.menu("Run All Above Selected Cell")
    seen = watch(lesson.page, enough=6, seconds=180)
    lesson.page.screenshot(path=tmp_path / "advancing.png")
    assert len(seen) == 6, f"last steps seen: {seen}"
    assert seen == sorted(seen)

    lesson.menu("Run Selected Cell and All Below")
    lesson.page.wait_for_function(f"({PROMPTS})().every(text => /\\[\\d+\\]/.test(text))", timeout=240_000)
    lesson.page.screenshot(path=tmp_path / "end.png")
    # A picture is drawn a moment after its cell has ended; this fails where none ever marks a mutation.
    lesson.page.wait_for_function(f"({MARKS})() >= 1")
    lesson.page.wait_for_function(HALF_FITS)
    lesson.require_sound()
    assert not [url for url in requests if not url.startswith((server.origin, "data:", "blob:"))]


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_the_sliders_of_the_lesson_on_temperature_move_their_pictures(server, open_lesson) -> None:
    path = server.folder / "07_gumbel_softmax.ipynb"
    cells = read_cells(path)
    dials = [number for number, cell in enumerate(cells) if cell.kind == "code" and "= Dial(" in cell.source]
    kept = {each for number in dials for each in [number, *needed_cells(cells, number)]}
    cut(path, lambda number, source: number in kept)
    lesson = open_lesson("07_gumbel_softmax", lambda page: page.set_viewport_size({"width": 1000, "height": 6000}))
    page = lesson.page
    lesson.menu("Run All Cells")
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .barlayer .bars').length >= 6")
    assert page.locator(".noUi-handle").count() == len(dials) == 4
    page.wait_for_function(FITS)
    ground, *bars = [number for number, cell in enumerate(lesson.cells) if "= Dial(" in cell.source]

    def changed_by(number: int, picture: str) -> None:
        before = page.evaluate(picture)
        lesson.slide(number, 8)
        page.wait_for_function(f"before => `${{({picture})()}}` !== `${{before}}`", arg=before)

    changed_by(ground, LANDSCAPE)
    before = [page.evaluate(BARS, place) for place in range(3)]
    for place, number in enumerate(bars):
        changed_by(number, f"() => ({BARS})({place})")
    after = [page.evaluate(BARS, place) for place in range(3)]
    assert after[0][0] != before[0][0], "what the temperature asks for"
    assert after[0][1] == before[0][1], "draws that divide last do not hear the slider"
    assert after[1][0] != before[1][0]
    assert after[1][1] != before[1][1], "draws that divide alpha do"
    lesson.require_sound()


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_a_student_predicts_answers_wrong_and_then_right(open_lesson, tmp_path: Path) -> None:
    lesson = open_lesson("00b_autograd")
    question, answer = (lesson.number(text) for text in ('predict("What does backward do?"', "modified by an inplace"))
    for number in range(question + 1):
        lesson.run(number)
    assert lesson.choose(question, 2) == "an error"
    lesson.run(answer)
    expect(lesson.output(answer)).to_contain_text("as predicted: an error")
    picture = lesson.number("whole = draw_graph")
    lesson.run(picture)
    expect(lesson.output(picture).locator(".annotation-text", has_text="Exp").first).to_be_visible()
    # Drawn before it has a place; it takes the width of the page a moment later, and follows that of the window.
    for width in (1000, 1400):
        lesson.page.set_viewport_size({"width": width, "height": 1400})
        lesson.page.wait_for_function(FITS)
    titles = "all => all.map(each => each.getAttribute('data-title'))"
    buttons = lesson.output(picture).locator(".modebar-btn").evaluate_all(titles)
    assert "Zoom" in buttons
    assert not [name for name in buttons if "Share" in name], "a picture stays on this machine"

    stub, check = lesson.number("def gradient(w, x)"), lesson.number("puzzles.CHAIN_RULE.check(gradient)")
    lesson.write(stub, "def gradient(w, x): return (w * x).exp() ** 2 * x")
    lesson.run(check)
    expect(lesson.output(check)).to_contain_text("the factor 2 of the square is missing")
    expect(lesson.output(check).locator(".scatterlayer .trace")).to_have_count(2)
    lesson.page.screenshot(path=tmp_path / "wrong.png")
    lesson.write(stub, "def gradient(w, x):\n    e = (w * x).exp()\n    return 2 * e * e * x")
    lesson.run(check)
    expect(lesson.output(check)).to_contain_text("ok: every check is green")
    lesson.require_sound()
