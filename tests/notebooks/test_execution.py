"""Every lesson runs headless from top to bottom, and an exercise that it checks itself tells right from wrong."""

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

# Two typical wrong answers to the exercise of a lesson that writes its check itself, and what that says of each. The
# tasks of `lab.lesson.puzzles` have theirs in tests/lesson/test_puzzles.py, without a kernel.
WRONG = {
    "06_checkpoints": {
        "def snapshot(net, optimizer, scheduler):\n    return copy.deepcopy({'net': net.state_dict(), "
        "'optimizer': optimizer.state_dict(), 'scheduler': scheduler.state_dict()})": "it has 3 items; wanted 4",
        "def snapshot(net, optimizer, scheduler):\n    parts = {'net': net.state_dict(), "
        "'optimizer': optimizer.state_dict(), 'scheduler': scheduler.state_dict()}\n"
        "    return {**parts, 'rng': torch.get_rng_state()}": "loss of the first step",
        "def snapshot(net, optimizer, scheduler):\n    state = {'net': copy.deepcopy(net.state_dict()), "
        "'optimizer': optimizer.state_dict(), 'scheduler': scheduler.state_dict()}\n"
        "    return {**state, 'rng': torch.get_rng_state()}": "all five losses",
    },
    "07_gumbel_softmax": {
        "def next_temperature(temperature, better, epoch, epochs):\n"
        "    return max(temperature * 0.98, 0.1) if better else min(temperature * 1.05, 5.0)": "one epoch",
        "def next_temperature(temperature, better, epoch, epochs):\n    p = epoch / epochs\n"
        "    moved = temperature * 0.98 if better else temperature / 0.98\n"
        "    return max(0.1, min(moved, 5.0 * (1 - p) + 0.1 * p))": "never better, 40 epochs",
        "def next_temperature(temperature, better, epoch, epochs):\n    p = epoch / max(epochs - 1, 1)\n"
        "    moved = temperature * 0.98 if better else temperature / 0.98\n"
        "    return max(0.1, min(moved, 5.0 * (1 - p) + 0.1 * p))": "got 4.9, wanted 0.1",
    },
    "08_phases_and_table": {
        "def expected(validation, test, n):\n    ranked = [a for _, a in sorted(zip(validation, test, strict=True))]\n"
        "    size = len(ranked)\n    chances = [((m + 1) / size) ** n - (m / size) ** n for m in range(size)]\n"
        "    return sum(p * a for p, a in zip(chances, ranked, strict=True))": "6 of 6 cells",
        "def expected(validation, test, n):\n    from math import comb\n\n    ranked = sorted(test)\n"
        "    return sum(comb(m, n - 1) * a for m, a in enumerate(ranked)) / comb(len(ranked), n)": "2 of 6 cells",
        "def expected(validation, test, n):\n    return sum(test) / len(test)": "2 of 6 cells",
        "def expected(validation, test, n):\n    draws = [random.sample(range(len(test)), n) for _ in range(2000)]\n"
        "    winners = [max(draw, key=lambda i: validation[i]) for draw in draws]\n"
        "    return statistics.fmean(test[i] for i in winners)": "off by 0.0",
    },
    "09_stability": {
        "def lost(accuracies):\n    return max(0.0, (accuracies[0] - accuracies[-1]) / accuracies[0])": "0.666667",
        "def lost(accuracies):\n    if any(math.isnan(value) for value in accuracies[-3:]):\n        return 1.0\n"
        "    return (max(accuracies) - accuracies[-1]) / max(accuracies)": "one lucky epoch",
        "def lost(accuracies):\n    if any(math.isnan(value) for value in accuracies[-3:]):\n        return 1.0\n"
        "    levels = [sum(accuracies[i : i + 3]) / 3 for i in range(len(accuracies) - 2)]\n"
        "    return (max(levels) - levels[-1]) / max(levels)": "one bad epoch",
        "def lost(accuracies):\n    if math.isnan(accuracies[-1]):\n        return 1.0\n"
        "    levels = [sorted(accuracies[i : i + 3])[1] for i in range(len(accuracies) - 2)]\n"
        "    return (max(levels) - levels[-1]) / max(levels)": "NaN just once",
    },
    "10_router_and_experts": {
        "def your_balance(probabilities, chosen):\n    mean = probabilities.mean(dim=0)\n"
        "    return len(mean) * (mean * mean).sum()": "a random gate",
        "def your_balance(probabilities, chosen):\n    experts = probabilities.shape[1]\n"
        "    share = torch.bincount(chosen.flatten(), minlength=experts) / len(chosen)\n"
        "    return experts * (share * probabilities.mean(dim=0)).sum()": "a random gate",
        "def your_balance(probabilities, chosen):\n    experts = probabilities.shape[1]\n"
        "    share = torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()\n"
        "    return (share * probabilities.mean(dim=0)).mean()": "even load",
        "def your_balance(probabilities, chosen):\n    experts = probabilities.shape[1]\n"
        "    share = torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()\n"
        "    loss = experts * (share * probabilities.detach().mean(dim=0)).sum()\n"
        "    return loss + 0 * probabilities.sum()": "its gradient",
    },
}


