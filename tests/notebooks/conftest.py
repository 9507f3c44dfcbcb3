"""Which lessons there are, and Jupyter Lab as a reader has it: one server and one browser for all tests of a file."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import psutil
import pytest
from nbformat import NotebookNode

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
SECONDS = 120
"""Longest time of one cell, of a page to come up, or of anything else to show, on a machine that does much else."""
ERROR = "[data-mime-type='application/vnd.jupyter.error']"
STDERR = "[data-mime-type='application/vnd.jupyter.stderr']"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `lesson` runs once for each notebook."""
    if "lesson" in metafunc.fixturenames:
        found = sorted(FOLDER.glob("*.ipynb"))
        metafunc.parametrize("lesson", found, ids=[path.stem for path in found], scope="session")


@dataclass(frozen=True)
class Server:
    """A Jupyter server that this test started, on a copy of the lessons in `folder`."""

    port: int
    token: str
    folder: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET") -> bytes:
        """What the server answers."""
        request = urllib.request.Request(f"{self.origin}{path}?token={self.token}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def end_kernels(self) -> None:
        """End all kernels, so that none goes on computing beside the next test."""
        for kernel in json.loads(self.ask("/api/kernels")):
            self.ask(f"/api/kernels/{kernel['id']}", "DELETE")


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`lab lessons` on a free port, with the lessons in a folder of its own; ended afterwards."""
    tmp_path = tmp_path_factory.mktemp("jupyter")
    folder, home = tmp_path / "lessons", tmp_path / "home"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "runs"))
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
        wait_for(f"http://127.0.0.1:{port}/api", process, SECONDS)
        yield Server(port=port, token=token, folder=folder)
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


@pytest.fixture(scope="module")
def context(chromium: Path) -> "Iterator[BrowserContext]":
    """A browser whose pages share what one of them has loaded."""
    # The other tests of this folder need no browser.
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        context = browser.new_context()
        context.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        yield context
        browser.close()


@dataclass(frozen=True)
class LessonPage:
    """A lesson that is open in Jupyter Lab, and what a reader does with it. Code cells are counted from 0."""

    page: "Page"
    cells: tuple[NotebookNode, ...]
    """The code cells of the file."""

    def number(self, text: str) -> int:
        """Of the first code cell that holds `text`."""
        return next(number for number, cell in enumerate(self.cells) if text in cell.source)

    def cell(self, number: int) -> "Locator":
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number: int) -> "Locator":
        return self.cell(number).locator(".jp-OutputArea").first

    def run(self, number: int) -> None:
        """Run a cell as a reader does, and wait until it has ended."""
        from playwright.sync_api import expect

        prompt = self.cell(number).locator(".jp-InputPrompt").first
        before = prompt.inner_text()
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]"))

    def write(self, number: int, source: str) -> None:
        """Put `source` in place of what a cell holds, and run it."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)
        self.run(number)

    def menu(self, item: str) -> None:
        """Choose an item of the menu Run."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def choose(self, number: int, option: int = 0) -> str:
        """Choose an option of the prediction that a cell asks for; its words."""
        choice = self.output(number).locator(".widget-radio-box label").nth(option)
        choice.locator("input").check()
        return choice.inner_text().strip()

    def slide(self, number: int, steps: int) -> None:
        """Move the slider below a cell to the left."""
        self.output(number).locator(".noUi-handle").first.focus()
        for _ in range(steps):
            self.page.keyboard.press("ArrowLeft")

    def require_sound(self) -> None:
        """No cell has raised or written to the error stream, and nothing is wider than the page."""
        assert self.page.locator(ERROR).count() == 0
        assert self.page.locator(STDERR).count() == 0
        wide = self.page.evaluate("document.querySelector('.jp-Notebook').scrollWidth - window.innerWidth")
        assert wide <= 0, f"reports are {wide} pixels wider than the page"


@pytest.fixture
def open_lesson(server: Server, context: "BrowserContext") -> Iterator[Callable[..., LessonPage]]:
    """Opens a lesson of the server's folder in a page of its own, with a kernel that is ready."""
    pages: list[Page] = []

    def open_page(name: str, prepare: "Callable[[Page], None]" = lambda page: None) -> LessonPage:
        # A context of its own for each lesson: nothing of the page before is left.
        pages.append(context.browser.new_context().new_page())
        page = pages[-1]
        page.set_default_timeout(SECONDS * 1000)
        page.set_viewport_size({"width": 1000, "height": 1400})
        prepare(page)
        page.goto(f"{server.origin}/lab/tree/{name}.ipynb?reset&token={server.token}")
        page.locator(".jp-Notebook h1").first.wait_for()
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
        cells = nbformat.read(server.folder / f"{name}.ipynb", as_version=4).cells
        return LessonPage(page=page, cells=tuple(cell for cell in cells if cell.cell_type == "code"))

    yield open_page
    for page in pages:
        page.close()
    server.end_kernels()
