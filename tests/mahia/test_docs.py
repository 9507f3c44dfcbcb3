"""What docs/components.md shows runs and learns."""

import re
from pathlib import Path

import lab.mahia

PAGE = (Path(__file__).parents[2] / "docs" / "components.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_is_printed_and_learns(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    scope = {"__name__": "example"}
    first = block.replace("range(12)", "range(1)")
    exec(compile(first, "components.md", "exec"), scope)
    begun = [loss.item() for loss in scope["losses"]]
    exec(compile(block, "components.md", "exec"), scope)
    ended = [loss.item() for loss in scope["losses"]]
    assert all(after < before for before, after in zip(begun, ended, strict=True))
    assert capsys.readouterr().out


def test_every_component_that_the_page_names_is_there():
    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named <= set(lab.mahia.__all__)
    assert len(named) == 13
