"""Install the newest versions of everything that pyproject.toml admits, run the fast tests, say what broke.

    python .ci/latest.py [--tests PATH ...] [--keep]

The environment is made anew and removed at the end (5 GB). The table that is printed has each package whose version is
not the tested one of constraints.txt; below it stand the tests that failed, and warnings of libraries about what they
will take away, which break nothing yet. Packages that are held back by an upper bound are marked.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from supported import ROOT, environment_folder, run_tests

FOLDER = "latest"


def tested_versions(text: str) -> dict[str, str]:
    """Package -> version of a constraints file."""
    return {_plain(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, flags=re.M)}


def install() -> Path:
    """A new environment with the newest versions; its Python's path."""
    folder = environment_folder() / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "--upgrade-strategy", "eager", "--editable", f"{ROOT}[all]"], check=True)
    return python


def listed(python: Path, *options: str) -> dict[str, str]:
    """Package -> version as pip lists it; with `--outdated` the version that is held back by an upper bound."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check", *options]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {_plain(row["name"]): row.get("latest_version", row["version"]) for row in found}


def table(tested: Mapping[str, str], installed: Mapping[str, str], held: Mapping[str, str]) -> list[str]:
    """Lines of the packages that differ from the tested ones, in the form of a Markdown table."""
    lines = ["| package | tested | here | newest, held back |", "|---|---|---|---|"]
    for name in sorted(tested.keys() & installed.keys()):
        here = installed[name].split("+")[0]
        if here != tested[name].split("+")[0] or name in held:
            lines.append(f"| {name} | {tested[name]} | {here} | {held.get(name, '')} |")
    return lines


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, test, tell; 1 where a test failed."""
    parser = argparse.ArgumentParser(description="Run the fast tests on the newest versions of everything.")
    parser.add_argument("--tests", nargs="+", default=[], help="only these files")
    parser.add_argument("--keep", action="store_true", help="keep the environment")
    options = parser.parse_args(arguments)
    python = install()
    tested = tested_versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    lines = table(tested, listed(python), listed(python, "--outdated"))
    row = run_tests(python, options.tests)
    lines += ["", f"{row['passed']} passed, {row['skipped']} skipped, {row['failed']} failed in {row['seconds']} s"]
    lines += [f"- failed: `{name}`" for name in row["failures"]]
    sys.stdout.write("\n".join(lines) + "\n")
    if not options.keep:
        shutil.rmtree(environment_folder() / FOLDER, ignore_errors=True)
    return 1 if row["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
