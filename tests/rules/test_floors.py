"""A part imports lower floors only, at module level and inside functions; the torch-free parts stay so."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
FLOORS = {
    "base": 0,
    "state": 1,
    "space": 1,
    "store": 1,
    "monitor": 1,
    "device": 2,
    "datasets": 2,
    "nn": 3,
    "mahia": 3,
    "doctor": 3,
    "charts": 3,
    "checkpoint": 3,
    "explore": 4,
    "morph": 4,
    "trial": 4,
    "probe": 4,
    "train": 5,
    "asose": 6,
    "agent": 6,
    "multitask": 6,
    "text": 6,
    "search": 6,
    "runs": 7,
    "results": 7,
    "tune": 8,
    "export": 8,
    "lesson": 8,
    "bench": 9,
    "experiments": 9,
    "cli": 10,
}
TORCH_FREE = ("base", "space", "store", "monitor", "charts")
DASHBOARD_MAY_IMPORT = ("base", "space", "store", "monitor", "charts")
TORCH = {"torch", "torchvision", "torch_pruning"}
HEAVY = {
    "streamlit",
    "transformers",
    "optuna",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "jupyter",
    "jupyterlab",
    "jupyter_core",
}
COMMAND = "lab/__main__.py"
"""`python -m lab`: no one imports it, so it may stand on the command line."""
OUTSIDE = {"dashboard", "notebooks", "tests"}


def imported(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in `source`, wherever it stands; `from a import b` gives `a.b`."""
    package = path.removesuffix("i").removesuffix(".py").removesuffix("/__init__").split("/")
    if not path.endswith(("/__init__.py", "/__init__.pyi")):
        package = package[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            yield from ((node.lineno, str(name)) for name in names)


def part_of(name: str) -> str:
    """`lab.train.loop` -> `train`; "" for `lab` itself and for names of `lab/__init__`."""
    words = name.split(".")
    return words[1] if words[0] == "lab" and len(words) > 1 and words[1] in FLOORS else ""


def floor_violations(path: str, source: str) -> list[str]:
    """Imports in a file of `lab/` that do not go strictly down."""
    words = path.split("/")
    own = words[1] if len(words) > 2 else ""
    if own and own not in FLOORS:
        return [f"{path}: the part {own!r} has no floor"]
    found = []
    for line, name in imported(path, source):
        if name.split(".")[0] in OUTSIDE:
            found.append(f"{path}:{line}: nothing in lab imports {name.split('.')[0]}")
        part = part_of(name)
        if not part or part == own:
            continue
        if not own:
            if part != "base" and path != COMMAND:
                found.append(f"{path}:{line}: lab itself imports base only, not {part}")
        elif FLOORS[part] >= FLOORS[own]:
            found.append(f"{path}:{line}: {own} (floor {FLOORS[own]}) imports {part} (floor {FLOORS[part]})")
    return found


def torch_free_violations(path: str, source: str) -> list[str]:
    """Imports that a torch-free file must not have: torch and its kin, heavy packages, parts that use torch."""
    found = []
    for line, name in imported(path, source):
        top, part = name.split(".")[0], part_of(name)
        if top in TORCH | HEAVY or (part and part not in TORCH_FREE):
            found.append(f"{path}:{line}: a torch-free part imports {name}")
    return found


def dashboard_violations(path: str, source: str) -> list[str]:
    """Imports that a file of `dashboard/` must not have."""
    found = []
    for line, name in imported(path, source):
        top, part = name.split(".")[0], part_of(name)
        if top in TORCH or (part and part not in DASHBOARD_MAY_IMPORT):
            found.append(f"{path}:{line}: the dashboard imports {name}")
    return found


def test_every_import_in_lab_goes_down(sources: dict[str, str]) -> None:
    found = [v for path, text in sources.items() if path.startswith("lab/") for v in floor_violations(path, text)]
    assert not found, "\n".join(found)


def test_every_folder_of_lab_has_a_floor(root: Path) -> None:
    folders = {path.parent.name for path in (root / "lab").glob("*/*.py")}
    assert folders <= set(FLOORS), f"without a floor: {sorted(folders - set(FLOORS))}"


def test_torch_free_parts_import_no_torch_by_source(sources: dict[str, str]) -> None:
    parts = tuple(f"lab/{part}/" for part in TORCH_FREE)
    own = {path: text for path, text in sources.items() if path.startswith(parts) or path == "lab/__init__.py"}
    found = [v for path, text in own.items() for v in torch_free_violations(path, text)]
    assert own
    assert not found, "\n".join(found)


def test_the_dashboard_imports_only_its_five_parts(sources: dict[str, str]) -> None:
    found = [v for p, text in sources.items() if p.startswith("dashboard/") for v in dashboard_violations(p, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("part", ["lab", *(f"lab/{part}" for part in TORCH_FREE if (LAB / part).is_dir())])
def test_importing_a_torch_free_part_loads_nothing_heavy(part: str, root: Path) -> None:
    files = sorted((root / part).rglob("*.py")) if part != "lab" else [root / "lab/__init__.py"]
    names = [path.relative_to(root).as_posix() for path in files]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}]; "
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & {TORCH | HEAVY!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("lab/nn/cell.py", "from lab.train import RunConfig"),
        ("lab/nn/cell.py", "def f():\n    import lab.doctor.audit"),
        ("lab/nn/cell.py", "from lab import train"),
        ("lab/nn/cell.py", "from ..explore import gumbel"),
        ("lab/nn/cell.py", "import importlib\nimportlib.import_module('lab.cli')"),
        ("lab/cli/app.py", "import dashboard.app"),
        ("lab/helpers/text.py", "import json"),
        ("lab/__init__.py", "from lab.space import Genotype"),
        ("lab/main.py", "from lab.cli.main import main"),
    ],
)
def test_the_floor_rule_sees_an_import_that_does_not_go_down(path: str, source: str) -> None:
    assert len(floor_violations(path, source)) == 1


def test_the_floor_rule_allows_imports_that_go_down_and_inside_a_part() -> None:
    source = "import torch\nfrom lab.base import DataError\nfrom lab.nn.cell import Cell\n"
    source += "from . import inits\nfrom lab import LabError"
    assert floor_violations("lab/nn/network.py", source) == []
    assert floor_violations("lab/__main__.py", "from lab.cli.main import main") == []


def test_the_torch_free_rule_sees_torch_inside_a_function_and_a_part_that_uses_torch() -> None:
    source = "def f():\n    from torch.nn import Linear\nfrom lab.device import place\nimport optuna\nimport numpy"
    assert len(torch_free_violations("lab/charts/lines.py", source)) == 3


def test_the_dashboard_rule_sees_a_forbidden_part_and_torch() -> None:
    source = "import streamlit\nfrom lab.store import RunReader\nfrom lab.train import RunConfig\nimport torch.nn"
    assert len(dashboard_violations("dashboard/app.py", source)) == 2
