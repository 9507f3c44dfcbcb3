"""What the doctor says of each case, and the table of docs/doctor.md that shows it beside what it said before.

`LAB_WRITE_DOCS=1 pytest tests/doctor/test_cases.py` writes the table anew; otherwise its cells must say what is found.
"""

import gc
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parent / "cases"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"
BEGIN, END = "<!-- cases: written by tests/doctor/test_cases.py -->\n", "<!-- end of the cases -->"
BEFORE: dict[str, dict[str, Any]] = json.loads((FOLDER / "before.json").read_text())["cases"]
"""What the instruments said of each case before any was mended after them."""
OPEN: dict[str, str] = {}
"""Cases that are not found yet, and what stands in the way. Nothing may be added; what is found is taken off."""
OPEN_BEFORE_2_14 = {
    "layers_in_a_python_list": "the convolution of fake tensors does not compare devices",
}
"""The same, for a torch before 2.14 in addition."""
TARGET = 0.95
RECENT = hasattr(torch.autograd.graph, "node_creation_hook")
OPEN_HERE = OPEN if RECENT else OPEN | OPEN_BEFORE_2_14
NOT_WATCHED = {
    "checkpoint_that_draws_again": "explain_backward: what the checkpoint runs again",
    "reentrant_checkpoint_in_the_middle": "explain_backward: what the checkpoint runs again",
}
"""Healthy programs of which an instrument says that it could not watch a part, and which."""
# What torch says of the faulty programs by itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True"),
]
REPORT = re.compile(r"[\w.-]+/[\w.-]+#\d+")


