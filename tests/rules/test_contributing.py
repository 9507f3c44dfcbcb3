"""Every file that CONTRIBUTING.md sends a reader to is there, and so is every command."""

import re
from pathlib import Path

TABLE_ROW = re.compile(r"^\| (?P<files>`[^|]*) \|", re.MULTILINE)
IN_LISTS = re.compile(r"`((?:lab|tests|docs|notebooks|dashboard|\.ci)/[^`]*|[A-Z]+\.md)`")


def missing_files(page: str, root: Path) -> list[str]:
    """Paths in the first column of a table, and paths anywhere else in backticks, that lead to nothing."""
    named = [name for row in TABLE_ROW.finditer(page) for name in re.findall(r"`([^`]+)`", row["files"])]
    named += IN_LISTS.findall(page)
    return sorted({name for name in named if not list(root.glob(name.replace("NN_name", "[0-9][0-9]_*")))})


def test_every_file_that_contributing_names_is_there(root: Path, texts: dict[str, str]) -> None:
    page = texts["CONTRIBUTING.md"]
    assert len(TABLE_ROW.findall(page)) > 20
    assert missing_files(page, root) == []


def test_every_command_that_contributing_names_is_there(texts: dict[str, str]) -> None:
    commands = set(re.findall(r"\bmake ([a-z-]+)", texts["CONTRIBUTING.md"]))
    assert commands >= {"install", "test", "test-all", "check", "docs"}
    targets = set(re.findall(r"^([a-z-]+):", texts["Makefile"], re.MULTILINE))
    assert commands <= targets


def test_the_rule_sees_a_file_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/here.py").touch()
    page = "| file | what |\n|---|---|\n| `lab/here.py`, `lab/gone.py` | a |\n\nsee `lab/away.py` and `Morph`\n"
    assert missing_files(page, tmp_path) == ["lab/away.py", "lab/gone.py"]
