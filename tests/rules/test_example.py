"""The README is short, and its examples run as they are printed."""

import contextlib
import functools
import io
import re
from pathlib import Path

import pytest

from lab.datasets import digits

README = Path(__file__).parents[2] / "README.md"
LINES_MOST = 150
EXAMPLE_LINES_MOST = 10
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
SHOWN = (
    ("in-place arithmetic", "hidden.mul_(2)", "net[2](hidden).mean().backward()"),
    ("{'layer': 'layer1.0.conv1', 'width': 96}: applied", "exact, relative difference"),
    ("digits", "test accuracy"),
)
"""What each example prints, among others."""


def test_the_first_page_is_short_and_has_three_examples():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LINES_MOST
    assert len(BLOCKS) == len(SHOWN)
    assert all(len(block.strip().splitlines()) <= EXAMPLE_LINES_MOST for block in BLOCKS)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the example of that number prints; it runs once."""
    table_NC = digits._table()

    @functools.cache
    def run(number):
        folder, shown = tmp_path_factory.mktemp("example"), io.StringIO()
        path = folder / "example.py"
        path.write_text(BLOCKS[number], encoding="utf-8")
        with contextlib.chdir(folder), contextlib.redirect_stdout(shown), pytest.MonkeyPatch.context() as patch:
            # It trains the longer the more digits there are; every fourth one shows the same.
            patch.setattr(digits, "_table", lambda: table_NC[::4])
            exec(compile(BLOCKS[number], str(path), "exec"), {"__name__": "example"})
        return shown.getvalue()

    return run


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_an_example_of_the_first_page_runs_and_shows_what_it_says(number, printed):
    missing = [text for text in SHOWN[number] if text not in printed(number)]
    assert not missing, printed(number)


def test_the_first_page_explains_each_label_that_its_second_example_prints(printed):
    rows = printed(1).split("-\n", 1)[1].splitlines()
    labels = [line.split("  ")[0] for line in rows if "  " in line]
    text = README.read_text(encoding="utf-8")
    assert len(labels) >= 6
    assert [label for label in labels if f"`{label}`" not in text] == []
