"""Run the fast tests on each supported version of torch and write docs/supported.md.

    python .ci/supported.py [VERSION ...] [--tests PATH ...]

Each version gets an environment of its own, kept in the folder that LAB_ENVIRONMENTS names (5 GB each): torch and the
torchvision that was released with it, the rest in its tested version. The figures go to docs/results/supported.json,
from which the page is written; versions that are not asked for keep theirs. With --tests only these files run and
nothing is written.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "results" / "supported.json"
PAGE = ROOT / "docs" / "supported.md"
VERSIONS = {
    "2.11": ("torch==2.11.*", "torchvision==0.26.*"),
    "2.13": ("torch==2.13.*", "torchvision==0.28.*"),
    "2.14.1": ("torch==2.14.1", "torchvision==0.29.1"),
    "newest": ("torch", "torchvision"),
}
"""What is asked for -> what pip is told: the oldest that pyproject.toml admits, the one of constraints.txt, others."""
FAST = ("-m", "not slow and not browser", "--ignore=tests/notebooks")
"""The fast tests: no browser, no lessons, none that takes over about ten seconds."""
INTRO = """# Supported versions of torch

The fast tests (`pytest -m "not slow and not browser" --ignore=tests/notebooks`) on the CPU, in an environment of its
own for each version: torch and its torchvision, the rest as `constraints.txt` has it. Written by
`make supported` from [results/supported.json](results/supported.json).

"""
ASK = (
    "import platform, sys, torch, torchvision;"
    "sys.stdout.write(' '.join((torch.__version__, torchvision.__version__, platform.python_version())))"
)


def environment_folder() -> Path:
    """Where the environments are kept: outside the project."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LAB_ENVIRONMENTS") or cache / "asose-lab" / "environments")


def install(version: str) -> tuple[Path, dict[str, str]]:
    """Bring the environment of `version` up to date; its Python's path, and the versions that it has."""
    folder = environment_folder() / version
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", *VERSIONS[version]], check=True)
    asked = subprocess.run([str(python), "-c", ASK], check=True, capture_output=True, text=True)
    installed = dict(zip(("torch", "torchvision", "python"), asked.stdout.split(), strict=True))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        rest = re.sub(r"^torch(vision)?==.*\n", "", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M)
        for name in ("torch", "torchvision"):
            rest += f"{name}=={installed[name].split('+')[0]}\n"
        file.write(rest)
        file.flush()
        subprocess.run([*pip, "--constraint", file.name, "--editable", f"{ROOT}[all]"], check=True)
    return python, installed


def run_tests(python: Path, tests: Sequence[str]) -> dict[str, Any]:
    """Counts, failures and seconds of the fast tests, or of the files that `tests` names.

    Raises:
        RuntimeError: pytest did not run to its end.
    """
    command = [str(python), "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *FAST, *tests]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        start = time.monotonic()
        code = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, env=environment, check=False).returncode
        seconds = time.monotonic() - start
        if code not in (0, 1) or not report.is_file():
            raise RuntimeError(f"pytest ended with {code} before it had run its tests")
        return {**read_report(report), "seconds": round(seconds)}


def read_report(report: Path) -> dict[str, Any]:
    """Numbers of passed, skipped and failed tests in a JUnit file, and the names of those that failed."""
    passed, skipped, failures = 0, 0, []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return {"passed": passed, "skipped": skipped, "failed": len(failures), "failures": failures}


def measure(version: str, tests: Sequence[str]) -> dict[str, Any]:
    """One row of the page."""
    python, installed = install(version)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {**installed, **run_tests(python, tests), "date": date}


def page_text(figures: dict[str, dict[str, Any]]) -> str:
    """The page; a version without figures is said not to have been run."""
    columns = ("torch", "torchvision", "python", "passed", "skipped", "failed", "seconds", "date")
    lines = [f"| asked for | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for version in VERSIONS:
        row = figures.get(version)
        cells = [str(row[column]) for column in columns] if row else ["not run", *[""] * (len(columns) - 1)]
        lines.append(f"| {version} | {' | '.join(cells)} |")
    for version, row in figures.items():
        if row["failures"]:
            lines += ["", f"Failed on {version}:", "", *(f"- `{name}`" for name in row["failures"])]
    return INTRO + "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests on the versions that are asked for; 1 where one failed."""
    parser = argparse.ArgumentParser(description="Run the fast tests on supported versions of torch.")
    parser.add_argument("versions", nargs="*", help=f"among {', '.join(VERSIONS)}; all without one")
    parser.add_argument("--tests", nargs="+", default=[], help="only these files, and write nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.versions) - set(VERSIONS):
        parser.error(f"expected versions among {', '.join(VERSIONS)}, got {', '.join(sorted(unknown))}")
    failed = 0
    for version in options.versions or VERSIONS:
        row = measure(version, options.tests)
        failed += row["failed"]
        sys.stdout.write(f"{version}: {json.dumps(row)}\n")
        sys.stdout.flush()
        if not options.tests:
            figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
            figures[version] = row
            ordered = {name: figures[name] for name in VERSIONS if name in figures}
            FIGURES.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
            PAGE.write_text(page_text(ordered), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
