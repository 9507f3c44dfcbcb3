"""Cells of a notebook run one after the other in this process, as a kernel runs them, with their values as text.

Covers Python with `await` at the top level. Widgets are made and not shown; shell commands and magics are refused by
Python as a syntax error.
"""

import ast
import asyncio
import contextlib
import inspect
import linecache
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.lesson.notebook import NotebookCell

# What a kernel compiles a cell with, so that `await` may stand outside a function.
FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
Show = Callable[[str], None]


async def run_cell(source: str, number: int, space: dict[str, Any]) -> Any:
    """Run one cell in `space`; the value of its last line, None where that is no expression or ends with `;`.

    Args:
        source: the cell.
        number: names the cell in tracebacks.
        space: names of the cells before, and of this one afterwards.
    """
    # The name that a kernel gives a cell: by it the instruments tell a person's lines from a library's.
    name = str(Path(tempfile.gettempdir()) / f"ipykernel_{os.getpid()}" / f"{number}.py")
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    await _execute(compile(tree, name, "exec", FLAGS), space)
    if not isinstance(last, ast.Expr):
        return None
    value = await _execute(compile(ast.Expression(last.value), name, "eval", FLAGS), space)
    return None if source.rstrip().endswith(";") else value


async def _execute(code: Any, space: dict[str, Any]) -> Any:
    value = eval(code, space)
    return await value if code.co_flags & inspect.CO_COROUTINE else value


@contextlib.contextmanager
def main_module() -> Iterator[dict[str, Any]]:
    """The names of a fresh module `__main__`, as a kernel has one: pickle looks up the classes of a cell in it.

    Afterwards the module that was `__main__` before is there again.
    """
    former, module = sys.modules["__main__"], ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        yield vars(module)
    finally:
        sys.modules["__main__"] = former


def run_cells(cells: Sequence[NotebookCell], show: Show) -> dict[str, Any]:
    """Run all code cells in their order and show each heading and value; the namespace afterwards.

    Args:
        cells: of a notebook.
        show: is told each heading and each value as text.

    Raises:
        BaseException: whatever a cell raises; the cells behind it are not run.
    """

    async def run(space: dict[str, Any]) -> None:
        for number, cell in enumerate(cells):
            if cell.kind == "markdown":
                for heading in (line for line in cell.source.splitlines() if line.startswith("#")):
                    show(heading)
            elif cell.kind == "code":
                value = await run_cell(cell.source, number, space)
                if value is not None:
                    show(str(value))

    with main_module() as space:
        asyncio.run(run(space))
        return space
