"""Write constraints.txt: the version, in this environment, of each package that the distribution names.

Torch stands without its build (`+cu130`), so that the file serves every machine. What the packages themselves need is
left to pip.
"""

import importlib.metadata
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "constraints.txt"
HEAD = """# Versions that were tested together: `make install` takes these, `LATEST=1 make install` the newest.
# Written by `make constraints`; docs/supported.md says which versions of torch were tested beside this one.
"""


def named_packages(project: dict[str, Any]) -> list[str]:
    """Packages that [project] names in its dependencies and extras, sorted, each once."""
    listed = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=]", requirement)[0].strip() for requirement in listed}
    return sorted(names - {project["name"]}, key=str.lower)


def constraints_text(project: dict[str, Any], old: str) -> str:
    """The file's text; a package that is not installed keeps the line that it has in `old`."""
    before = dict(re.findall(r"^([^#\s=]+)==(\S+)$", old, re.MULTILINE))
    lines = []
    for name in named_packages(project):
        try:
            version: str | None = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            version = before.get(name)
        if version is not None:
            lines.append(f"{name}=={version}\n")
    return HEAD + "".join(lines)


def main() -> None:
    """Write the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    old = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
    TARGET.write_text(constraints_text(project, old), encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)} written\n")


if __name__ == "__main__":
    main()