def load() -> types.ModuleType:
    """The cases as a program of their own, whose modules the doctor takes for the user's."""
    spec = importlib.util.spec_from_file_location(
        "doctor_cases", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["doctor_cases"] = package
    spec.loader.exec_module(package)
    return importlib.import_module("doctor_cases.runner")


def modules() -> dict[str, types.ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "doctor_cases"}


runner = load()
CASES, HEALTHY = runner.all_cases(), runner.healthy_programs()
three_steps = importlib.import_module("doctor_cases.reference").three_steps
LOADED = modules()
for loaded in LOADED:
    del sys.modules[loaded]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of one program."""

    verdict: str
    seen: tuple[str, ...]
    steps: str
    """Digest of the reference net's steps in this process afterwards."""


def ask(case: Any) -> Answer:
    """What is said of the program, and how the process computes afterwards."""
    if case in CASES:
        seen = runner.look(case)
        return Answer(verdict=runner.judge(case, seen), seen=tuple(map(str, seen)), steps=three_steps())
    told = runner.alarms(case)
    alarm = any(not seen.unchecked for _, seen in told)
    verdict = "false alarm" if alarm else runner.UNCHECKED if told else "quiet"
    return Answer(verdict=verdict, seen=tuple(f"{name}: {seen}" for name, seen in told), steps=three_steps())


@pytest.fixture(scope="module")
def answers(no_other_tests: None) -> dict[str, Answer]:
    """Every program, one after the other in this process."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in LOADED.items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        torch.use_deterministic_algorithms(True)
        leaks_last = sorted((*CASES, *HEALTHY), key=lambda case: case.instrument == "measure_leak")
        try:
            for case in leaks_last:
                if case.instrument == "measure_leak" and not gc.get_freeze_count():
                    # It collects after each call: what is there already need not be looked through each time.
                    gc.collect()
                    gc.freeze()
                torch.manual_seed(0)
                found[case.name] = ask(case)
        finally:
            gc.unfreeze()
            torch.use_deterministic_algorithms(False)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_found_with_its_kind_line_and_name(case: Any, answers: dict[str, Answer]) -> None:
    answer = answers[case.name]
    wanted = f"{case.kind} at line {sorted(line for _, line in case.lines)} {case.tensor}"
    if case.name in OPEN_HERE:
        assert answer.verdict != runner.FOUND, f"{case.name} is found: take it off the open ones"
    else:
        assert answer.verdict == runner.FOUND, f"wanted {wanted}, got {answer.seen}"


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_nothing_is_found_in_a_healthy_program(case: Any, answers: dict[str, Answer]) -> None:
    answer = answers[case.name]
    assert answer.verdict == (runner.UNCHECKED if case.name in NOT_WATCHED else "quiet"), answer.seen


def test_after_every_program_the_process_computes_as_a_fresh_one(answers: dict[str, Answer]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / "reference.py")]
    fresh = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert len(fresh) == 64
    assert [name for name, answer in answers.items() if answer.steps != fresh] == []


def test_the_corpus_is_as_large_as_it_claims() -> None:
    by_family = {family: [case for case in CASES if case.family == family] for family in runner.FAMILIES}
    assert sum(map(len, by_family.values())) == len(CASES) >= 60
    assert min(map(len, by_family.values())) >= 5
    assert len({case.report for case in CASES if case.report}) >= 40
    assert all(REPORT.fullmatch(case.report) for case in CASES if case.report)
    assert len(HEALTHY) >= 30
    names = [case.name for case in (*CASES, *HEALTHY)]
    assert len(set(names)) == len(names)


def test_every_case_says_what_was_seen_and_what_must_be_named() -> None:
    for case in CASES:
        assert case.seen, case.name
        assert case.kind, case.name
        assert bool(case.marker) == bool(case.lines), f"{case.name}: a marker without a line"
        assert case.lines or case.tensor, case.name
        assert len(case.lines) <= 1, f"{case.name}: {case.marker} stands on {sorted(case.lines)}"


def test_every_case_has_the_verdict_from_before() -> None:
    assert set(BEFORE) == {case.name for case in CASES}
    assert {answer["verdict"] for answer in BEFORE.values()} <= set(runner.VERDICTS)


def test_the_open_cases_are_few_and_each_is_a_case() -> None:
    assert set(OPEN) | set(OPEN_BEFORE_2_14) <= {case.name for case in CASES}
    assert all([*OPEN.values(), *OPEN_BEFORE_2_14.values()])
    assert set(NOT_WATCHED) <= {case.name for case in HEALTHY}
    assert 1 - len(OPEN) / len(CASES) >= TARGET


def test_the_judge_tells_found_half_missed_and_not_checked_apart() -> None:
    case = next(case for case in CASES if case.lines and case.tensor)
    seen, (line,) = runner.Seen, tuple(case.lines)
    exact = seen(kind=case.kind, places=(line,), tensors=case.tensor)
    assert runner.judge(case, (exact,)) == runner.FOUND
    assert runner.judge(case, (seen(kind=case.kind), seen(kind="", places=(line,), tensors=case.tensor))) == runner.HALF
    assert runner.judge(case, (seen(kind=case.kind),)) == runner.HALF
    assert runner.judge(case, (seen(kind="another"),)) == runner.MISSED
    assert runner.judge(case, ()) == runner.MISSED
    assert runner.judge(case, (seen(kind="another", unchecked=True),)) == runner.UNCHECKED


def render(answers: dict[str, Answer]) -> str:
    """The table by family, and a line for the healthy programs."""
    now = {name: answer.verdict for name, answer in answers.items()}
    columns = ("family", "cases", "after reports", *(f"{verdict}, before" for verdict in runner.VERDICTS))
    lines = ["| " + " | ".join((*columns, *(f"{verdict}, now" for verdict in runner.VERDICTS))) + " |"]
    lines.append("|---" * (len(columns) + len(runner.VERDICTS)) + "|")
    for family in (*runner.FAMILIES, "all"):
        cases = [case for case in CASES if family in (case.family, "all")]
        cells = [family, str(len(cases)), str(sum(bool(case.report) for case in cases))]
        cells += [str(sum(BEFORE[case.name]["verdict"] == verdict for case in cases)) for verdict in runner.VERDICTS]
        cells += [str(sum(now[case.name] == verdict for case in cases)) for verdict in runner.VERDICTS]
        lines.append("| " + " | ".join(cells) + " |")
    alarms = sum(now[case.name] == "false alarm" for case in HEALTHY)
    partly = sum(now[case.name] == runner.UNCHECKED for case in HEALTHY)
    lines += [
        "",
        f"Healthy programs: {len(HEALTHY)}, false alarms: {alarms}, with a part that was not watched: {partly}.",
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(not RECENT, reason="the page says what was found with torch 2.14")
def test_the_page_says_what_was_found(answers: dict[str, Answer]) -> None:
    table = render(answers)
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("LAB_WRITE_DOCS"):
        PAGE.write_text(text[:begin] + table + text[end:], encoding="utf-8")
    else:
        assert text[begin:end] == table
