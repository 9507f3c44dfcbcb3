"""A file can be read at one sitting and a function seen on one screen."""

import ast
from collections.abc import Mapping
from statistics import median

FILE_SOFT = 400
FILE_HARD = 500
MEDIAN = (80, 160)
TRAIN_FILES_MOST = 18
FUNCTION_HARD = 100
# Path -> why this file may have more than 400 lines.
LONG_FILES: dict[str, str] = {}


def size_violations(path: str, source: str, long_files: Mapping[str, str]) -> list[str]:
    """Files over 500 lines, over 400 without a reason in `long_files`, and functions over 100 lines."""
    found = []
    lines = len(source.splitlines())
    if lines > FILE_HARD:
        found.append(f"{path}: {lines} lines, {FILE_HARD} at most")
    elif lines > FILE_SOFT and path not in long_files:
        found.append(f"{path}: {lines} lines, {FILE_SOFT} at most unless LONG_FILES gives a reason")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_HARD:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_HARD} at most")
    return found


def test_files_and_functions_keep_their_size(sources: dict[str, str]) -> None:
    found = [violation for path, text in sources.items() for violation in size_violations(path, text, LONG_FILES)]
    assert sources
    assert not found, "\n".join(found)


def test_the_median_file_is_neither_a_fragment_nor_a_tome(sources: dict[str, str]) -> None:
    names = [name for name in sources if name.startswith("lab/") and not name.endswith(("/__init__.py", ".pyi"))]
    assert MEDIAN[0] <= median(len(sources[name].splitlines()) for name in names) <= MEDIAN[1]


def test_the_room_of_the_training_loop_stays_small(sources: dict[str, str]) -> None:
    files = [name for name in sources if name.startswith("lab/train/") and name.endswith(".py")]
    assert 0 < len(files) <= TRAIN_FILES_MOST, sorted(files)


def test_every_exception_is_still_needed(sources: dict[str, str]) -> None:
    idle = [path for path in LONG_FILES if len(sources.get(path, "").splitlines()) <= FILE_SOFT]
    assert not idle, f"in LONG_FILES, but short or gone: {idle}"


def test_the_size_rule_sees_a_long_file_and_a_long_function() -> None:
    assert size_violations("a.py", "x = 1\n" * 401, {})
    assert size_violations("a.py", "x = 1\n" * 501, {"a.py": "a table"})
    assert size_violations("a.py", "def f():\n" + "    x = 1\n" * 100, {})
    assert size_violations("a.py", "class A:\n    async def f(self):\n" + "        x = 1\n" * 100, {})


def test_the_size_rule_accepts_the_limits_and_a_listed_exception() -> None:
    assert size_violations("a.py", "x = 1\n" * 400, {}) == []
    assert size_violations("a.py", "x = 1\n" * 401, {"a.py": "a table"}) == []
    assert size_violations("a.py", "def f():\n" + "    x = 1\n" * 99, {}) == []
