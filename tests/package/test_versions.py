"""The tested versions: what constraints.txt names, when `make install` takes it, what the page of versions says."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
# Stands in for the environment's Python and writes down how pip is called.
PYTHON = '#!/bin/sh\necho "$@" >> calls\n'
REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_b"/>
<testcase classname="tests.a" name="test_c"><skipped message="no GPU"/></testcase>
<testcase classname="tests.a" name="test_d[1]"><failure message="1 != 2"/></testcase>
<testcase classname="tests.a" name="test_e"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def script(name: str) -> ModuleType:
    """A script of `.ci/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_named_package_has_a_tested_version_within_its_bounds() -> None:
    listed = [Requirement(text) for text in [*PROJECT["dependencies"], *(r for rows in EXTRAS.values() for r in rows)]]
    wanted = {requirement.name: requirement for requirement in listed if requirement.name != PROJECT["name"]}
    assert PINNED.keys() == wanted.keys()
    outside = [name for name, version in PINNED.items() if version not in wanted[name].specifier]
    assert outside == []
    assert not [version for version in PINNED.values() if "+" in version], "a build of one kind of machine"


def test_the_constraints_are_what_the_environment_has_and_keep_what_it_has_not() -> None:
    project = {"name": "x", "dependencies": ["pytest>=9,<10"], "optional-dependencies": {"a": ["x[b]", "not-there<2"]}}
    text = script("constraints").constraints_text(project, "# a comment\nnot-there==1.5\npytest==0.1\n")
    assert re.findall(r"^[^#].*", text, re.MULTILINE) == ["not-there==1.5", f"pytest=={pytest.__version__}"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the project's Makefile and an environment whose Python only writes down its arguments."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def installs(clone: Path, **variables: str) -> list[str]:
    """Run `make install`; the calls of pip that it led to."""
    calls = clone / "calls"
    calls.unlink(missing_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("LATEST", "MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "install"], cwd=clone, env={**environment, **variables}, capture_output=True, check=True)
    return calls.read_text().splitlines() if calls.is_file() else []


def make_newer(path: Path, than: Path) -> None:
    seconds = than.stat().st_mtime + 10
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("changed", ["constraints.txt", "pyproject.toml"])
def test_it_is_installed_again_when_versions_have_changed_and_only_then(clone: Path, changed: str) -> None:
    (first,) = installs(clone)
    assert "--constraint constraints.txt" in first
    assert first.endswith("--editable .[all]")
    assert installs(clone) == []
    make_newer(clone / changed, than=clone / ".venv" / "installed")
    assert installs(clone) == [first]


def test_the_newest_versions_come_without_the_constraints_and_back_again(clone: Path) -> None:
    (tested,) = installs(clone)
    (newest,) = installs(clone, LATEST="1")
    assert "--constraint" not in newest
    assert "--upgrade" in newest
    assert installs(clone, LATEST="1") == []
    assert installs(clone) == [tested]


def test_the_page_of_versions_is_what_its_figures_say() -> None:
    supported = script("supported")
    figures = json.loads(supported.FIGURES.read_text(encoding="utf-8"))
    assert supported.PAGE.read_text(encoding="utf-8") == supported.page_text(figures)
    (torch,) = (r for r in PROJECT["dependencies"] if r.startswith("torch>="))
    assert torch.startswith(f"torch>={next(iter(supported.VERSIONS))},")
    pinned = (f"torch=={PINNED['torch']}", f"torchvision=={PINNED['torchvision']}")
    assert supported.VERSIONS[PINNED["torch"]] == pinned


def test_the_page_names_failures_and_versions_that_were_not_run(tmp_path: Path) -> None:
    supported = script("supported")
    (tmp_path / "report.xml").write_text(REPORT)
    counts = supported.read_report(tmp_path / "report.xml")
    assert counts == {"passed": 1, "skipped": 1, "failed": 2, "failures": ["tests.a::test_d[1]", "tests.a::test_e"]}
    row = {"torch": "2.11.0", "torchvision": "0.26.0", "python": "3.11.7", **counts, "seconds": 9, "date": "2030-01-02"}
    page = supported.page_text({"2.11": row})
    assert "| 2.11 | 2.11.0 | 0.26.0 | 3.11.7 | 1 | 1 | 2 | 9 | 2030-01-02 |" in page
    assert "| newest | not run |" in page
    assert page.endswith("Failed on 2.11:\n\n- `tests.a::test_d[1]`\n- `tests.a::test_e`\n")


def test_the_table_of_the_newest_versions_names_what_differs_and_what_is_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / ".ci")
    latest = script("latest")
    tested = latest.tested_versions("# a\nTorch==2.14.1\nlazy_loader==0.6\nrich==15.0\nplotly==7.1\n")
    installed = {"torch": "2.15.0+cu130", "lazy-loader": "0.6", "rich": "15.0", "plotly": "7.1", "pip": "26"}
    assert latest.table(tested, installed, {"rich": "16.0"})[2:] == [
        "| rich | 15.0 | 15.0 | 16.0 |",
        "| torch | 2.14.1 | 2.15.0 |  |",
    ]
