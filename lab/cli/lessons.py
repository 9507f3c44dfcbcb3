"""`lab lessons`: the notebooks in Jupyter Lab, a copy without solutions, a copy marked; `lab lessons run` runs one."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.base import ConfigError, TrainingError, require_extra
from lab.cli.parse import parse
from lab.cli.suggest import unknown
from lab.store.process import end_process

ACTIONS = ("run",)
HOST = "127.0.0.1"
COPY = Path("lab-lessons")
"""Where the lessons of an installation are copied to, in the current folder."""
END_SECONDS = 20.0
"""Time that Jupyter Lab gets to end its kernels."""
# Jupyter Lab shows the table of contents as a page, and asks nothing of the network.
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True, kw_only=True)
class LessonsCommand:
    """Open the lessons in Jupyter Lab at the table of contents; Ctrl-C ends it.

    lab lessons run 03 runs one lesson as a script.
    """

    folder: Path | None = None
    """Folder of lessons to open, for instance a student's copy; default: the lab's own. Where the lab is installed from
    a wheel they are copied to ./lab-lessons, and what is there already stays."""
    port: int = 8888
    """Port on 127.0.0.1."""
    browser: bool = True
    """Open a browser window."""
    student: Path | None = None
    """Write a copy of the lessons without their solutions into this new folder, and end."""
    check: Path | None = None
    """Mark the student's copy in this folder, and end: one line for each task, as CSV. It runs the student's code."""
    seconds: float = 60.0
    """With --check: time of one task."""
    out: Path | None = None
    """With --check: file for the CSV; default: the standard output."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if arguments and arguments[0] in ACTIONS:
        code: int = importlib.import_module(f"lab.cli.lessons_{arguments[0]}").run(arguments[1:])
        return code
    if arguments and not arguments[0].startswith("-"):
        raise unknown("an action", arguments[0], ACTIONS, "lab lessons --help")
    examples = ("lab lessons", "lab lessons --student class", "lab lessons --check alice --out alice.csv")
    command = parse(LessonsCommand, arguments, prog="lab lessons", examples=examples)
    if command.student and command.check:
        raise ConfigError("--student or --check", "both", "write the copy first, mark it later")
    if command.student:
        return _write_copy(command.student)
    if command.check:
        return _mark(command.check, command)
    return _open(command)


def _write_copy(target: Path) -> int:
    # The lessons' own part imports torch, which no help page waits for.
    from lab.lesson.notebook import lessons_folder, write_student_copy

    written = write_student_copy(lessons_folder(), target)
    sys.stdout.write(
        f"{len(written)} lessons without solutions in {target}; open them: lab lessons --folder {target}\n"
    )
    return 0


def _mark(folder: Path, command: LessonsCommand) -> int:
    from lab.lesson.marking import RIGHT, mark_copy, marks_text
    from lab.lesson.notebook import lessons_folder

    marks = []
    for mark in mark_copy(folder, lessons_folder(), seconds=command.seconds):
        marks.append(mark)
        sys.stderr.write(f"{mark.lesson}: {mark.task}: {mark.mark}\n")
    text = marks_text(marks)
    if command.out is None:
        sys.stdout.write(text)
    else:
        try:
            command.out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"a file that can be written at {command.out}", f"{error}", "give another --out"
            ) from error
    sys.stderr.write(f"{sum(mark.mark == RIGHT for mark in marks)} of {len(marks)} tasks are right\n")
    return 0


def jupyter_command(folder: Path, port: int, settings: Path, *, browser: bool) -> list[str]:
    """The command line of Jupyter Lab at the table of contents of `folder`: this machine only.

    Args:
        folder: what it serves.
        port: on this machine.
        settings: folder in which this writes Jupyter Lab's settings.
        browser: whether it opens a window.
    """
    (settings / "overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.ip={HOST}", f"--port={port}"]
    words += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    words += [f"--LabApp.app_settings_dir={settings}", "--LabApp.default_url=/lab/tree/README.md"]
    words += [] if browser else ["--no-browser"]
    # Jupyter refuses to start as root, the only user of many containers, unless it is told to.
    return words + (["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])


def _own_folder() -> Path:
    """The lab's lessons; a copy in the current folder where they lie among the files of an installation."""
    from lab.lesson.notebook import copy_lessons, is_shipped, lessons_folder

    folder = lessons_folder()
    if not is_shipped(folder):
        return folder
    written = copy_lessons(folder, COPY)
    sys.stdout.write(f"{len(written)} files copied to {COPY.resolve()}, where the lessons are opened\n")
    sys.stdout.flush()
    return COPY


def _open(command: LessonsCommand) -> int:
    from lab.cli.serve import check_port, ended_by_sigterm
    from lab.lesson.notebook import lesson_files

    require_extra("notebooks", "the lessons")
    check_port(command.port)
    folder = (command.folder or _own_folder()).resolve()
    lesson_files(folder)
    with tempfile.TemporaryDirectory() as settings:
        words = jupyter_command(folder, command.port, Path(settings), browser=command.browser)
        # Ctrl-C reaches every process of the group of a terminal; this one is ended below, without being asked twice.
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            with ended_by_sigterm():
                code = process.wait()
        except KeyboardInterrupt:
            code = 0
        finally:
            end_process(process, END_SECONDS)
    if code:
        raise TrainingError("Jupyter Lab to run", f"exit code {code}", "see its message above")
    return 0
