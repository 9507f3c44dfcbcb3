"""Where the page looks for runs."""

from pathlib import Path

import pytest
from components.root import run_folders, runs_root

from lab.base import ConfigError


def test_the_argument_goes_before_the_environment() -> None:
    assert runs_root(["--root", "here"], {"LAB_RUNS": "there"}) == Path("here")
    assert runs_root(["--root=here"], {}) == Path("here")


def test_the_environment_goes_before_the_default() -> None:
    assert runs_root([], {"LAB_RUNS": "there"}) == Path("there")
    assert runs_root([], {}) == Path("runs")
    assert runs_root([], {"LAB_RUNS": ""}) == Path("runs")


def test_a_root_without_a_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="a path behind --root"):
        runs_root(["--root"], {})


def test_folders_are_listed_and_hidden_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").touch()
    assert run_folders(tmp_path) == {"one"}
    assert run_folders(tmp_path / "nothing") == frozenset()
