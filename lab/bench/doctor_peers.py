"""What other tools name of faulty programs, and what the doctor names of them, by one rule (`named`).

The programs are a folder of cases, taken by its path: the lab imports no tests. Each tool runs in a process of its own
that answers program by program. One that ends, or is silent for too long, loses that program; a new process goes on
with the next. A tool that is not installed has no verdicts and is said to be so.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import lab
from lab.base import DISTRIBUTION, ConfigError, ReportTable
from lab.bench.named import LINE, NAMED, Fault, what_is_named
from lab.bench.peers import PACKAGES, TOOLS, said_of
from lab.bench.settings import DoctorBench
from lab.results import machine

NAME = "doctor-peers"
NO_ANSWER = "no answer"
_PACKAGE = "doctor_cases"
"""Under this name the doctor takes the cases for the user's own."""
_START = 120.0
"""Seconds for a process to import its tool."""
_CHILD = "import sys; from lab.bench.doctor_peers import serve; serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))"


def run(config: DoctorBench) -> dict[str, Any]:
    """Ask each tool about each program, one process at a time."""
    cases = load_cases(config.cases)
    return {
        "bench": NAME,
        "config": {name: getattr(config, name) for name in ("cases", "patience", "seed")},
        "machine": machine(),
        "results": {
            "cases": {case.name: {"family": case.family, "line": bool(case.lines)} for case in cases},
            "tools": {tool: _verdicts(tool, cases, config) for tool in TOOLS},
        },
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each family: how often each tool names the line, and how often only the operation or the tensor."""
    cases, tools = result["results"]["cases"], result["results"]["tools"]
    families = [*dict.fromkeys(case["family"] for case in cases.values()), "all"]
    rows = []
    for family in families:
        names = [name for name, case in cases.items() if family in (case["family"], "all")]
        lines = sum(cases[name]["line"] for name in names)
        rows.append((family, str(len(names)), str(lines), *(_cell(tool, names) for tool in tools.values())))
    notes = ["programs of which the line is named + of which only the operation or the tensor is"]
    for name, tool in tools.items():
        lost = sum(verdict == NO_ANSWER for verdict in tool["verdicts"].values())
        notes += [f"{name}: not installed (pip install '{DISTRIBUTION}[peers]')"] if tool["version"] is None else []
        notes += [f"{name}: no answer of {lost} programs"] if lost else []
    columns = ("family", "programs", "with a line", *tools)
    return ReportTable(title="doctor: what each names", columns=columns, rows=tuple(rows), notes=tuple(notes))


def load_cases(folder: str) -> tuple[Any, ...]:
    """The faulty programs of a folder; their modules do not stay among those of this process.

    Raises:
        ConfigError: it is no package with a module `runner`.
    """
    try:
        return _import_cases(folder)
    finally:
        _forget_cases()


def _forget_cases() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]


def _import_cases(folder: str) -> tuple[Any, ...]:
    path = Path(folder).resolve()
    if not (path / "__init__.py").is_file() or not (path / "runner.py").is_file():
        raise ConfigError("a folder of cases with __init__.py and runner.py", folder, "give another --cases")
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, path / "__init__.py", submodule_search_locations=[str(path)]
    )
    if spec is None or spec.loader is None:
        raise ConfigError("a package that Python can load", folder, "give another --cases")
    _forget_cases()
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    return tuple(importlib.import_module(f"{_PACKAGE}.runner").all_cases())


def _cell(tool: dict[str, Any], names: list[str]) -> str:
    if tool["version"] is None:
        return "-"
    found = [tool["verdicts"][name] for name in names]
    return f"{found.count(LINE)} + {found.count(NAMED)}"


def _verdicts(tool: str, cases: tuple[Any, ...], config: DoctorBench) -> dict[str, Any]:
    version = _version(tool)
    if version is None:
        return {"version": None, "verdicts": {}}
    answers = ask(tool, cases, config)
    faults = {case.name: Fault(lines=tuple(case.lines), tensor=case.tensor) for case in cases}
    verdicts = {
        name: NO_ANSWER if text is None else what_is_named(text, faults[name]) for name, text in answers.items()
    }
    return {"version": version, "verdicts": verdicts}


def _version(tool: str) -> str | None:
    if tool not in PACKAGES:
        return lab.__version__ if tool == "lab.doctor" else torch.__version__
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return None


def ask(tool: str, cases: tuple[Any, ...], config: DoctorBench) -> dict[str, str | None]:
    """What a tool says of each program; None where its process ended or was silent for too long.

    Raises:
        ConfigError: the tool's process does not start.
    """
    answers: dict[str, str | None] = {}
    while len(answers) < len(cases):
        with _process(tool, config) as process:
            for case in cases[len(answers) :]:
                answers[case.name] = _answer(process, case.name, config.patience)
                if answers[case.name] is None:
                    break
    return answers


@contextmanager
def _process(tool: str, config: DoctorBench) -> Iterator[subprocess.Popen[str]]:
    """A fresh process that answers for one tool; ended afterwards, whatever it does."""
    # Not one of multiprocessing: torchlens refuses to run in those.
    command = [sys.executable, "-c", _CHILD, tool, config.cases, str(config.seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if _answer(process, "", _START) is None:
            raise ConfigError(f"a process that runs {tool}", "one that did not start", "see its error above")
        yield process
    finally:
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()


def _answer(process: subprocess.Popen[str], request: str, patience: float) -> str | None:
    if process.stdin is None or process.stdout is None:
        return None
    watch = threading.Timer(patience, process.kill)
    watch.start()
    try:
        process.stdin.write(request + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        watch.cancel()
        watch.join()
    return str(json.loads(line)) if line.endswith("\n") else None


def serve(tool: str, folder: str, seed: int) -> None:
    """Answer for one tool: a line with a program's name comes in, a line of JSON with what is said of it goes out.

    The first line is empty and answered when the tool is imported.
    """
    # What programs and tools print past Python must not come between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        torch.set_num_threads(1)
        cases = {case.name: case for case in _import_cases(folder)}
        if tool in PACKAGES:
            importlib.import_module(tool)
        for line in sys.stdin:
            torch.manual_seed(seed)
            name = line.strip()
            answers.write(json.dumps(said_of(TOOLS[tool], cases[name]) if name else "") + "\n")
            answers.flush()
