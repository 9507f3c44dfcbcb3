"""Writes the tree of docs/architecture.md: every source file of the project with the first claim of its own docstring.

python .ci/tree.py          write it
python .ci/tree.py --check  exit 1 where the page is not what would be written
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree: written by .ci/tree.py -->\n```\n", "```\n<!-- end of the tree -->"
TOP = ("lab", "dashboard", "notebooks", "tests", "data", "docs")
FOLDERS_ONLY = ("tests/", "docs/results/")
SUFFIXES = (".py", ".ipynb", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".js")
OTHERS = ("Makefile", "LICENSE", ".gitignore", ".ci/run")
WIDTH = 118


def claim(path: Path) -> str:
    """What a file says of itself in its first sentence; empty where it says nothing."""
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = " ".join(text.split("\n\n")[0].split())
        return re.split(r"(?<=[a-z`)])\.(?:\s|$)", first)[0].removesuffix(".")
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title = "".join(cells[0]["source"]).splitlines()[0]
        return re.sub(r"^#\s*(?:\d+[a-z]?\s+)?", "", title)
    if path.suffix == ".md":
        heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        return heading.group(1) if heading else ""
    return ""


def line(indent: int, name: str, text: str) -> str:
    """One line of the tree; a text that is too long ends at its last comma or colon that fits."""
    row = f"{'    ' * indent}{name}"
    room = WIDTH - len(row) - 2
    if len(text) > room:
        clause = max(text[:room].rfind(mark) for mark in (", ", ": ", "; "))
        text = text[:clause] if clause > 0 else text[:room].rsplit(" ", 1)[0]
    return f"{row}  {text}".rstrip()


def folder_rows(folder: str, names: list[str], indent: int) -> list[str]:
    """The lines of one folder: itself, its files, then its folders."""
    init = ROOT / folder / "__init__.py"
    rows = [line(indent, f"{folder.rstrip('/').split('/')[-1]}/", claim(init) if init.is_file() else "")]
    inside = [name for name in names if name.startswith(folder)]
    if folder in FOLDERS_ONLY:
        below = sorted({name.removeprefix(folder).split("/")[0] + "/" for name in inside if "/" in name[len(folder) :]})
        return rows + [line(indent + 1, each, "") for each in below]
    files = sorted(name for name in inside if "/" not in name[len(folder) :])
    named = [f for f in files if f.endswith(SUFFIXES) and not f.endswith(("/__init__.py", "/__init__.pyi"))]
    rows += [line(indent + 1, name.split("/")[-1], claim(ROOT / name)) for name in named]
    for below in sorted({name[len(folder) :].split("/")[0] for name in inside if "/" in name[len(folder) :]}):
        rows += folder_rows(f"{folder}{below}/", names, indent + 1)
    return rows


def tree() -> str:
    """The whole tree as text."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if (ROOT / name).is_file()]
    rows: list[str] = []
    for folder in TOP:
        rows += folder_rows(f"{folder}/", names, 0)
    rest = [n for n in names if not n.startswith(tuple(f"{t}/" for t in TOP)) and (n.endswith(SUFFIXES) or n in OTHERS)]
    rows += [line(0, name, claim(ROOT / name)) for name in sorted(rest)]
    return "\n".join(rows) + "\n"


def main() -> int:
    """Write or check the page; the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    written = text[:begin] + tree() + text[end:]
    if "--check" in sys.argv[1:]:
        return int(written != text)
    PAGE.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
