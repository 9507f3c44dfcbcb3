"""Every example of docs/doctor.md runs, and prints what the page says."""

import contextlib
import io
import linecache
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.doctor import KINDS
from lab.doctor.faults import FIXES
from lab.doctor.misplaced import FIXES as PLACEMENT_FIXES
from lab.doctor.training_faults import TRAINING_FIXES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)
COUNTS = re.compile(r"\d+ operations, \d+ nodes|\d+ calls")


def _run(code: str, number: int, namespace: dict[str, Any]) -> str:
    """What `code` prints; its lines are found under the name `example_NN.py`."""
    name = f"example_{number:02}.py"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        exec(compile(code, name, "exec"), namespace)
    return written.getvalue()


@pytest.mark.skipif(
    not hasattr(torch.autograd.graph, "node_creation_hook"), reason="the page's reports name the node_creation_hook"
)
def test_every_example_runs_in_order_and_prints_what_the_page_says() -> None:
    blocks = list(BLOCK.finditer(PAGE.read_text()))
    assert len(blocks) == PAGE.read_text().count("```python")
    assert sum(block["output"] is not None for block in blocks) >= 9
    namespace: dict[str, Any] = {"__name__": "examples"}
    for number, block in enumerate(blocks, 1):
        printed = _run(block["code"], number, namespace)
        assert COUNTS.sub("N", printed) == COUNTS.sub("N", block["output"] or ""), f"example {number}"


@pytest.mark.parametrize("fixes", [FIXES, PLACEMENT_FIXES, TRAINING_FIXES])
def test_the_page_has_every_category_with_the_fix_that_the_report_prints(fixes: dict[str, str]) -> None:
    page = PAGE.read_text()
    for category, fix in fixes.items():
        assert f"| {category} | {fix} |" in page


def test_the_page_has_every_kind_of_the_audit() -> None:
    text = " ".join(PAGE.read_text().split())
    for kind in KINDS:
        assert kind in text, kind
