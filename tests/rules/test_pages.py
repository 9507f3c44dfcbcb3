"""Every public name of the package has its place on an API page of the site, under the module that defines it."""

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def pages(root: Path) -> ModuleType:
    """The script that MkDocs calls: `.ci/pages.py`."""
    spec = importlib.util.spec_from_file_location("pages", root / ".ci" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def placed(page: str) -> dict[str, str]:
    """Public name, with its part -> dotted path of the definition that the page shows or links to there."""
    return dict(re.findall(r"^\[\]\(\){#(\S+)}\n\n(?:## \w+\n\nSee \[`|::: )([\w.]+)", page, re.MULTILINE))


def test_every_public_name_is_on_an_api_page(pages: ModuleType, sources: dict[str, str]) -> None:
    found: dict[str, str] = {}
    for page in pages.api_pages().values():
        found |= placed(page)
    inits = [path for path in sources if path.startswith("lab/") and path.endswith("/__init__.py")]
    parts = [importlib.import_module(path.removesuffix("/__init__.py").replace("/", ".")) for path in inits]
    public = {f"{part.__name__}.{name}": part for part in parts for name in part.__all__}
    assert len(public) > 200
    assert found.keys() == public.keys()
    for name, part in public.items():
        module, _, own = found[name].rpartition(".")
        defined = getattr(importlib.import_module(module), own)
        assert defined is getattr(part, name.rpartition(".")[2]), f"{name} is not {found[name]}"


INIT, STUB = "__init__.py", "__init__.pyi"


def test_names_are_read_from_the_stub_of_a_part_that_is_loaded_lazily(pages: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "lab/a").mkdir(parents=True)
    (tmp_path / "lab" / INIT).write_text("from lab.a import f\n__all__ = ['__version__', 'f']\n__version__ = '1'\n")
    (tmp_path / "lab/a" / INIT).write_text('"""What a does."""\n__getattr__, __dir__, __all__ = attach_stub()\n')
    (tmp_path / "lab/a" / STUB).write_text("from .b import C\nfrom .b import g as f\n__all__ = ['C', 'f']\n")
    assert pages.public_names("lab.a", tmp_path) == {"C": "lab.a.b.C", "f": "lab.a.b.g"}
    assert pages.public_names("lab", tmp_path) == {"__version__": "lab.__version__", "f": "lab.a.b.g"}
    made = pages.api_pages(tmp_path)
    assert made["api/lab.a.md"].startswith("# lab.a\n\nWhat a does.\n")
    assert "::: lab.a.b.g" in made["api/lab.a.md"]
    assert "See [`lab.a.b.g`][lab.a.b.g]." in made["api/lab.md"]
    assert placed(made["api/lab.md"]) == {"lab.__version__": "lab.__version__", "lab.f": "lab.a.b.g"}


@pytest.mark.parametrize("text", ["from .b import C\n", "from .b import C\n__all__ = ['C', 'D']\n"])
def test_a_part_whose_public_names_cannot_be_read_is_refused(pages: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / INIT).write_text(text)
    with pytest.raises(ValueError, match="expected an __all__"):
        pages.api_pages(tmp_path)


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("README.md", "[a](docs/doctor.md#x)", "[a](doctor.md#x)"),
        ("README.md", "![a](docs/page.png)", "![a](page.png)"),
        ("README.md", "see [the table](docs/results/demo.json).", "see the table."),
        ("docs/results.md", "[`lab`](../data/README.md)", "[`lab`](data.md)"),
        ("docs/results.md", "[a](../data/nb125_digits.csv)", "a"),
        ("notebooks/README.md", "[a](00_tour.ipynb), [b](../docs/results.md)", "a, [b](results.md)"),
        ("docs/results.md", "[a](gone.md), [b](#c), `x[0](h)`", "[a](gone.md), [b](#c), `x[0](h)`"),
    ],
)
def test_links_hold_on_the_site(pages: ModuleType, source: str, link: str, expected: str) -> None:
    assert pages.site_links(link, source) == expected
