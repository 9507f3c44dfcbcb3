"""How a place reads."""

import linecache

import pytest

from lab.doctor import Place


@pytest.mark.parametrize("folder", ["/temporary/ipykernel_4321", "C:\\Temp\\ipykernel_4321"])
def test_a_line_of_a_notebook_is_named_without_jupyters_file_of_the_cell(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{folder}{'/' if '/' in folder else chr(92)}1234567.py"
    monkeypatch.setitem(linecache.cache, path, (1, None, ["h = x + 1\n"], path))
    assert str(Place(path=path, line=1, function="f")) == "notebook cell:1 in f: h = x + 1"


def test_a_file_of_another_name_keeps_its_path() -> None:
    assert (
        str(Place(path="elsewhere/ipykernel_4321/net.py", line=7, function="f"))
        == "elsewhere/ipykernel_4321/net.py:7 in f"
    )
