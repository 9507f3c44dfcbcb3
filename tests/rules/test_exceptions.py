"""Exceptions are caught by name: never a bare `except`, `Exception` or `BaseException`."""

import ast

import pytest

BROAD = {"Exception", "BaseException"}


def broad_except_violations(path: str, source: str) -> list[str]:
    """Handlers (and `suppress` calls) that would catch anything."""
    found = []
    for node in ast.walk(ast.parse(source)):
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = list(node.type.elts) if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
            caught = list(node.args)
        for kind in caught:
            name = ast.unparse(kind).split(".")[-1] if kind else "nothing named"
            if kind is None or name in BROAD:
                found.append(f"{path}:{node.lineno}: catches {name}")
    return found


def test_no_handler_catches_everything(sources: dict[str, str]) -> None:
    found = [violation for path, text in sources.items() for violation in broad_except_violations(path, text)]
    assert sources
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept:\n    raise",
        "try:\n    f()\nexcept Exception as error:\n    raise",
        "try:\n    f()\nexcept (ValueError, BaseException):\n    raise",
        "try:\n    f()\nexcept builtins.Exception:\n    raise",
        "with contextlib.suppress(Exception):\n    f()",
    ],
)
def test_the_rule_sees_each_broad_form(source: str) -> None:
    assert len(broad_except_violations("lab/a.py", source)) == 1


def test_the_rule_accepts_named_exceptions() -> None:
    source = "try:\n    f()\nexcept (OSError, ValueError):\n    raise\nwith suppress(OSError):\n    f()"
    assert broad_except_violations("lab/a.py", source) == []
