"""The shape of every lesson: eight steps, short cells, a claim before each, nothing stored but the source.

Each has tasks, predictions and pictures throughout.
"""

import ast
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
    "The fix that many try first",
    "The fix that holds",
    "Try it yourself",
)
LINES = 12
TASKS = 3
BYTES = 100_000
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
PROGRAMS = {"google", "ipywidgets", "jupyterlab", "notebook", "anywidget"}
"""What a lesson shows comes from `lab.lesson`, which gives HTML and text beside each widget."""
PICTURES = re.compile(r"\b(draw_\w+|follow|Dial|memory_bars|share_bars)\(")


def headings(cells: list[NotebookNode]) -> list[str]:
    """Texts of the second-level headings, in order; lines of code in a fence are none."""
    prose = [re.sub(r"```.*?```", "", c.source, flags=re.DOTALL) for c in cells if c.cell_type == "markdown"]
    return re.findall(r"^## (.+?)\s*$", "\n".join(prose), re.MULTILINE)


def claim(cell: NotebookNode) -> str:
    """The prose of a markdown cell without headings and lists."""
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith(("#", "- "))]
    return " ".join(lines) if cell.cell_type == "markdown" else ""


def crowded_lines(source: str) -> list[int]:
    """Lines of a cell on which two comprehensions begin."""
    tree = ast.parse(source)
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, COMPREHENSIONS)]
    return sorted({line for line in lines if lines.count(line) > 1})


def rhythm_violations(notebook: NotebookNode) -> list[str]:
    """What a lesson lacks of tasks, predictions and pictures, and where it is too dense."""
    cells = notebook.cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    found = []
    for tag in ("stub", "check"):
        tagged = sum(tag in cell.metadata.get("tags", []) for cell in cells)
        if tagged < TASKS:
            found.append(f"{tagged} cells with the tag {tag}")
    asked = sum(source.count("predict(") for source in code)
    if asked == 0 or asked != sum(source.count(".reveal(") for source in code):
        found.append(f"{asked} predictions")
    if not any(PICTURES.search(source) for source in code):
        found.append("no picture")
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    if presumed := re.search(r"[Tt]he (\S+ )?document('s)? [a-z]+|[Dd]ocumented fix", prose):
        found.append(f"presumes a document: {presumed.group()}")
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            if len(cell.source.splitlines()) > LINES:
                found.append(f"cell {number}: {len(cell.source.splitlines())} lines")
            found += [f"cell {number}, line {line}: two comprehensions" for line in crowded_lines(cell.source)]
    return found


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
        if cell.outputs or cell.execution_count is not None:
            found.append(f"cell {number}: stored outputs")
        if not cell.source.strip():
            found.append(f"cell {number}: empty")
        if number == 0 or not re.search(r"[.:?!]", claim(cells[number - 1])):
            found.append(f"cell {number}: no claim before it")
    return found


