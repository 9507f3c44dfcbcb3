"""Names say what a thing is, each class has its own, a test's fits a line; text names no machine and no registry."""

import ast
import re
from pathlib import PurePosixPath

import pytest

FORBIDDEN = {
    "advanced", "enhanced", "improved", "intelligent", "new", "optimised", "optimized", "smart", "unified",
    "helpers", "misc", "util", "utils",
}  # fmt: skip
LONGEST_TEST = 80
"""Characters of a test's name."""
MACHINE = re.compile(r"(?<![\w.])/(?:home|Users|root|work|farm|tmp|opt)/[A-Za-z.]")
HOSTS = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|index[-]url|conda\.anaconda\.org")


def words_of(name: str) -> list[str]:
    """`SmartNet_v2` -> smart, net, v2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z][a-z]*\d*|[a-z]+\d*|\d+", name)]


def name_violations(path: str, source: str) -> list[str]:
    """Adjectives, versions and collecting names in a module's path and in its classes' names."""
    names = [(f"{path}: module", part.removesuffix(".py")) for part in PurePosixPath(path).parts]
    tree = ast.parse(source)
    names += [(f"{path}:{n.lineno}: class", n.name) for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    found = []
    for where, name in names:
        bad = [word for word in words_of(name) if word in FORBIDDEN or re.fullmatch(r"v\d+", word)]
        if bad:
            found.append(f"{where} {name}: {', '.join(bad)}")
    return found


def class_places(sources: dict[str, str]) -> dict[str, list[str]]:
    """Where each class is defined, by its name."""
    found: dict[str, list[str]] = {}
    for path, source in sources.items():
        if path.endswith(".py"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    return found


def long_tests(source: str) -> list[str]:
    """Names of tests with more than `LONGEST_TEST` characters."""
    names = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("test_") and len(name) > LONGEST_TEST]


def place_violations(path: str, text: str) -> list[str]:
    """Paths of one machine and hosts of package registries."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        found += [f"{path}:{number}: {hit.group()}" for rule in (MACHINE, HOSTS) for hit in rule.finditer(line)]
    return found


def test_no_module_or_class_has_an_adjective_or_a_version(sources: dict[str, str]) -> None:
    found = [violation for path, text in sources.items() for violation in name_violations(path, text)]
    assert sources
    assert not found, "\n".join(found)


def test_no_class_name_stands_in_two_files(sources: dict[str, str]) -> None:
    places = class_places(sources)
    assert len(places) > 300
    found = [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    assert not found, "\n".join(found)


def test_no_test_name_is_longer_than_the_limit(texts: dict[str, str]) -> None:
    tests = {path: text for path, text in texts.items() if path.startswith("tests/") and path.endswith(".py")}
    assert tests
    found = [f"{path}: {name} ({len(name)})" for path, text in tests.items() for name in long_tests(text)]
    assert not found, "\n".join(found)


def test_no_text_names_a_machine_or_a_registry(texts: dict[str, str]) -> None:
    found = [violation for path, text in texts.items() for violation in place_violations(path, text)]
    assert "pyproject.toml" in texts
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("lab/nn/utils.py", ""),
        ("lab/nn/smart_cell.py", ""),
        ("lab/nn/cell_v2.py", ""),
        ("lab/nn/new_cell.py", ""),
        ("lab/nn/cell.py", "class EnhancedCell: ..."),
        ("lab/nn/cell.py", "class CellV2: ..."),
        ("lab/nn/cell.py", "def f():\n    class _UnifiedCell: ..."),
    ],
)
def test_the_name_rule_sees_each_fault(path: str, source: str) -> None:
    assert len(name_violations(path, source)) == 1


def test_the_name_rule_accepts_plain_nouns() -> None:
    source = "class SuperNet: ...\nclass NewtonStep: ...\nclass OOMTransaction: ...\nclass NB201: ..."
    assert name_violations("lab/nn/supernet.py", source) == []


def test_the_class_rule_sees_a_name_in_two_files_private_ones_too() -> None:
    places = class_places({"lab/a/x.py": "class _Watch: ...", "lab/b/y.py": "def f():\n    class _Watch: ..."})
    assert places == {"_Watch": ["lab/a/x.py:1", "lab/b/y.py:2"]}


def test_the_length_rule_sees_one_character_too_many() -> None:
    source = f"def test_{'a' * 76}(): ...\ndef test_{'b' * 75}(): ...\ndef helper_{'c' * 90}(): ..."
    assert long_tests(source) == [f"test_{'a' * 76}"]


def test_the_place_rule_sees_paths_and_hosts_and_lets_relative_ones_be() -> None:
    for folder in ("home", "root", "tmp"):
        assert len(place_violations("a.md", "see /" + folder + "/me")) == 1
    assert len(place_violations("a.md", "from https://py" + "pi.org/simple")) == 1
    assert place_violations("a.md", "see data/tmp/me, ../work/x and http://127.0.0.1:8501/home/x") == []
