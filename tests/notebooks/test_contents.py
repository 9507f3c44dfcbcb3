"""The table of what a lesson holds is what its command writes."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lessons() -> ModuleType:
    """The script `.ci/lessons.py` as a module."""
    spec = importlib.util.spec_from_file_location("lessons_table", ROOT / ".ci" / "lessons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_words_tasks_and_pictures_is_as_written(lessons: ModuleType) -> None:
    assert lessons.table() in (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8"), "python .ci/lessons.py"


def test_every_link_of_the_table_of_contents_leads_to_a_file_that_a_copy_has_too() -> None:
    """`lab lessons` opens the folder alone, and copies the files in it alone."""
    folder = ROOT / "notebooks"
    links = re.findall(r"\]\(([^)#]+)", (folder / "README.md").read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (folder / link).is_file() or "/" in link]


def test_what_is_counted(lessons: ModuleType) -> None:
    cells = [
        {"cell_type": "markdown", "source": "Two words. <details>\nnot these\n</details>", "metadata": {}},
        {"cell_type": "code", "source": "def f(): ...", "metadata": {"tags": ["stub"]}},
        {"cell_type": "code", "source": "g = predict('a')\ndraw_graph(x)\nassert draw_graph(x).ok", "metadata": {}},
        {"cell_type": "code", "source": "memory_bars(a=1)", "metadata": {}},
    ]
    assert lessons.counts({"cells": cells}) == (2, 4, 1, 1, 2)