def foreign_code(source: str) -> list[str]:
    """What of a cell is no Python, for instance a magic, and what it imports of programs that show notebooks."""
    try:
        tree = compile(source, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except SyntaxError as error:
        return [f"no Python: {str(error.text).strip()}"]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [f"imports {name}" for name in names if name.split(".")[0] in PROGRAMS]


def special_to_a_program(notebook: NotebookNode) -> list[str]:
    """What of a notebook works in one program alone, of those that show notebooks: Jupyter Lab, VS Code, Colab."""
    found = [f"metadata {name}" for name in notebook.metadata if name not in ("kernelspec", "language_info")]
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        found.append(f"format {notebook.nbformat}.{notebook.nbformat_minor}: cells have names from 4.5 on")
    if notebook.metadata.get("language_info", {}).get("name") != "python":
        found.append("no language: VS Code offers kernels by it")
    if len({cell.get("id") for cell in notebook.cells}) < len(notebook.cells):
        found.append("two cells with one name")
    for number, cell in enumerate(notebook.cells):
        found += [f"cell {number}: metadata {name}" for name in cell.metadata if name != "tags"]
        if "attachment:" in cell.source or "<script" in cell.source:
            found.append(f"cell {number}: a picture or a script inside the text")
        if cell.cell_type == "code":
            found += [f"cell {number}: {each}" for each in foreign_code(cell.source)]
    return found


def test_a_lesson_has_its_shape(lesson: Path) -> None:
    found = violations(nbformat.read(lesson, as_version=4), lesson.stat().st_size)
    assert not found, "\n".join(found)


def test_a_lesson_has_tasks_predictions_and_pictures_throughout(lesson: Path) -> None:
    found = rhythm_violations(nbformat.read(lesson, as_version=4))
    assert not found, "\n".join(found)


def test_a_lesson_is_a_valid_notebook_for_python(lesson: Path) -> None:
    notebook = nbformat.read(lesson, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_lesson_asks_for_nothing_that_one_program_alone_can_show(lesson: Path) -> None:
    found = special_to_a_program(nbformat.read(lesson, as_version=nbformat.NO_CONVERT))
    assert not found, "\n".join(found)


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
    assert faults(lambda n: n.cells[1].update(execution_count=3)) == ["cell 1: stored outputs"]
    assert faults(output) == ["cell 1: stored outputs"]
    assert faults(lambda n: n.cells[1].update(source=" ")) == ["cell 1: empty"]
    assert faults(lambda n: n.cells.insert(2, code("2"))) == ["cell 2: no claim before it"]
    assert faults(lambda n: n.cells[0].update(source=f"## {STEPS[0]}")) == ["cell 1: no claim before it"]
    assert faults(lambda n: n.metadata.update(widgets={})) == ["stored widgets"]
    assert violations(sound, BYTES) == [f"{BYTES} bytes"]


@pytest.fixture
def lively() -> NotebookNode:
    """The least notebook that has the rhythm."""
    tasks = [each for _ in range(TASKS) for each in (code("def f(): ..."), code("f"))]
    for number, cell in enumerate(tasks):
        cell.metadata.tags = ["check" if number % 2 else "stub"]
    others = [markdown("Many write it so."), code("guess = predict('?')"), code("guess.reveal('a')")]
    return nbformat.v4.new_notebook(cells=[*tasks, *others, code("draw_lines([1])")])


def test_the_rule_of_rhythm_sees_each_fault(lively: NotebookNode) -> None:
    def faults(change) -> list[str]:
        notebook = nbformat.from_dict(lively)
        change(notebook)
        return rhythm_violations(notebook)

    assert rhythm_violations(lively) == []
    assert faults(lambda n: n.cells.pop(0)) == ["2 cells with the tag stub"]
    assert faults(lambda n: n.cells.pop(1)) == ["2 cells with the tag check"]
    assert faults(lambda n: n.cells.pop(7)) == ["0 predictions"]
    assert faults(lambda n: n.cells.pop(8)) == ["1 predictions"]
    assert faults(lambda n: n.cells.pop()) == ["no picture"]
    told = faults(lambda n: n.cells[6].update(source="The ASO-SE document asks for it."))
    assert told == ["presumes a document: The ASO-SE document asks"]
    assert faults(lambda n: n.cells[0].update(source="x = 1\n" * 13)) == ["cell 0: 13 lines"]
    two = "x = [a for a in b] + [a for a in c]"
    assert faults(lambda n: n.cells[0].update(source=two)) == ["cell 0, line 1: two comprehensions"]


def test_the_rule_on_programs_sees_each_fault(sound: NotebookNode) -> None:
    def faults(change) -> list[str]:
        notebook = nbformat.from_dict(sound)
        notebook.metadata.language_info = {"name": "python"}
        change(notebook)
        return special_to_a_program(notebook)

    assert faults(lambda n: None) == []
    assert faults(lambda n: n.metadata.update(colab={})) == ["metadata colab"]
    assert "no language" in faults(lambda n: n.metadata.pop("language_info"))[0]
    assert "format 4.4" in faults(lambda n: n.update(nbformat_minor=4))[0]
    assert faults(lambda n: n.cells[1].update(id=n.cells[0].id)) == ["two cells with one name"]
    assert faults(lambda n: n.cells[1].metadata.update(jupyter={})) == ["cell 1: metadata jupyter"]
    assert faults(lambda n: n.cells[0].update(source="![x](attachment:x)"))[0].startswith("cell 0: a picture")
    assert faults(lambda n: n.cells[1].update(source="%time x")) == ["cell 1: no Python: %time x"]
    assert faults(lambda n: n.cells[1].update(source="await f()")) == []
    assert faults(lambda n: n.cells[1].update(source="from google.colab import files")) == [
        "cell 1: imports google.colab"
    ]
