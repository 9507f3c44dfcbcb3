"""The README's example runs as it is printed."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_the_readme_runs_and_is_about_thirty_lines(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert 20 <= len(blocks[0].strip().splitlines()) <= 40
    exec(compile(blocks[0], "README.md", "exec"), {"__name__": "example"})
    difference = float(capsys.readouterr().out.split("difference now:")[1])
    assert difference > 0, "after the transition the network is another one"
