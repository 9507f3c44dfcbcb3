"""Files that the lab ships beside its code: page, lessons, the table of 125 cells, recorded runs."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package `lab`."""


def resource(name: str, package: Path = PACKAGE) -> Path:
    """Where the shipped file or folder `name` is: beside the package in a checkout, inside it in an installation.

    A checkout is told by its pyproject.toml. The path leads to nothing where the file is missing.
    """
    is_checkout = (package.parent / "pyproject.toml").is_file()
    return (package.parent if is_checkout else package) / name
