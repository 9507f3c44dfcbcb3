"""What MkDocs adds to docs/: the first page, pages that lie outside docs/, one API page for each part of the package.

The API pages are found, not listed: every folder of `lab` with an `__init__` is a part, and its public names are the
`__all__` of its `__init__.pyi`, or of its `__init__.py` where the part is not loaded lazily. Each name stands under the
module that defines it, read from the source alone: nothing is imported.
"""

import ast
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE: Mapping[str, str] = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "notebooks/README.md": "lessons.md",
    "data/README.md": "data.md",
}
"""File of the project -> the page of the site that it becomes."""
SHOWN = (".md", ".png", ".svg")
"""What of docs/ the site holds."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def parts(root: Path = ROOT) -> list[str]:
    """Dotted names of the package and of its parts, the package first."""
    found = sorted(init.parent.relative_to(root).as_posix() for init in (root / "lab").rglob("__init__.py"))
    return [folder.replace("/", ".") for folder in found]


def public_names(part: str, root: Path = ROOT) -> dict[str, str]:
    """Public name of a part -> dotted path of what it names, in the order of `__all__`.

    Raises:
        ValueError: names are bound and there is no `__all__`, or a name in it is not bound.
    """
    folder = root / part.replace(".", "/")
    stub = folder / "__init__.pyi"
    source = stub if stub.is_file() else folder / "__init__.py"
    homes: dict[str, str] = {}
    listed: list[str] = []
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = part.split(".")[: len(part.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            homes |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if name == "__all__" and node.value is not None:
                listed = ast.literal_eval(node.value)
            homes[name] = f"{part}.{name}"
    if (homes and "__all__" not in homes) or set(listed) - set(homes):
        raise ValueError(f"{source}: expected an __all__ of the names that are bound there, got {listed}")
    return {name: definition(homes[name], part, root) for name in listed}


def definition(path: str, part: str, root: Path = ROOT) -> str:
    """Where the thing at a dotted path is defined: a name that another part's `__init__` passes on is followed."""
    module, _, name = path.rpartition(".")
    if module != part and (root / module.replace(".", "/") / "__init__.py").is_file():
        return public_names(module, root).get(name, path)
    return path


def part_of(path: str, root: Path = ROOT) -> str:
    """The part whose folder holds the module of a dotted path."""
    module = path.rpartition(".")[0]
    return module if (root / module.replace(".", "/")).is_dir() else part_of(module, root)


def api_page(part: str, root: Path = ROOT) -> str:
    """Markdown of a part's page: its docstring, then every public name."""
    source = (root / part.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    lines = [f"# {part}", "", ast.get_docstring(ast.parse(source)) or "", ""]
    for name, path in public_names(part, root).items():
        is_own = part_of(path, root) == part
        entry = [f"::: {path}"] if is_own else [f"## {name}", "", f"See [`{path}`][{path}]."]
        lines += [f"[](){{#{part}.{name}}}", "", *entry, ""]
    return "\n".join(lines)


def api_pages(root: Path = ROOT) -> dict[str, str]:
    """Page -> Markdown, for every part that has public names."""
    return {f"api/{part}.md": api_page(part, root) for part in parts(root) if public_names(part, root)}


def site_links(markdown: str, source: str, root: Path = ROOT) -> str:
    """The Markdown of the file `source` with links that hold on the site.

    A link to a page goes to that page; one to a file of the project that the site does not hold becomes its text.
    Links to elsewhere, and to nothing, stay as they are.
    """
    page = OUTSIDE.get(source, source.removeprefix("docs/"))

    def rewrite(match: re.Match[str]) -> str:
        image, text, address = match.groups()
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not path or ":" in path or not (root / target).exists():
            return match.group()
        found = OUTSIDE.get(target)
        if found is None and target.startswith("docs/") and target.endswith(SHOWN):
            found = target.removeprefix("docs/")
        if found is None:
            return text
        relative = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"

    return LINK.sub(rewrite, markdown)


def on_config(config: Any) -> Any:
    """Called by MkDocs: the API pages go into the navigation."""
    pages = [{part: f"api/{part}.md"} for part in parts() if public_names(part)]
    config["nav"] = [*config["nav"], {"API": pages}]
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Called by MkDocs: the pages that are not in docs/."""
    from mkdocs.structure.files import File

    made = {page: (ROOT / source).read_text(encoding="utf-8") for source, page in OUTSIDE.items()}
    for page, text in {**made, **api_pages()}.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs for each page: its links."""
    outside = {made: source for source, made in OUTSIDE.items()}
    return site_links(markdown, outside.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
