"""The tour as a reader sees it: Jupyter Lab in a browser, the curve advancing while the run trains."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
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


@dataclass(frozen=True)
class Server:
    """A Jupyter server that this test started."""

    port: int
    token: str
    folder: Path
    pid: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            assert process.poll() is None, "Jupyter Lab ended before it answered"
            assert time.monotonic() < deadline, f"Jupyter Lab did not answer within {seconds} s"
            time.sleep(0.2)


def without_surgery(path: Path) -> None:
    """The tour without the cells between its data and the run's end, which `test_execution.py` runs."""
    tour = nbformat.read(path, as_version=4)
    sources = [cell.source for cell in tour.cells]
    begin = next(number for number, source in enumerate(sources) if source.startswith("data = open_streams"))
    end = next(number for number, source in enumerate(sources) if "live.until(" in source)
    tour.cells = [*tour.cells[: begin + 1], *[cell for cell in tour.cells[end:] if "run" in cell.source]]
    nbformat.write(tour, path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`lab lessons` on a free port, with the lessons in a folder of its own; ended afterwards."""
    tmp_path = tmp_path_factory.mktemp("jupyter")
    folder, home = tmp_path / "lessons", tmp_path / "home"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "runs"))
    without_surgery(folder / "00_tour.ipynb")
    port, token = free_port(), os.urandom(16).hex()
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "PYTHONPATH": paths,
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    command = [sys.executable, "-m", "lab", "lessons", "--no-browser", f"--port={port}", f"--folder={folder}"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", process, 90)
        yield Server(port=port, token=token, folder=folder, pid=process.pid)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in psutil.wait_procs(children, timeout=10)[1]:
            child.kill()


def watch(page: Page, enough: int, seconds: float) -> list[int]:
    """The last steps seen, each new one once, until `enough` differ."""
    seen: list[int] = []
    deadline = time.monotonic() + seconds
    while len(seen) < enough and time.monotonic() < deadline:
        step = page.evaluate(LAST_STEP)
        if step > 0 and (not seen or step != seen[-1]):
            seen.append(step)
        page.wait_for_timeout(200)
    return seen


def run_menu(page: Page, item: str) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_the_curve_of_the_tour_advances_in_jupyter_lab(chromium: Path, server: Server, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 2000})
        page.add_init_script(SLOW_ONCE)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{server.origin}/lab/tree/00_tour.ipynb?reset&token={server.token}")
        page.locator(".jp-Notebook h1", has_text="00 Tour").wait_for(timeout=90_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=90_000)

        after_picture = page.locator(".jp-CodeCell", has_text="data = open_streams").first
        after_picture.locator(".cm-content").click()
        run_menu(page, "Run All Above Selected Cell")
        seen = watch(page, enough=6, seconds=180)
        page.screenshot(path=tmp_path / "advancing.png")
        assert len(seen) == 6, f"last steps seen: {seen}"
        assert seen == sorted(seen)

        run_menu(page, "Run Selected Cell and All Below")
        page.wait_for_function(f"({PROMPTS})().every(text => /\\[\\d+\\]/.test(text))", timeout=240_000)
        page.screenshot(path=tmp_path / "end.png")
        # A picture is drawn a moment after its cell has ended; this fails where none ever marks a mutation.
        page.wait_for_function(f"({MARKS})() >= 1", timeout=60_000)
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        foreign = [url for url in requests if not url.startswith((server.origin, "data:", "blob:"))]
        assert not foreign
        browser.close()


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


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_the_sliders_of_the_lesson_on_temperature_move_their_pictures(chromium: Path, server: Server) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 9000})
        page.goto(f"{server.origin}/lab/tree/07_gumbel_softmax.ipynb?reset&token={server.token}")
        page.locator(".jp-Notebook h1", has_text="07 Gumbel").wait_for(timeout=90_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=90_000)
        run_menu(page, "Run All Cells")
        page.wait_for_function(
            "document.querySelectorAll('.js-plotly-plot .barlayer .bars').length >= 6", timeout=180_000
        )
        handles = page.locator(".noUi-handle")
        assert handles.count() == 4
        flat = page.evaluate(LANDSCAPE)
        handles.first.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        page.wait_for_function(f"before => `${{({LANDSCAPE})()}}` !== `${{before}}`", arg=flat, timeout=60_000)
        before = [page.evaluate(BARS, number) for number in range(3)]
        for number in range(3):
            handles.nth(number + 1).focus()
            for _ in range(8):
                page.keyboard.press("ArrowLeft")
            page.wait_for_function(
                f"before => `${{({BARS})({number})}}` !== `${{before}}`", arg=before[number], timeout=60_000
            )
        after = [page.evaluate(BARS, number) for number in range(3)]
        assert after[0][0] != before[0][0], "what the temperature asks for"
        assert after[0][1] == before[0][1], "draws that divide last do not hear the slider"
        assert after[1][0] != before[1][0]
        assert after[1][1] != before[1][1], "draws that divide alpha do"
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        browser.close()


def cell_with(page: Page, text: str) -> Locator:
    """The first code cell that holds `text`."""
    return page.locator(".jp-CodeCell", has_text=text).first


def run_one(page: Page, cell: Locator) -> None:
    """Run a cell as a reader does, and wait until it has ended."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    handle = cell.locator(".jp-InputPrompt").first
    expect(handle).to_have_text(re.compile(r"\[\d+\]"), timeout=120_000)


def write(page: Page, cell: Locator, source: str) -> None:
    """Put `source` in place of what a cell holds, and run it."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
    run_one(page, cell)


@pytest.mark.browser
@pytest.mark.timeout(500)
def test_a_student_predicts_answers_wrong_and_then_right(chromium: Path, server: Server, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 12000})
        page.goto(f"{server.origin}/lab/tree/00b_autograd.ipynb?reset&token={server.token}")
        page.locator(".jp-Notebook h1", has_text="00b Autograd").wait_for(timeout=90_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=90_000)
        question = cell_with(page, 'predict("What does backward do?"')
        for text in ("import torch", "def program", 'predict("What does backward do?"'):
            run_one(page, cell_with(page, text))
        question.get_by_text("an error", exact=True).last.click()
        answer = cell_with(page, "modified by an inplace operation")
        run_one(page, answer)
        expect(answer.locator(".jp-OutputArea")).to_contain_text("as predicted: an error")
        run_one(page, cell_with(page, "whole = draw_graph"))
        page.locator(".js-plotly-plot .annotation-text", has_text="Exp").first.wait_for(timeout=60_000)

        stub, check = cell_with(page, "def gradient(w, x)"), cell_with(page, "puzzles.CHAIN_RULE.check(gradient)")
        write(page, stub, "def gradient(w, x): return (w * x).exp() ** 2 * x")
        run_one(page, check)
        expect(check.locator(".jp-OutputArea")).to_contain_text("the factor 2 of the square is missing")
        check.locator(".js-plotly-plot .scatterlayer .trace").nth(1).wait_for(timeout=60_000)
        page.screenshot(path=tmp_path / "wrong.png")
        write(page, stub, "def gradient(w, x): return 2 * (w * x).exp() ** 2 * x")
        run_one(page, check)
        expect(check.locator(".jp-OutputArea")).to_contain_text("ok: every check is green")
        wide = page.evaluate("document.querySelector('.jp-Notebook').scrollWidth - window.innerWidth")
        assert wide <= 0, "reports break at 1000 px"
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        browser.close()
