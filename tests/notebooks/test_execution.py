"""Every lesson runs headless from top to bottom; its tasks are tried in tests/lesson/test_puzzles.py."""

import ast
import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CELL_SECONDS = 120
"""Longest time of one cell: many times what it takes, so that a busy machine is no failure."""
LESSON_SECONDS = 180
"""Longest time of a lesson: four times the 45 seconds that it may take on two idle cores, for the same reason."""

SHELL = Path(__file__).with_name("shell.py")
LARGE = bool(os.environ.get("LAB_LARGE"))
"""The long form: every lesson in a kernel of its own. Each kernel costs some five seconds for its imports."""
IN_KERNEL = ("05_memory",)
"""In a kernel always: its limit on memory counts what a fork brings along. The tour and the lesson on temperature run
in Jupyter Lab itself, in `test_browser.py`."""


@dataclass(frozen=True)
class Outcome:
    """A lesson that was run."""

    cells: list[NotebookNode]
    seconds: float
    pids: list[int]
    """Processes that the lesson started."""


def output_text(cell: NotebookNode) -> str:
    """All text that a code cell gave."""
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


def with_tag(cells: list[NotebookNode], tag: str) -> list[NotebookNode]:
    """The cells with this tag; at least one."""
    found = [cell for cell in cells if tag in cell.metadata.get("tags", [])]
    assert found, f"no cell has the tag {tag}"
    return found


def run_notebook(cells: list[NotebookNode], folder: Path) -> list[NotebookNode]:
    """Run cells from top to bottom in a fresh kernel whose working directory is `folder`; the executed cells.

    Raises:
        CellExecutionError: a cell raised.
    """
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}})
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client.execute(env={**os.environ, "PYTHONPATH": paths, "IPYTHONDIR": str(folder / ".ipython")})
    return list(notebook.cells)


def run_cells(cells: list[NotebookNode], folder: Path, forks: Callable[..., int], files: Path) -> list[NotebookNode]:
    """Run cells from top to bottom in a fork of a process that has imported what lessons use; the executed cells."""
    codes = [cell for cell in cells if cell.cell_type == "code"]
    sources = files / "sources.json"
    sources.write_text(json.dumps([cell.source for cell in codes]))
    status = forks(SHELL.read_text(encoding="utf-8"), files / "log", sources, folder, LESSON_SECONDS)
    outputs = json.loads((files / "outputs.json").read_text())
    assert not outputs[-1]["error"], f"cell {len(outputs)}:\n{codes[len(outputs) - 1].source}\n{outputs[-1]['error']}"
    assert (status, len(outputs)) == (0, len(codes)), (files / "log").read_text()
    for number, (cell, given) in enumerate(zip(codes, outputs, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", text=given["text"])]
    return cells


def ends(pid: int, seconds: float = 30.0) -> bool:
    """Whether the process is gone, or goes within `seconds`: it may still be writing its last checkpoint."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
    return True


def pids_cell() -> str:
    """A cell that names the processes which the kernel started through `start_run`."""
    return "import json\njson.dumps(sorted({v.pid for v in globals().values() if type(v).__name__ == 'RunHandle'}))"


@pytest.fixture(scope="session")
def outcome(lesson: Path, lesson_forks: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The lesson run once, as it stands: its tasks are not filled in."""
    cells = nbformat.read(lesson, as_version=4).cells
    last = nbformat.v4.new_code_cell(pids_cell())
    begin = time.monotonic()
    folder, files = tmp_path_factory.mktemp(lesson.stem), tmp_path_factory.mktemp("files")
    if LARGE or lesson.stem in IN_KERNEL:
        ran = run_notebook([*cells, last], folder)
    else:
        ran = run_cells([*cells, last], folder, lesson_forks, files)
    pids = ast.literal_eval(output_text(ran[-1]))
    return Outcome(
        cells=ran[:-1],
        seconds=time.monotonic() - begin,
        pids=json.loads(pids),
    )


def test_a_lesson_runs_from_top_to_bottom_in_its_time(outcome: Outcome) -> None:
    assert all(cell.execution_count for cell in outcome.cells if cell.cell_type == "code")
    assert outcome.seconds < LESSON_SECONDS


def test_a_lesson_asserts_what_it_claims(lesson: Path) -> None:
    sources = [cell.source for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == "code"]
    assert sum("with expect(" in source for source in sources) >= 1
    assert sum(bool(re.search(r"^assert not \w+\.ok", source, re.MULTILINE)) for source in sources) >= 1
    assert sum(bool(re.search(r"^assert \w+\.(ok|exact)", source, re.MULTILINE)) for source in sources) >= 1


def test_the_empty_exercise_is_not_tried_yet(outcome: Outcome) -> None:
    for cell in with_tag(outcome.cells, "check"):
        assert "○ not tried yet" in output_text(cell), cell.source


def test_a_lesson_leaves_no_process_behind(lesson: Path, outcome: Outcome) -> None:
    assert bool(outcome.pids) == ("start_run(" in lesson.read_text(encoding="utf-8"))
    assert all(ends(pid) for pid in outcome.pids)


@pytest.mark.large
def test_a_tour_that_is_broken_off_leaves_no_process_behind(tmp_path: Path) -> None:
    cells = nbformat.read(ROOT / "notebooks" / "00_tour.ipynb", as_version=4).cells
    number = next(n for n, cell in enumerate(cells) if "= start_run(" in cell.source)
    broken = nbformat.v4.new_code_cell("run.wait_ready()\nraise SystemError(f'pid={run.pid}')")
    with pytest.raises(CellExecutionError, match="SystemError") as caught:
        run_notebook([*cells[: number + 1], broken], tmp_path)
    found = re.search(r"pid=(\d+)", str(caught.value))
    assert found
    assert ends(int(found.group(1)))
