"""Which lessons there are."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `lesson` runs once for each notebook."""
    if "lesson" in metafunc.fixturenames:
        found = sorted(FOLDER.glob("*.ipynb"))
        metafunc.parametrize("lesson", found, ids=[path.stem for path in found], scope="session")
