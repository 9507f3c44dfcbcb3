import json
import sys
from pathlib import Path

import pytest

from lab.cli import lessons, main
from lab.cli.serve import free_port
from lab.lesson import notebook as notebook_files
from lab.lesson.notebook import lessons_folder


def notebook(*sources):
    cells = [
        {
            "cell_type": "code",
            "source": source,
            "metadata": {"tags": list(tags)},
            "outputs": [],
            "execution_count": None,
        }
        for source, *tags in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_a_copy_for_students_is_written_once(tmp_path, capsys):
    folder = str(tmp_path / "class")
    assert main(["lessons", "--student", folder]) == 0
    count = len(list(lessons_folder().glob("*.ipynb")))
    assert f"{count} lessons without solutions in {folder}" in capsys.readouterr().out
    assert main(["lessons", "--student", folder]) == 2
    assert "a new or empty folder" in capsys.readouterr().err


def test_a_lesson_runs_as_a_script(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(notebook(("import asyncio\nx = 3",), ("await asyncio.sleep(0)\nx + 1",)))
    assert main(["lessons", "run", str(path)]) == 0
    assert capsys.readouterr().out == "4\n\n"


def test_a_lesson_that_raises_is_told_by_its_line(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(notebook(("x = 0\n1 / x",)))
    assert main(["lessons", "run", str(path)]) == 2
    said = capsys.readouterr().err
    assert "expected x.ipynb to run, got ZeroDivisionError" in said
    assert "1 / x" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--student", "a", "--check", "b"], "expected --student or --check, got both"),
        (["--check", "."], "lessons in ."),
        (["rum"], "did you mean run"),
        (["run", "99"], "the beginning of one lesson's name"),
        (["--folder", ".", "--no-browser"], "lessons in"),
    ],
)
def test_a_wrong_command_line_is_refused(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, "subprocess", None)  # nothing may be started
    assert main(["lessons", *words]) == 2
    assert says.casefold() in capsys.readouterr().err.casefold()


@pytest.mark.parametrize("installed", [True, False])
def test_the_lessons_of_an_installation_are_opened_as_a_copy(installed, capsys, tmp_path, monkeypatch):
    opened = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebook_files, "is_shipped", lambda folder: installed)
    monkeypatch.setattr(
        lessons, "jupyter_command", lambda folder, *args, **more: opened.append(folder) or [sys.executable, "-c", ""]
    )
    assert main(["lessons", "--no-browser", "--port", str(free_port())]) == 0
    assert opened == [tmp_path / "lab-lessons" if installed else lessons_folder()]
    assert ("files copied to" in capsys.readouterr().out) == installed
    assert (tmp_path / "lab-lessons" / "README.md").is_file() == installed


def test_jupyter_lab_serves_this_machine_alone_and_asks_nothing_of_the_network(tmp_path):
    words = lessons.jupyter_command(Path("notebooks"), 8899, tmp_path, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in words
    assert "--no-browser" in words
    assert "--LabApp.default_url=/lab/tree/README.md" in words
    settings = json.loads((tmp_path / "overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
