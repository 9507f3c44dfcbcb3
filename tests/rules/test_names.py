"""Names say what a thing is; tracked text names no machine and no registry."""

import ast
import re
from pathlib import PurePosixPath

import pytest

FORBIDDEN = {
    "advanced", "enhanced", "improved", "intelligent", "new", "optimised", "optimized", "smart", "unified",
    "helpers", "misc", "util", "utils",
}  # fmt: skip
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


def test_the_place_rule_sees_paths_and_hosts_and_lets_relative_ones_be() -> None:
    for folder in ("home", "root", "tmp"):
        assert len(place_violations("a.md", "see /" + folder + "/me")) == 1
    assert len(place_violations("a.md", "from https://py" + "pi.org/simple")) == 1
    assert place_violations("a.md", "see data/tmp/me, ../work/x and http://127.0.0.1:8501/home/x") == []
