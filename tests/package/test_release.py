"""One version everywhere, and no file that is too large for the repository."""

import re
import runpy
from pathlib import Path

import pytest

from lab import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_citation_and_changelog_tell_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert released[0][0] == __version__
    assert f"version: {__version__}\ndate-released: {released[0][1]}\n" in citation


def test_the_guard_names_a_file_of_more_than_500_kb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guard = runpy.run_path(str(ROOT / ".ci" / "large_files.py"))["main"]
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(bytes(500_000))
    large.write_bytes(bytes(500_001))
    assert guard([str(small), str(tmp_path / "none")]) == 0
    assert guard([str(small), str(large)]) == 1
    assert capsys.readouterr().err == f"{large}: 500,001 bytes, 500,000 at most\n"
