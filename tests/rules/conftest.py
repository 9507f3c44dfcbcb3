"""What the rules look at: the project's own files, read once."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lab", "dashboard", "notebooks", "tests", "docs", "data", ".ci", ".github", ".streamlit")
MADE = {"__pycache__", ".ipynb_checkpoints"}


def walk(root: Path) -> list[str]:
    """The files of an unpacked copy without git: everything in the project's folders and at top level."""
    found = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        found += [p for p in (root / folder).rglob("*") if p.is_file() and not MADE.intersection(p.parts)]
    return [path.relative_to(root).as_posix() for path in found]


@pytest.fixture(scope="session")
def root() -> Path:
    """Top folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> tuple[str, ...]:
    """Every file of the project, as git lists them; of an unpacked copy without git, as found on disk."""
    if (root / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
        names = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
        if listed.returncode == 0 and names:
            return tuple(sorted(names))
    return tuple(sorted(walk(root)))


@pytest.fixture(scope="session")
def texts(root: Path, tracked: tuple[str, ...]) -> dict[str, str]:
    """Text of every file of the project that is UTF-8 text."""
    found = {}
    for name in tracked:
        data = (root / name).read_bytes()
        if b"\0" not in data:
            found[name] = data.decode("utf-8")
    return found


@pytest.fixture(scope="session")
def sources(texts: dict[str, str]) -> dict[str, str]:
    """Python source of the package and the dashboard: `lab/` and `dashboard/`, without tests."""
    return {
        name: text
        for name, text in texts.items()
        if name.endswith((".py", ".pyi")) and name.startswith(("lab/", "dashboard/"))
    }
