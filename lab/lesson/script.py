"""Cells of a notebook run one after the other in this process, as a kernel runs them, with their values as text.

Covers Python with `await` at the top level. Widgets are made and not shown; shell commands and magics are refused by
Python as a syntax error.
"""

import ast
import asyncio
import inspect
import linecache
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
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


def run_cells(cells: Sequence[NotebookCell], show: Show, space: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run all code cells in their order and show each heading and value; the namespace afterwards.

    Args:
        cells: of a notebook.
        show: is told each heading and each value as text.
        space: namespace to run in; None takes a fresh one whose `__name__` is `__main__`.

    Raises:
        BaseException: whatever a cell raises; the cells behind it are not run.
    """
    space = {"__name__": "__main__"} if space is None else space

    async def run() -> None:
        for number, cell in enumerate(cells):
            if cell.kind == "markdown":
                for heading in (line for line in cell.source.splitlines() if line.startswith("#")):
                    show(heading)
            elif cell.kind == "code":
                value = await run_cell(cell.source, number, space)
                if value is not None:
                    show(str(value))

    asyncio.run(run())
    return space
