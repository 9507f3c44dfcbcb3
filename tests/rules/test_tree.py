"""The tree of docs/architecture.md names every source file of the project, and nothing that is not there.

The tree is the fenced block with a line that starts with `lab/`. Each line holds, after its indentation (spaces or
box-drawing characters), one name or several joined by ", ", and after two spaces or more a description. A name that
ends in "/" is a folder; what is indented below it is inside it. A line's own path may have several steps
(`lab/base/`). Not named one by one: `__init__.py` (its folder is named) and what lies in a FOLDERS_ONLY folder.
"""

import re
from collections.abc import Iterable

import pytest

FOLDERS_ONLY = ("tests/", "docs/results/")
NAMED_SUFFIXES = (".py", ".ipynb", ".md", ".toml", ".txt")
NAMED_FILES = (
    *("Makefile", "LICENSE", "CITATION.cff", "mkdocs.yml", ".gitignore", ".pre-commit-config.yaml"),
    *(".ci/run", ".github/workflows/ci.yml"),
)


def tree_block(text: str) -> list[str]:
    """Lines of the fenced block that holds the tree; empty where there is none."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = block.splitlines()
        if any(line.lstrip("│├└─|`- ").startswith("lab/") for line in lines):
            return lines
    return []


def tree_paths(lines: Iterable[str]) -> list[str]:
    """Paths that a tree names, folders with a final slash."""
    paths: list[str] = []
    open_folders: list[tuple[int, str]] = []
    for line in lines:
        name_text = line.lstrip("│├└─|`- ")
        if not name_text:
            continue
        column = len(line) - len(name_text)
        while open_folders and open_folders[-1][0] >= column:
            open_folders.pop()
        parent = open_folders[-1][1] if open_folders else ""
        names = re.split(r"\s{2,}", name_text.strip())[0].split(", ")
        paths += [parent + name for name in names]
        if len(names) == 1 and names[0].endswith("/"):
            open_folders.append((column, parent + names[0]))
    return paths


def must_be_named(tracked: Iterable[str]) -> set[str]:
    """What of `tracked` the tree has to name: source files, and the folders of FOLDERS_ONLY."""
    needed = set()
    for path in tracked:
        listed_by_folder = next((folder for folder in FOLDERS_ONLY if path.startswith(folder)), None)
        if listed_by_folder:
            inside = path.removeprefix(listed_by_folder)
            needed.add(listed_by_folder + (inside.split("/")[0] + "/" if "/" in inside else ""))
        elif path.endswith("/__init__.py"):
            needed.add(path.removesuffix("__init__.py"))
        elif path in NAMED_FILES or path.endswith(NAMED_SUFFIXES):
            needed.add(path)
    return needed


def tree_violations(page: str, tracked: Iterable[str]) -> list[str]:
    """What the tree leaves out, and what it names that is not there."""
    tracked = set(tracked)
    named = set(tree_paths(tree_block(page)))
    if not named:
        return ["docs/architecture.md: no fenced tree with a line lab/"]
    folders = {path[: at + 1] for path in tracked for at, char in enumerate(path) if char == "/"}
    missing = must_be_named(tracked) - named
    gone = named - tracked - folders
    return [f"not in the tree: {path}" for path in sorted(missing)] + [f"not there: {path}" for path in sorted(gone)]


def test_the_tree_names_every_source_file_and_nothing_else(texts: dict[str, str], tracked: tuple[str, ...]) -> None:
    found = tree_violations(texts["docs/architecture.md"], tracked)
    assert not found, "run python .ci/tree.py:\n" + "\n".join(found)


TREE = """# lab
```
Makefile               the commands
lab/                   the package
├── base/              what every part stands on
│   ├── errors.py, report.py  exceptions, reports
│   └── seeds.py
└── nn/cell.py
tests/
  conftest.py
  base/                tests of lab/base
```
"""
FILES = ["Makefile", "lab/__init__.py", "lab/base/__init__.py", "lab/base/errors.py", "lab/base/report.py"]
FILES += ["lab/base/seeds.py", "lab/nn/cell.py", "tests/conftest.py", "tests/base/test_errors.py"]


def test_the_tree_rule_accepts_a_tree_that_is_complete() -> None:
    assert tree_violations(TREE, FILES) == []


@pytest.mark.parametrize(
    ("added", "violation"),
    [
        ("lab/base/checks.py", "not in the tree: lab/base/checks.py"),
        ("lab/space/__init__.py", "not in the tree: lab/space/"),
        ("tests/space/test_genotype.py", "not in the tree: tests/space/"),
        ("notebooks/00_tour.ipynb", "not in the tree: notebooks/00_tour.ipynb"),
        ("docs/seeds.md", "not in the tree: docs/seeds.md"),
        ("pyproject.toml", "not in the tree: pyproject.toml"),
    ],
)
def test_the_tree_rule_sees_a_file_that_is_not_named(added: str, violation: str) -> None:
    assert tree_violations(TREE, [*FILES, added]) == [violation]


def test_the_tree_rule_sees_a_name_that_is_gone_and_a_page_without_a_tree() -> None:
    assert tree_violations(TREE, [f for f in FILES if f != "lab/base/seeds.py"]) == ["not there: lab/base/seeds.py"]
    assert tree_violations("# lab\n", FILES) == ["docs/architecture.md: no fenced tree with a line lab/"]
