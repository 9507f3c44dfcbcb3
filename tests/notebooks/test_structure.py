"""The shape of every lesson: eight steps, short cells, a claim before each, nothing stored but the source."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

STEPS = (
    "What you will be able to do",
    "Set-up",
    "Break it",
    "Look",
    "Why",
    "The documented fix, tried",
    "The fix that holds",
    "Try it yourself",
)
LINES = 20
BYTES = 100_000


def headings(cells: list[NotebookNode]) -> list[str]:
    """Texts of the second-level headings, in order; lines of code in a fence are none."""
    prose = [re.sub(r"```.*?```", "", c.source, flags=re.DOTALL) for c in cells if c.cell_type == "markdown"]
    return re.findall(r"^## (.+?)\s*$", "\n".join(prose), re.MULTILINE)


def claim(cell: NotebookNode) -> str:
    """The prose of a markdown cell without headings and lists."""
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith(("#", "- "))]
    return " ".join(lines) if cell.cell_type == "markdown" else ""


def violations(notebook: NotebookNode, size: int) -> list[str]:
    """What of a lesson's shape does not hold."""
    cells = notebook.cells
    found = []
    if tuple(headings(cells)) != STEPS:
        found.append(f"headings {headings(cells)}")
    if size >= BYTES:
        found.append(f"{size} bytes")
    if "widgets" in notebook.metadata:
        found.append("stored widgets")
    for number, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        if len(cell.source.splitlines()) > LINES:
            found.append(f"cell {number}: {len(cell.source.splitlines())} lines")
        if cell.outputs or cell.execution_count is not None:
            found.append(f"cell {number}: stored outputs")
        if not cell.source.strip():
            found.append(f"cell {number}: empty")
        if number == 0 or not re.search(r"[.:?!]", claim(cells[number - 1])):
            found.append(f"cell {number}: no claim before it")
    return found


def test_a_lesson_has_its_shape(lesson: Path) -> None:
    found = violations(nbformat.read(lesson, as_version=4), lesson.stat().st_size)
    assert not found, "\n".join(found)


def test_a_lesson_is_a_valid_notebook_for_python(lesson: Path) -> None:
    notebook = nbformat.read(lesson, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_table_of_contents_names_every_lesson_and_nothing_else(lesson: Path) -> None:
    folder = lesson.parent
    linked = re.findall(r"\]\(([^)]+\.ipynb)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert linked == sorted(path.name for path in folder.glob("*.ipynb"))


def test_the_minutes_of_a_lesson_are_in_the_table_and_in_the_lesson(lesson: Path) -> None:
    table = (lesson.parent / "README.md").read_text(encoding="utf-8")
    row = next(line for line in table.splitlines() if f"({lesson.name})" in line)
    minutes = int(row.split("|")[2])
    words = {5: "five", 10: "ten", 15: "fifteen", 20: "twenty"}
    first = nbformat.read(lesson, as_version=4).cells[0].source
    assert f"{words[minutes]} minutes" in first


def markdown(text: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def code(text: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(text)


@pytest.fixture
def sound() -> NotebookNode:
    """The least notebook that has the shape."""
    cells = [cell for step in STEPS for cell in (markdown(f"## {step}\n\nOne is one."), code("assert 1 == 1"))]
    return nbformat.v4.new_notebook(cells=cells)


def test_the_rule_accepts_a_sound_lesson(sound: NotebookNode) -> None:
    assert violations(sound, 1000) == []


def test_the_rule_sees_each_fault(sound: NotebookNode) -> None:
    def faults(change) -> list[str]:
        notebook = nbformat.from_dict(sound)
        change(notebook)
        return violations(notebook, 1000)

    def output(notebook: NotebookNode) -> None:
        notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="1")]

    assert "headings" in faults(lambda n: n.cells.pop(0))[0]
    assert "headings" in faults(lambda n: n.cells.reverse())[0]
    assert faults(lambda n: n.cells[1].update(source="x = 1\n" * 21)) == ["cell 1: 21 lines"]
    assert faults(lambda n: n.cells[1].update(execution_count=3)) == ["cell 1: stored outputs"]
    assert faults(output) == ["cell 1: stored outputs"]
    assert faults(lambda n: n.cells[1].update(source=" ")) == ["cell 1: empty"]
    assert faults(lambda n: n.cells.insert(2, code("2"))) == ["cell 2: no claim before it"]
    assert faults(lambda n: n.cells[0].update(source=f"## {STEPS[0]}")) == ["cell 1: no claim before it"]
    assert faults(lambda n: n.metadata.update(widgets={})) == ["stored widgets"]
    assert violations(sound, BYTES) == [f"{BYTES} bytes"]
