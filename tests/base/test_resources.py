"""Shipped files are found beside the package in a checkout and inside it in an installation."""

from pathlib import Path

from lab.base import resource


def test_this_project_ships_the_page_and_the_table() -> None:
    assert (resource("dashboard") / "app.py").is_file()
    assert (resource("data") / "nb125_digits.csv").is_file()


def test_a_checkout_is_told_by_its_project_file(tmp_path: Path) -> None:
    package = tmp_path / "lab"
    assert resource("data", package) == package / "data"
    (tmp_path / "pyproject.toml").touch()
    assert resource("data", package) == tmp_path / "data"


def test_an_installation_does_not_take_a_folder_of_another_package(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert resource("data", tmp_path / "lab") == tmp_path / "lab" / "data"