@dataclass(frozen=True)
class Outcome:
    """A lesson that was run, and what its exercise said to other answers."""

    cells: list[NotebookNode]
    seconds: float
    attempts: dict[str, str]
    """Answer -> text of the attempt."""
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


def solution_of(cells: list[NotebookNode]) -> str:
    """The code inside the folded solution."""
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = re.search(r"<details>.*?```python\n(.*?)```.*?</details>", text, re.DOTALL)
    assert found, "no folded solution with a python block"
    return found.group(1)


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


def judge(answer: str) -> str:
    """A cell that gives `answer` to the lesson's exercise, beside the notebook's own names."""
    name = re.match(r"def (\w+)", answer)
    assert name, f"no function: {answer}"
    return f"exec({answer!r}, own := dict(globals()))\nstr(exercise.check(own[{name.group(1)!r}]))"


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
    """The lesson run once, its exercise then given every wrong answer and the solution."""
    cells = nbformat.read(lesson, as_version=4).cells
    answers = [*WRONG[lesson.stem], solution_of(cells)] if lesson.stem in WRONG else []
    extra = [nbformat.v4.new_code_cell(source) for source in (*map(judge, answers), pids_cell())]
    begin = time.monotonic()
    folder, files = tmp_path_factory.mktemp(lesson.stem), tmp_path_factory.mktemp("files")
    if LARGE or lesson.stem in IN_KERNEL:
        ran = run_notebook([*cells, *extra], folder)
    else:
        ran = run_cells([*cells, *extra], folder, lesson_forks, files)
    *judged, pids = [ast.literal_eval(output_text(cell)) for cell in ran[len(cells) :]]
    return Outcome(
        cells=ran[: len(cells)],
        seconds=time.monotonic() - begin,
        attempts=dict(zip(answers, judged, strict=True)),
        pids=json.loads(pids),
    )


def test_a_check_that_a_lesson_writes_itself_has_wrong_answers(lesson: Path) -> None:
    own = "Exercise(" in lesson.read_text(encoding="utf-8")
    assert own == (lesson.stem in WRONG)
    assert len(WRONG.get(lesson.stem, ())) != 1


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


def test_the_wrong_answers_are_told_how_far_off_they_are(lesson: Path, outcome: Outcome) -> None:
    for answer, says in WRONG.get(lesson.stem, {}).items():
        text = outcome.attempts[answer]
        assert "✗ not yet" in text, answer
        off = [part for part in text.split("Check: ") if "✗ off" in part]
        assert any(says in part for part in off), text


def test_the_folded_solution_is_right(outcome: Outcome) -> None:
    for solution in list(outcome.attempts.values())[-1:]:
        assert "✓ ok" in solution, solution


def test_a_lesson_leaves_no_process_behind(lesson: Path, outcome: Outcome) -> None:
    assert bool(outcome.pids) == ("start_run(" in lesson.read_text(encoding="utf-8"))
    assert all(ends(pid) for pid in outcome.pids)


def test_a_tour_that_is_broken_off_leaves_no_process_behind(tmp_path: Path) -> None:
    cells = nbformat.read(ROOT / "notebooks" / "00_tour.ipynb", as_version=4).cells
    number = next(n for n, cell in enumerate(cells) if "= start_run(" in cell.source)
    broken = nbformat.v4.new_code_cell("run.wait_ready()\nraise SystemError(f'pid={run.pid}')")
    with pytest.raises(CellExecutionError, match="SystemError") as caught:
        run_notebook([*cells[: number + 1], broken], tmp_path)
    found = re.search(r"pid=(\d+)", str(caught.value))
    assert found
    assert ends(int(found.group(1)))
