"""A student's copy of the lessons, marked: each task's check, run on what the student has written.

A lesson is marked in a process of its own, task by task; a task that exceeds its time ends that process, and another
one goes on behind it. The checks are those of the original lesson, whatever the copy has made of them. This is no
sandbox: the student's code runs with the rights of whoever marks, and can tell the marker anything.
"""

import ast
import asyncio
import contextlib
import csv
import io
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from lab.base import LabError, require_range
from lab.base.user_code import UserCode
from lab.lesson.exercise import Attempt
from lab.lesson.notebook import (
    LessonTask,
    NotebookCell,
    cell_names,
    find_lesson,
    lesson_files,
    lesson_tasks,
    needed_cells,
    read_cells,
)
from lab.lesson.script import main_module, run_cell

RIGHT, WRONG, NOT_TRIED, RAISED, TIME, MISSING = "right", "wrong", "not tried", "raised", "time limit", "missing"
SECONDS = 60.0
"""Time of one task."""
START_SECONDS = 120.0
"""Time that a process gets until it is ready for its first task."""
END_SECONDS = 5.0
"""Time that an ended process gets to go."""
COLUMNS = ("lesson", "task", "mark", "what is wrong")


@dataclass(frozen=True, kw_only=True)
class TaskMark:
    """What a student's answer to one task is worth."""

    lesson: str
    task: str
    """Name of the function that was to be written."""
    mark: str
    """right, wrong, not tried, raised, time limit or missing."""
    wrong: str = ""
    """What is wrong, in one line."""

    @property
    def row(self) -> tuple[str, ...]:
        """The fields in the order of `COLUMNS`."""
        return (self.lesson, self.task, self.mark, self.wrong)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One task with the cells that are run for it, in their order; the last one is the check."""

    task: LessonTask
    sources: tuple[str, ...]


def _answer(name: str, cells: Sequence[NotebookCell]) -> int | None:
    """The last cell of a student's copy that defines `name`."""
    for number in reversed(range(len(cells))):
        with contextlib.suppress(SyntaxError):
            if cells[number].kind == "code" and name in cell_names(cells[number].source)[0]:
                return number
    return None


def _plan(task: LessonTask, cells: Sequence[NotebookCell], theirs: Sequence[NotebookCell]) -> _Work | TaskMark:
    """What is run for a task: what its check needs of the original, the answer with what it needs, the check."""
    place = _answer(task.name, theirs)
    if place is None:
        broken = next((cell for cell in theirs if cell.kind == "code" and f"def {task.name}" in cell.source), None)
        return TaskMark(lesson=task.lesson, task=task.name, mark=RAISED if broken else MISSING, wrong=_syntax(broken))
    own = [theirs[n].source for n in needed_cells(theirs, place)] + [theirs[place].source]
    before = [cells[n].source for n in needed_cells(cells, task.check) if n != task.stub]
    return _Work(task=task, sources=(*before, *own, cells[task.check].source))


def _syntax(cell: NotebookCell | None) -> str:
    if cell is None:
        return "no cell defines it"
    try:
        ast.parse(cell.source)
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    return ""


def _mark_one(work: _Work) -> TaskMark:
    """Run the cells of one task in this process."""
    value: Any = None

    async def run(space: dict[str, Any]) -> None:
        nonlocal value
        for number, source in enumerate(work.sources):
            value = await run_cell(source, number, space)

    task = work.task
    silent = io.StringIO()
    try:
        with (
            UserCode(task.name),
            contextlib.redirect_stdout(silent),
            contextlib.redirect_stderr(silent),
            main_module() as space,
        ):
            asyncio.run(run(space))
    except LabError as error:
        got = " ".join(error.got.split()).split(f" at {tempfile.gettempdir()}")[0]
        return TaskMark(lesson=task.lesson, task=task.name, mark=RAISED, wrong=got[:300])
    if not isinstance(value, Attempt):
        return TaskMark(lesson=task.lesson, task=task.name, mark=RAISED, wrong="the check gave no attempt")
    mark = {"ok": RIGHT, "not yet": WRONG}.get(value.status, NOT_TRIED)
    return TaskMark(lesson=task.lesson, task=task.name, mark=mark, wrong="; ".join(value.what_is_wrong))


def _mark_all(works: Sequence[_Work], connection: Connection) -> None:
    """Say that this process is ready, then mark one task after the other; the other side of `_mark_lesson`."""
    connection.send_bytes(b"ready")
    for work in works:
        # Text, not pickled objects: what arrives may have been made by a student's code.
        connection.send_bytes(json.dumps(_mark_one(work).row).encode())


def _mark_lesson(works: Sequence[_Work], seconds: float) -> Iterator[TaskMark]:
    """Mark the tasks of one lesson in a process of its own; in another one from the task behind a time limit on."""
    left = list(works)
    while left:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_mark_all, args=(left, there))
        process.start()
        there.close()
        try:
            if not here.poll(START_SECONDS):
                raise LabError(f"a process within {START_SECONDS:g} s", "none", "try again on a machine that does less")
            here.recv_bytes()
            while left:
                task = left[0].task
                if not here.poll(seconds):
                    yield TaskMark(lesson=task.lesson, task=task.name, mark=TIME, wrong=f"no end within {seconds:g} s")
                    break
                try:
                    lesson, name, mark, wrong = json.loads(here.recv_bytes())
                except EOFError:
                    text = "its process ended by itself"
                    yield TaskMark(lesson=task.lesson, task=task.name, mark=RAISED, wrong=text)
                    break
                left.pop(0)
                yield TaskMark(lesson=lesson, task=name, mark=mark, wrong=wrong)
            else:
                continue
            left.pop(0)
        finally:
            here.close()
            _end(process.pid)
            process.join(END_SECONDS)


def _end(pid: int | None) -> None:
    """End a process of this one and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def mark_copy(folder: Path, originals: Path, *, seconds: float = SECONDS) -> Iterator[TaskMark]:
    """Mark every task of the lessons in a student's `folder`, in their order.

    Args:
        folder: notebooks named as the original ones; those that are missing are left out.
        originals: folder of the lessons with the checks.
        seconds: time of one task, > 0.

    Raises:
        ConfigError: no lessons in `folder`, one that is no notebook or none of the originals, or no time.
        LabError: the machine is too busy to start a process.
    """
    require_range("seconds", seconds, 0.0, open_low=True)
    for path in lesson_files(folder):
        cells, theirs = read_cells(find_lesson(path.stem, originals)), read_cells(path)
        plans = [_plan(task, cells, theirs) for task in lesson_tasks(path.stem, cells)]
        marks = {mark.task: mark for mark in plans if isinstance(mark, TaskMark)}
        ran = _mark_lesson([plan for plan in plans if isinstance(plan, _Work)], seconds)
        for plan in plans:
            yield marks[plan.task] if isinstance(plan, TaskMark) else next(ran)


def marks_text(marks: Sequence[TaskMark]) -> str:
    """Marks as CSV with a line of column names."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(mark.row for mark in marks)
    return out.getvalue()
