"""docs/doctor.md begins with what others name of the cases, as `lab bench doctor --peers --out docs/results` found it.

`LAB_WRITE_DOCS=1 pytest tests/doctor/test_peers.py` writes the table anew from the result; otherwise it must be there.
"""

import json
import os
from pathlib import Path
from typing import Any

from lab.bench import doctor
from lab.bench.doctor_peers import load_cases
from lab.bench.peers import TOOLS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "doctor.md"
BEGIN = "<!-- peers: written by tests/doctor/test_peers.py from docs/results/doctor-peers.json -->\n"
END = "<!-- end of the peers -->"
RESULT: dict[str, Any] = json.loads((ROOT / "docs" / "results" / "doctor-peers.json").read_text(encoding="utf-8"))


def render(result: dict[str, Any]) -> str:
    table = doctor.summary(result)
    lines = ["| " + " | ".join(cells) + " |" for cells in (table.columns, ("---",) * len(table.columns), *table.rows)]
    versions = [
        f"{name.removesuffix(' alone')} {tool['version']}" if tool["version"] else f"{name} is not installed"
        for name, tool in result["results"]["tools"].items()
        if name not in ("anomaly mode", "graph hooks", "lab.doctor")
    ]
    notes = [note[0].upper() + note[1:] + "." for note in table.notes if "not installed" not in note]
    return "\n".join([*lines, "", *notes, f"Versions: {', '.join(versions)}.", ""])


def test_the_page_begins_with_what_the_run_found() -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("LAB_WRITE_DOCS"):
        PAGE.write_text(text[:begin] + render(RESULT) + text[end:], encoding="utf-8")
    else:
        assert text[begin:end] == render(RESULT)


def test_the_run_asked_every_tool_about_every_case() -> None:
    cases = {
        case.name: {"family": case.family, "line": bool(case.lines)} for case in load_cases(RESULT["config"]["cases"])
    }
    assert RESULT["results"]["cases"] == cases
    assert list(RESULT["results"]["tools"]) == list(TOOLS)
    for name, tool in RESULT["results"]["tools"].items():
        assert set(tool["verdicts"]) == (set(cases) if tool["version"] else set()), name


def test_the_doctor_names_all_that_there_is_to_name() -> None:
    verdicts = RESULT["results"]["tools"]["lab.doctor"]["verdicts"]
    wanted = {name: "line" if case["line"] else "name" for name, case in RESULT["results"]["cases"].items()}
    assert verdicts == wanted
