"""A warning fails a test where our own code is what warns; what a library warns of is reported and fails nothing."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

WARN = "import warnings\ndef old(): warnings.warn('gone soon', DeprecationWarning, stacklevel=1)\n"
TEST = """
import importlib
def test_it():
    importlib.import_module({module!r}).old()
"""


def run_pytest(folder: Path, root: Path, module: str, test: str) -> str:
    """Last line of a pytest run with the project's filters over `test`, beside a module that warns."""
    filters = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    lines = "\n".join(f"    {line}" for line in filters["filterwarnings"])
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = --import-mode=importlib\nfilterwarnings =\n{lines}\n")
    path = folder / "path" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True)
    path.write_text(WARN)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(test)
    environment = {**os.environ, "PYTHONPATH": str(folder / "path"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return run.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("module", ["lab", "lab.nn", "lab.nn.cell", "components.feed"])
def test_a_warning_of_our_own_code_fails_the_test(module: str, tmp_path: Path, root: Path) -> None:
    assert run_pytest(tmp_path, root, module, TEST.format(module=module)).startswith("1 failed")


@pytest.mark.parametrize("module", ["torch_new", "labels", "labels.lab", "some_library.components", "testsuite"])
def test_a_warning_of_a_library_is_reported_and_fails_nothing(module: str, tmp_path: Path, root: Path) -> None:
    assert run_pytest(tmp_path, root, module, TEST.format(module=module)).startswith("1 passed, 1 warning")


def test_a_warning_in_a_test_of_ours_fails_it(tmp_path: Path, root: Path) -> None:
    test = WARN + "def test_it(): old()"
    assert run_pytest(tmp_path, root, "unused", test).startswith("1 failed")


def test_an_exception_in_a_thread_fails_the_test(tmp_path: Path, root: Path) -> None:
    test = (
        "import threading\ndef test_it():\n    t = threading.Thread(target=lambda: 1 / 0)\n    t.start()\n    t.join()"
    )
    assert run_pytest(tmp_path, root, "unused", test).startswith("1 failed")
