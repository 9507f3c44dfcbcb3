"""The package prints nothing of itself: reports are returned, and only the command line writes."""

import ast

import pytest


def print_violations(path: str, source: str) -> list[str]:
    """Calls of `print`, by whatever module it came from; outside the command line, writes to standard streams too."""
    forbidden = {"print", "builtins.print", "rich.print"}
    if not path.startswith("lab/cli/"):
        forbidden |= {"sys.stdout.write", "sys.stderr.write"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in forbidden:
                found.append(f"{path}:{node.lineno}: {name}(")
    return found


def test_nothing_in_lab_prints(sources: dict[str, str]) -> None:
    own = {path: text for path, text in sources.items() if path.startswith("lab/")}
    found = [violation for path, text in own.items() for violation in print_violations(path, text)]
    assert own
    assert not found, "\n".join(found)


@pytest.mark.parametrize("source", ["print('a')", "def f():\n    rich.print(1)", "import sys\nsys.stdout.write('a')"])
def test_the_print_rule_sees_each_form(source: str) -> None:
    assert len(print_violations("lab/a.py", source)) == 1


def test_the_print_rule_accepts_a_console_a_docstring_and_the_clis_own_stream() -> None:
    assert print_violations("lab/cli/a.py", "sys.stdout.write('a')") == []
    assert print_violations("lab/a.py", "'''print(x)'''\nconsole.print('a')") == []
