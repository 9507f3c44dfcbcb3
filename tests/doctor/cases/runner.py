"""Asks the instrument of a case, and judges what it says: found, half, missed or not checked."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from lab.base import LabError, PlacementError
from lab.device import measure_leak, transfer_state
from lab.doctor import audit, explain_backward, explain_training, process_check, simulate
from lab.doctor.place import Place

from .case import FAMILIES, Case, Program
from .kinds import CYCLE, REFUSED

FOUND, HALF, MISSED, UNCHECKED = "found", "half", "missed", "not checked"
VERDICTS = (FOUND, HALF, MISSED, UNCHECKED)
FILES = tuple(family.replace(" ", "_").replace("-", "_").lower() for family in FAMILIES)
_HEALTHY_FILES = ("healthy_models", "healthy_training", "healthy_state")
_LEAK_LINE = re.compile(r"(?P<path>[^ :]+\.py):(?P<line>\d+)")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One thing that an instrument said."""

    kind: str
    places: tuple[tuple[str, int], ...] = ()
    """Files and lines that it names as the cause."""
    tensors: str = ""
    """Names that it gives."""
    unchecked: bool = False
    """It says that it could not look."""

    def __str__(self) -> str:
        lines = ", ".join(f"line {line}" for _, line in self.places)
        return " | ".join(text for text in (self.kind, lines, self.tensors) if text)


def all_cases() -> tuple[Case, ...]:
    """The faulty programs, by family."""
    return _cases_of(FILES)


def healthy_programs() -> tuple[Case, ...]:
    """The healthy ones."""
    return _cases_of(_HEALTHY_FILES)


def _cases_of(files: tuple[str, ...]) -> tuple[Case, ...]:
    modules = [importlib.import_module(f"{__package__}.{name}") for name in files]
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Case))


def look(case: Case) -> tuple[Seen, ...]:
    """What the case's instrument says of its program; what the program changed for the process is put back."""
    program = case.build()
    try:
        return INSTRUMENTS[case.instrument](program)
    finally:
        if program.clean_up is not None:
            program.clean_up()


def alarms(case: Case) -> tuple[tuple[str, Seen], ...]:
    """What any instrument says of a healthy program, each on a program of its own."""
    told = []
    for name in _HEALTHY_INSTRUMENTS if case.instrument == "all" else (case.instrument,):
        program = case.build()
        program = replace(program, loop=program.loop or partial(_two_steps, program))
        needed = {"explain_training": program.step, "simulate": program.batch}
        if needed.get(name, program) is not None:
            told += [(name, seen) for seen in INSTRUMENTS[name](program)]
    return tuple(told)


def _two_steps(program: Program) -> None:
    for _ in range(2):
        program.optimizer.zero_grad()
        program.step().backward()
        program.optimizer.step()


def judge(case: Case, seen: tuple[Seen, ...]) -> str:
    """found: the kind, the line and the name that the case asks for in one finding; half: some of them."""
    lines = case.lines
    hits = [_hits(case, lines, one) for one in seen]
    if any(all(hit) for hit in hits):
        return FOUND
    if any(any(hit) for hit in hits):
        return HALF
    return UNCHECKED if any(one.unchecked for one in seen) else MISSED


def _hits(case: Case, lines: frozenset[tuple[str, int]], one: Seen) -> tuple[bool, ...]:
    wanted = [one.kind == case.kind]
    if lines:
        wanted.append(bool(lines.intersection(one.places)))
    if case.tensor:
        wanted.append(case.tensor in one.tensors)
    return tuple(wanted)


def _spot(*places: Place | None) -> tuple[tuple[str, int], ...]:
    return tuple((place.path, place.line) for place in places if place is not None)


def _by_audit(program: Program) -> tuple[Seen, ...]:
    report = audit(program.model, program.optimizer, **program.options)
    return tuple(Seen(kind=finding.kind, tensors=finding.name) for finding in report.findings)


def _by_simulation(program: Program) -> tuple[Seen, ...]:
    batch = program.batch if isinstance(program.batch, tuple) else (program.batch,)
    try:
        report = simulate(program.model, batch, **program.options)
    except PlacementError as error:
        return (Seen(kind=f"refused: {error.got}", unchecked=True),)
    if report.ok:
        return ()
    names = "; ".join(map(str, report.operands))
    kind = report.cause or report.verdict
    return (Seen(kind=kind, places=_spot(report.place), tensors=names, unchecked=report.verdict == "undecided"),)


def _by_backward(program: Program) -> tuple[Seen, ...]:
    report = explain_backward(program.loop or program.step, model=program.model)
    found = []
    for finding in report.findings:
        places = _spot(finding.culprit or finding.backward, *(finding.bracket_places or ()))
        found.append(Seen(kind=finding.category, places=places, tensors=finding.tensor))
    if report.unwatched:
        found.append(Seen(kind=f"{report.unwatched} nodes not watched", unchecked=True))
    return tuple(found)


def _by_training(program: Program) -> tuple[Seen, ...]:
    report = explain_training(program.model, program.step, program.optimizer)
    return tuple(
        Seen(kind=finding.category, places=_spot(finding.place), tensors=", ".join(finding.names))
        for finding in report.findings
    )


def _by_leak(program: Program) -> tuple[Seen, ...]:
    report = measure_leak(program.step, calls=6, warm_up=2)
    seen = []
    for leak in report.leaks:
        where = [(match["path"], int(match["line"])) for match in _LEAK_LINE.finditer(leak.line)]
        seen.append(Seen(kind=report.verdict, places=tuple(where), tensors="; ".join(leak.holders)))
    if 2 * sum(map(bool, report.cyclic)) >= len(report.cyclic):
        seen.append(Seen(kind=CYCLE, tensors=", ".join(report.cycles)))
    return tuple(seen)


def _by_transfer(program: Program) -> tuple[Seen, ...]:
    try:
        transfer_state(program.source, program.model)
    except LabError as error:
        return (Seen(kind=REFUSED, tensors=str(error)),)
    return ()


def _by_process(program: Program) -> tuple[Seen, ...]:
    program.step()
    return tuple(Seen(kind=finding.kind, tensors=finding.name) for finding in process_check().findings)


INSTRUMENTS: dict[str, Callable[[Program], tuple[Seen, ...]]] = {
    "audit": _by_audit,
    "simulate": _by_simulation,
    "explain_backward": _by_backward,
    "explain_training": _by_training,
    "measure_leak": _by_leak,
    "transfer_state": _by_transfer,
    "process_check": _by_process,
}
_HEALTHY_INSTRUMENTS = ("audit", "simulate", "explain_backward", "explain_training")
