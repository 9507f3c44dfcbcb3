"""`lab lessons run`: one lesson as a script."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.base.user_code import UserCode
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class LessonsRunCommand:
    """Run a lesson from top to bottom in this terminal: its headings, and what each cell gives, as text."""

    lesson: str = field(metadata={POSITIONAL: True})
    """The beginning of a lesson's name, for instance 03, or the path of a notebook."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab lessons run 03", "lab lessons run alice/03_residual_surgery.ipynb")
    command = parse(LessonsRunCommand, arguments, prog="lab lessons run", examples=examples)
    # They import torch, which no help page waits for.
    from lab.lesson.notebook import find_lesson, lessons_folder, read_cells
    from lab.lesson.script import run_cells

    path = find_lesson(command.lesson, lessons_folder())
    with UserCode(path.name):
        run_cells(read_cells(path), _show)
    return 0


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()
