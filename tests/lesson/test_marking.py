"""A student's copy with planted answers: each gets the mark that it deserves."""

import json

import psutil
import pytest

from lab.base import ConfigError
from lab.lesson.marking import mark_copy, marks_text

CHECK = (
    "task = Exercise('{0}', hints=('x',), compare=lambda f: [check('{0}', f(3), 6, meaning='twice three is six')])\n"
    "task.check({0})"
)
NAMES = ("right", "endless", "wrong", "raising", "leaving", "empty", "gone", "broken", "helped", "pickled", "last")
ANSWERS = {
    "right": "def right(x):\n    return 2 * x",
    "endless": "import time\n\ndef endless(x):\n    while True:\n        try:\n            time.sleep(1)\n"
    "        except KeyboardInterrupt:\n            pass",
    "wrong": "def wrong(x):\n    return x + 2",
    "raising": "def raising(x):\n    return x / 0",
    "leaving": "import os\n\ndef leaving(x):\n    os._exit(0)",
    "empty": "def empty(x): ...",
    "broken": "def broken(x):\nreturn x",
    "helped": "def helped(x):\n    return half * 4",
    "pickled": "import pickle\n\nclass Number(int): ...\n\ndef pickled(x):\n"
    "    return 2 * pickle.loads(pickle.dumps(Number(x)))",
    "last": "print('noise')\n\ndef last(x):\n    return x + x",
}


def notebook(sources):
    cells = [
        {"cell_type": "code", "source": source, "metadata": {"tags": tags}, "outputs": [], "execution_count": None}
        for source, tags in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Original lessons and a student's copy of them, whose checks have been made to pass everything."""
    originals, copy = tmp_path_factory.mktemp("originals"), tmp_path_factory.mktemp("copy")
    ours, theirs = [("from lab.lesson import Exercise, check", [])], [("half = 1.5", [])]
    for name in NAMES:
        ours += [(f"def {name}(x): ...", ["stub"]), (CHECK.format(name), ["check"])]
        theirs += [(ANSWERS.get(name, "x = 1"), ["stub"]), ("'✓ ok'", ["check"])]
    (originals / "00_x.ipynb").write_text(notebook(ours))
    (copy / "00_x.ipynb").write_text(notebook(theirs))
    return originals, copy


@pytest.mark.slow
def test_planted_answers_get_the_marks_that_they_deserve(folders):
    originals, copy = folders
    marks = list(mark_copy(copy, originals, seconds=4.0))
    assert [(mark.task, mark.mark) for mark in marks] == [
        ("right", "right"),
        ("endless", "time limit"),
        ("wrong", "wrong"),
        ("raising", "raised"),
        ("leaving", "raised"),
        ("empty", "not tried"),
        ("gone", "missing"),
        ("broken", "raised"),
        ("helped", "right"),
        ("pickled", "right"),
        ("last", "right"),
    ]
    said = {mark.task: mark.wrong for mark in marks}
    assert said["wrong"] == "twice three is six"
    assert said["raising"] == "ZeroDivisionError: division by zero"
    assert said["leaving"] == "its process ended by itself"
    assert said["broken"].startswith("SyntaxError: expected an indented block")
    # Python's own tracker of shared resources stays until the end.
    left = [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]
    assert left == []
    lines = marks_text(marks).splitlines()
    assert lines[0] == "lesson,task,mark,what is wrong"
    assert lines[3] == "00_x,wrong,wrong,twice three is six"
    assert len(lines) == 12


def test_a_folder_without_lessons_or_with_a_foreign_one_is_refused(folders, tmp_path):
    originals, _ = folders
    with pytest.raises(ConfigError, match="lessons in"):
        list(mark_copy(tmp_path, originals))
    (tmp_path / "77_mine.ipynb").write_text(notebook([]))
    with pytest.raises(ConfigError, match="got '77_mine'"):
        list(mark_copy(tmp_path, originals))
    with pytest.raises(ConfigError, match="seconds > 0"):
        list(mark_copy(tmp_path, originals, seconds=0))
