"""README's picture of the page is of today: it holds a digest of what it was drawn with."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def screenshots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots", ROOT / ".ci" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_as_new_as_what_it_shows(screenshots: ModuleType) -> None:
    found = screenshots.text_of(screenshots.README.read_bytes(), screenshots.KEY)
    drawn = None if found is None else found.decode()
    assert drawn == screenshots.sources_digest(), (
        "docs/page.png is older than what it shows: python .ci/screenshots.py --readme"
    )


def test_what_the_picture_is_drawn_with_is_there_and_changes_its_digest(
    screenshots: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = screenshots.sources_digest()
    for name in screenshots.PICTURED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(screenshots, "ROOT", tmp_path)
    assert screenshots.sources_digest() == before
    with (tmp_path / screenshots.PICTURED[-1]).open("a") as file:
        file.write("# changed\n")
    assert screenshots.sources_digest() != before


def test_a_text_is_read_from_the_picture_it_was_put_into(screenshots: ModuleType) -> None:
    png = screenshots.README.read_bytes()
    told = screenshots.with_text(png, b"key", b"words")
    assert screenshots.text_of(told, b"key") == b"words"
    assert screenshots.text_of(png, b"other") is None
