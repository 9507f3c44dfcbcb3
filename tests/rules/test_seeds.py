"""Every proof that docs/seeds.md names is a test that is there."""

import re
from collections.abc import Mapping

import pytest

ROW = re.compile(r"^\|(?P<there>[^|]+)\|(?P<here>[^|]+)\|(?P<proof>[^|]+)\|$")


def seed_violations(page: str, texts: Mapping[str, str]) -> list[str]:
    """Rows without three filled columns, proofs that name no test, and tests that are not there."""
    found = []
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|") or line.startswith(("|---", "| name there |")):
            continue
        row = ROW.match(line)
        if row is None or not all(column.strip() for column in row.groups()):
            found.append(f"docs/seeds.md:{number}: not three filled columns")
            continue
        proof = row["proof"]
        for path, test in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", proof):
            if path not in texts:
                found.append(f"docs/seeds.md:{number}: no file {path}")
            elif test and f"def {test}(" not in texts[path]:
                found.append(f"docs/seeds.md:{number}: no {test} in {path}")
        if "tests/" not in proof and "not yet" not in proof and "left out: " not in row["here"]:
            found.append(f"docs/seeds.md:{number}: neither a test, nor `not yet`, nor `left out: reason`")
    return found


def test_every_proof_in_the_table_of_seeds_is_there(texts: dict[str, str]) -> None:
    assert texts["docs/seeds.md"].count("\n| ") > 80
    found = seed_violations(texts["docs/seeds.md"], texts)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("row", "violation"),
    [
        ("| a | b | `tests/x/test_y.py` |", "no file tests/x/test_y.py"),
        ("| a | b | `tests/a/test_b.py::test_d` |", "no test_d in"),
        ("| a | b | works |", "neither a test"),
        ("| a | b | |", "not three filled"),
        ("| a | b |", "not three filled"),
    ],
)
def test_the_seed_rule_sees_each_fault(row: str, violation: str) -> None:
    found = seed_violations(row, {"tests/a/test_b.py": "def test_c(): ..."})
    assert len(found) == 1
    assert violation in found[0]


def test_the_seed_rule_accepts_tests_not_yet_and_a_reason() -> None:
    page = "| a | b | `tests/a/test_b.py::test_c` |\n| a | b | not yet |\n| a | left out: needs days | none needed |"
    assert seed_violations(page, {"tests/a/test_b.py": "def test_c(): ..."}) == []
