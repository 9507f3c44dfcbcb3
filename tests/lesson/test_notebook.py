import json

import pytest

from lab.base import ConfigError, LabError
from lab.lesson.notebook import (
    NotebookCell,
    cell_names,
    copy_lessons,
    find_lesson,
    lesson_files,
    lesson_tasks,
    lessons_folder,
    needed_cells,
    read_cells,
    solutions,
    write_student_copy,
)


def code(source, *tags):
    return NotebookCell(kind="code", source=source, tags=tags)


CELLS = [
    code("import math\nfrom lab.lesson import Exercise, check"),
    code("noise = 3\nprint(noise)"),
    NotebookCell(kind="markdown", source="Write it."),
    code("def twice(x): ...", "stub"),
    code("def factor():\n    return math.floor(2.5)"),
    code(
        "e = Exercise('t', hints=('x',), compare=lambda f: [check('t', f(3), 3 * factor())])\ne.check(twice)", "check"
    ),
]


def test_a_task_is_a_stub_and_the_check_behind_it():
    (task,) = lesson_tasks("00_x", CELLS)
    assert (task.name, task.stub, task.check) == ("twice", 3, 5)


@pytest.mark.parametrize("cells", [CELLS[:4], [code("x = 1", "stub"), CELLS[5]]])
def test_a_stub_without_a_check_or_a_function_is_refused(cells):
    with pytest.raises(ConfigError, match="of 00_x"):
        lesson_tasks("00_x", cells)


def test_a_check_needs_the_cells_that_bind_what_it_reads_and_no_others():
    assert needed_cells(CELLS, 5) == [0, 3, 4]


def test_a_cell_that_binds_a_name_anew_needs_the_one_before():
    cells = [code("a = 1"), code("b = 5"), code("a = a + 1"), code("a")]
    assert needed_cells(cells, 3) == [0, 2]


def test_names_are_found_in_functions_and_behind_await():
    bound, read = cell_names("y = await live.until(lambda feed: feed > limit)\ndef f(z):\n    return z + deep")
    assert bound == {"y", "f"}
    assert {"live", "limit", "deep"} <= read
    assert not {"z", "feed"} & read


def test_every_lesson_can_be_cut_to_what_its_tasks_need():
    for path in lesson_files(lessons_folder()):
        cells = read_cells(path)
        tasks = lesson_tasks(path.stem, cells)
        assert tasks
        assert len(solutions(cells)) == len(tasks), path.stem
        for task in tasks:
            needed = needed_cells(cells, task.check)
            assert needed[0] < task.stub in needed, (path.stem, task.name)


def test_a_lesson_is_found_by_the_beginning_of_its_name():
    folder = lessons_folder()
    assert find_lesson("03", folder).name == "03_residual_surgery.ipynb"
    with pytest.raises(ConfigError, match="10_router"):
        find_lesson("1", folder)
    with pytest.raises(ConfigError, match="got '99'"):
        find_lesson("99", folder)


def test_the_copy_for_students_has_every_lesson_and_no_solution(tmp_path):
    written = write_student_copy(lessons_folder(), tmp_path / "class")
    originals = lesson_files(lessons_folder())
    assert [path.name for path in written] == [path.name for path in originals]
    assert (tmp_path / "class" / "README.md").is_file()
    for path, original in zip(written, originals, strict=True):
        theirs, ours = read_cells(path), read_cells(original)
        assert solutions(theirs) == []
        assert "<summary>Solution" not in path.read_text(encoding="utf-8")
        assert [c for c in theirs if c.kind == "code"] == [c for c in ours if c.kind == "code"]


def test_a_copy_over_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="a new or empty folder"):
        write_student_copy(lessons_folder(), tmp_path)


def test_a_copy_of_the_lessons_keeps_what_a_reader_has_written(tmp_path):
    source, target = lessons_folder(), tmp_path / "a" / "lab-lessons"
    written = copy_lessons(source, target)
    assert [path.name for path in written] == ["README.md", *(path.name for path in lesson_files(source))]
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in written)
    written[1].write_text("mine")
    written[2].unlink()
    assert copy_lessons(source, target) == [written[2]]
    assert written[1].read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="a folder that can be written"):
        copy_lessons(lessons_folder(), tmp_path / "file" / "x")


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"cells": 3})])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, text):
    (tmp_path / "00_x.ipynb").write_text(text)
    with pytest.raises(ConfigError, match="a notebook in"):
        read_cells(tmp_path / "00_x.ipynb")
