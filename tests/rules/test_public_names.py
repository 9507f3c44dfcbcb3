"""Each part lists its public names, exactly: imports and an `__all__` that equals them.

They stand in `__init__.pyi`, from which `__init__.py` loads each name when it is first used; parts that import nothing
heavy have them in `__init__.py`.
"""

import ast
import importlib
import re
from pathlib import Path

import pytest


def sort_key(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Constants, then classes, then the rest; numbers inside a name by their value (the order that ruff keeps)."""
    group = 0 if len(name) > 1 and name.isupper() else 1 if name[:1].isupper() else 2
    words = [word for word in re.split(r"(\d+)", name) if word]
    return group, [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in words]


def public_name_violations(path: str, source: str) -> list[str]:
    """What keeps an `__init__` from being imports and one exact, sorted `__all__`."""
    found, bound, listed = [], set(), None
    for position, node in enumerate(ast.parse(source).body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.asname or alias.name.split(".")[0] for alias in node.names}
            if "*" in names:
                found.append(f"{path}:{node.lineno}: import *")
            bound |= {name for name in names if not name.startswith("_")}
        elif isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
            listed = ast.literal_eval(node.value)
        elif isinstance(node, ast.Assign) and all(re.fullmatch(r"__\w+__", ast.unparse(t)) for t in node.targets):
            bound |= {ast.unparse(target) for target in node.targets}
        elif not (position == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.append(f"{path}:{node.lineno}: neither an import nor __all__")
    if listed is None:
        return [*found, f"{path}: no __all__"]
    if len(set(listed)) < len(listed):
        found.append(f"{path}: a name stands twice in __all__")
    found += [f"{path}: {name} is bound, but not in __all__" for name in sorted(bound - set(listed))]
    found += [f"{path}: {name} is in __all__, but not bound" for name in sorted(set(listed) - bound)]
    if listed != sorted(listed, key=sort_key):
        found.append(f"{path}: __all__ is not sorted")
    return found


LAZY = """
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
"""


def is_init(path: str) -> bool:
    return path.startswith("lab/") and path.endswith("/__init__.py")


def test_an_init_with_a_stub_loads_its_names_when_they_are_used(sources: dict[str, str]) -> None:
    stubs = [path for path in sources if path.endswith("__init__.pyi")]
    assert len(stubs) > 10
    eager = [path for path in stubs if not sources[path.removesuffix("i")].endswith(LAZY)]
    assert not eager


def test_every_part_lists_its_public_names_exactly(sources: dict[str, str]) -> None:
    inits = {path: sources.get(f"{path}i", text) for path, text in sources.items() if is_init(path)}
    found = [violation for path, text in inits.items() for violation in public_name_violations(path, text)]
    assert "lab/__init__.py" in inits
    assert not found, "\n".join(found)


def test_every_part_has_an_init(root: Path, tracked: tuple[str, ...]) -> None:
    folders = {str(Path(path).parent) for path in tracked if path.startswith("lab/") and path.endswith(".py")}
    missing = [folder for folder in sorted(folders) if not (root / folder / "__init__.py").is_file()]
    assert not missing, f"no __init__.py in {missing}"


def test_every_listed_name_can_be_imported(sources: dict[str, str]) -> None:
    for path in filter(is_init, sources):
        module = importlib.import_module(path.removesuffix("/__init__.py").replace("/", "."))
        missing = [name for name in module.__all__ if not hasattr(module, name)]
        assert not missing, f"{path}: {missing}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from lab.a import f", "no __all__"),
        ("from lab.a import f, g\n__all__ = ['f']", "g is bound, but not in"),
        ("from lab.a import f\n__all__ = ['f', 'g']", "g is in __all__, but not bound"),
        ("from lab.a import f, g\n__all__ = ['g', 'f']", "not sorted"),
        ("from lab.a import f\n__all__ = ['f', 'f']", "twice"),
        ("from lab.a import *\n__all__ = []", "import *"),
        ("'''Claim.'''\ndef f(): ...\n__all__ = []", "neither an import nor"),
        ("x = 1\n__all__ = []", "neither an import nor"),
    ],
)
def test_the_public_name_rule_sees_each_fault(source: str, expected: str) -> None:
    assert any(expected in violation for violation in public_name_violations("lab/a/__init__.py", source))


def test_the_public_name_rule_accepts_an_exact_list() -> None:
    source = "'''Claim.'''\nfrom lab.a import NB201, Genotype, sample\n__version__ = '1'\n"
    source += "__all__ = ['NB201', 'Genotype', '__version__', 'sample']"
    assert public_name_violations("lab/a/__init__.py", source) == []
