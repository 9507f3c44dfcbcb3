"""A lesson as a file: its cells, its tasks, which cells a task needs, copies with and without solutions.

A task is a cell with the tag `stub`, which a student fills, and the next cell with the tag `check`. Covers notebooks of
format 4 whose code is Python.
"""

import ast
import builtins
import contextlib
import json
import re
import shutil
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import ConfigError, LabError, resource
from lab.base.resources import PACKAGE

CONTENTS = "README.md"
"""The table of contents, beside the lessons."""
SOLUTION = re.compile(r"<details>\s*<summary>Solution</summary>.*?</details>\s*", re.DOTALL)
REMOVED = "*The solution of this task is left out of this copy.*\n\n"
BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, kw_only=True)
class NotebookCell:
    """One cell of a notebook."""

    kind: str
    """code, markdown or raw."""
    source: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LessonTask:
    """A stub that a student fills, and what checks it."""

    lesson: str
    """The notebook's name without its suffix."""
    name: str
    """The function that is to be written."""
    stub: int
    """Index of the stub's cell."""
    check: int
    """Index of the cell that checks it."""


def lessons_folder() -> Path:
    """Where the lessons lie.

    Raises:
        ConfigError: this installation came without them.
    """
    folder = resource("notebooks")
    if not (folder / CONTENTS).is_file():
        raise ConfigError("the lessons among the lab's files", f"no {folder / CONTENTS}", "install the lab again")
    return folder


def is_shipped(folder: Path) -> bool:
    """Whether the lessons of `folder` are those of an installation, where a reader should change nothing."""
    return folder.is_relative_to(PACKAGE)


def lesson_files(folder: Path) -> list[Path]:
    """The notebooks of a folder, in their order.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(folder.glob("*.ipynb"))
    if not found:
        raise ConfigError(f"lessons in {folder}", "none", "name the folder that lab lessons --student has written")
    return found


def find_lesson(request: str, folder: Path) -> Path:
    """The one lesson whose name begins with `request`, for instance `03`, or a notebook's own path.

    Raises:
        ConfigError: none, or more than one.
    """
    if Path(request).suffix == ".ipynb" and Path(request).is_file():
        return Path(request)
    files = lesson_files(folder)
    found = [path for path in files if path.stem.split("_")[0] == request]
    found = found or [path for path in files if path.stem.startswith(request)]
    if len(found) != 1:
        names = ", ".join(path.stem for path in found or files)
        raise ConfigError("the beginning of one lesson's name", repr(request), f"among: {names}")
    return found[0]


def read_cells(path: Path) -> list[NotebookCell]:
    """The cells of a notebook.

    Raises:
        ConfigError: the file is no notebook.
    """
    return [
        NotebookCell(
            kind=cell["cell_type"],
            source="".join(cell["source"]),
            tags=tuple(cell.get("metadata", {}).get("tags", ())),
        )
        for cell in _load(path)["cells"]
    ]


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"a notebook in {path}", f"{type(error).__name__}", "save it again in Jupyter") from error
    if not isinstance(document, dict) or not isinstance(document.get("cells"), list):
        raise ConfigError(f"a notebook in {path}", "a file without cells", "save it again in Jupyter")
    return document


def lesson_tasks(lesson: str, cells: Sequence[NotebookCell]) -> list[LessonTask]:
    """The tasks of a lesson, in their order.

    Raises:
        ConfigError: a stub that defines nothing, or one without a check behind it.
    """
    found = []
    for number, cell in enumerate(cells):
        if "stub" not in cell.tags:
            continue
        names = [node.name for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        checks = [n for n in range(number + 1, len(cells)) if "check" in cells[n].tags]
        if not names or not checks:
            raise ConfigError(
                "a stub with a function and a check behind it", f"cell {number} of {lesson}", "add the missing one"
            )
        found.append(LessonTask(lesson=lesson, name=names[-1], stub=number, check=checks[0]))
    return found


def solutions(cells: Sequence[NotebookCell]) -> list[str]:
    """The code of each folded solution."""
    text = "\n".join(cell.source for cell in cells if cell.kind == "markdown")
    return [code for block in SOLUTION.findall(text) for code in re.findall(r"```python\n(.*?)```", block, re.DOTALL)]


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def cell_names(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell binds at its top level, and global names that it reads, in functions too.

    Raises:
        SyntaxError: the cell is no Python.
    """
    # The compiler's tables know no `await` outside a function; which names are read does not depend on it.
    top = symtable.symtable(re.sub(r"\bawait ", "", source), "cell", "exec")
    bound = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    read = {each.get_name() for each in top.get_symbols() if each.is_referenced()}
    for table in _tables(top):
        read |= {each.get_name() for each in table.get_symbols() if each.is_global() and each.is_referenced()}
    return bound, read - BUILTINS


def needed_cells(cells: Sequence[NotebookCell], number: int) -> list[int]:
    """Cells before `number` that bind, by assignment, definition or import, what cell `number` reads; in their order.

    Covers names. A cell that only changes a value in place, as `train(net)` does, is not among them, so the check of a
    task must not stand on one.
    """
    bound = [cell_names(cell.source)[0] if cell.kind == "code" and _parses(cell) else set() for cell in cells[:number]]
    needed: set[int] = set()
    waiting = [(number, name) for name in cell_names(cells[number].source)[1]]
    while waiting:
        before, name = waiting.pop()
        home = next((n for n in reversed(range(before)) if name in bound[n]), None)
        if home is not None and home not in needed:
            needed.add(home)
            waiting += [(home, each) for each in cell_names(cells[home].source)[1]]
    return sorted(needed)


def _parses(cell: NotebookCell) -> bool:
    try:
        cell_names(cell.source)
    except SyntaxError:
        return False
    return True


@contextlib.contextmanager
def _written_to(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LabError(f"a folder that can be written at {target}", f"{error}", "name another folder") from error


def copy_lessons(source: Path, target: Path) -> list[Path]:
    """Copy the lessons of `source` into the folder `target`, new or not; the files written.

    A file that is there already stays as it is: it may hold a reader's work.

    Raises:
        ConfigError: no lessons in `source`.
        LabError: the folder cannot be written.
    """
    written = []
    with _written_to(target):
        target.mkdir(parents=True, exist_ok=True)
        for path in (source / CONTENTS, *lesson_files(source)):
            if not (target / path.name).exists():
                written.append(Path(shutil.copyfile(path, target / path.name)))
    return written


def write_student_copy(source: Path, target: Path) -> list[Path]:
    """Copy the lessons of `source` into the new folder `target` without their solutions; the notebooks written.

    Raises:
        ConfigError: `target` holds something already.
        LabError: the folder cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError("a new or empty folder", f"{target}, which holds something", "name another folder")
    written = []
    with _written_to(target):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / CONTENTS, target)
        for path in lesson_files(source):
            document = _load(path)
            for cell in document["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = SOLUTION.sub(REMOVED, "".join(cell["source"]))
            text = json.dumps(document, indent=1, ensure_ascii=False)
            (target / path.name).write_text(text + "\n", encoding="utf-8")
            written.append(target / path.name)
    return written
