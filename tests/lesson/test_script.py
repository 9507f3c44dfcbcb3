import linecache
import sys

import pytest

from lab.doctor.place import _NOTEBOOK_CELL
from lab.lesson.notebook import NotebookCell
from lab.lesson.script import run_cells


def code(*sources):
    return [NotebookCell(kind="code", source=source) for source in sources]


def test_cells_share_their_names_and_show_what_a_kernel_shows():
    shown = []
    cells = [
        NotebookCell(kind="markdown", source="# One\n\ntext\n## Two"),
        *code("x = 3\nx", "y = x + 1", "y;", "None", "", "y"),
    ]
    space = run_cells(cells, shown.append)
    assert shown == ["# One", "## Two", "3", "4"]
    assert space["y"] == 4


def test_await_stands_outside_a_function_in_one_event_loop():
    shown = []
    cells = code(
        "import asyncio\nloop = asyncio.get_running_loop()\nbell = loop.create_future()",
        "loop.call_soon(bell.set_result, 'rang')\nawait bell",
    )
    run_cells(cells, shown.append)
    assert shown == ["rang"]


def test_an_error_ends_the_script_and_its_traceback_has_the_line():
    shown = []
    with pytest.raises(ZeroDivisionError) as caught:
        run_cells(code("1", "x = 0\n1 / x", "2"), shown.append)
    assert shown == ["1"]
    frame = caught.traceback[-1]
    name = frame.frame.code.raw.co_filename
    assert linecache.getline(name, frame.lineno + 1) == "1 / x"
    assert _NOTEBOOK_CELL.search(name)


def test_a_class_of_a_cell_can_be_pickled_and_the_former_main_module_comes_back():
    former = sys.modules["__main__"]
    shown = []
    run_cells(code("import pickle\nclass Own:\n    x = 3", "pickle.loads(pickle.dumps(Own())).x"), shown.append)
    assert shown == ["3"]
    assert sys.modules["__main__"] is former
