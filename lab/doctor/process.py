"""Whether this process itself is at fault: what a load race or a forgotten switch leaves behind.

Covered: functions of torch and transformers that a loader replaced and did not put back, anomaly mode, default device
and dtype, tensors of a simulation that a cache kept. Not covered: what other threads set for themselves (the default
device is each thread's own).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from lab.base import Report, ReportTable
from lab.device import find_poison, loads_in_progress
from lab.doctor.untouched import kept_stand_ins

POISONED = "poisoned function"
ANOMALY = "anomaly mode left on"
DEVICE = "default device changed"
DTYPE = "default dtype changed"
STAND_IN = "stand-in kept"


@dataclass(frozen=True, kw_only=True)
class ProcessFinding:
    """One thing that is not as a fresh process has it."""

    kind: str
    """poisoned function, anomaly mode left on, default device changed, default dtype changed or stand-in kept."""
    name: str
    """What it is about."""
    detail: str
    """What stands there now."""
    fix: str
    """What to do."""


@dataclass(frozen=True, kw_only=True)
class ProcessReport(Report):
    """What `process_check` found."""

    findings: tuple[ProcessFinding, ...]
    notes: tuple[str, ...]
    """What was not judged, and why."""

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return {
            "ok": self.ok,
            "notes": list(self.notes),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """One table of findings."""
        title = f"Process: {'nothing found' if self.ok else f'{len(self.findings)} found'}"
        rows = tuple((finding.kind, finding.name, finding.detail, finding.fix) for finding in self.findings)
        return (ReportTable(title=title, columns=("kind", "name", "detail", "fix"), rows=rows, notes=self.notes),)


def process_check() -> ProcessReport:
    """Compare the process with a fresh one; nothing is changed."""
    findings, notes = [], []
    loads = loads_in_progress()
    if loads:
        notes.append(f"functions not judged while a model is being loaded ({', '.join(loads)})")
    else:
        repair = "lab.device.repair_poison(), and load models inside lab.device.load_guard()"
        findings += [
            ProcessFinding(kind=POISONED, name=poison.name, detail=f"is {poison.found}", fix=repair)
            for poison in find_poison()
        ]
    if torch.is_anomaly_enabled():
        detail = "every backward is traced: slow, and NaN in a gradient raises"
        fix = "torch.autograd.set_detect_anomaly(False)"
        findings.append(ProcessFinding(kind=ANOMALY, name="torch.autograd", detail=detail, fix=fix))
    if torch.get_default_device().type != "cpu":
        detail = f"new tensors are made on {torch.get_default_device()}"
        fix = "torch.set_default_device(None), or leave the `with torch.device(...)` block"
        findings.append(ProcessFinding(kind=DEVICE, name="torch.get_default_device()", detail=detail, fix=fix))
    if torch.get_default_dtype() != torch.float32:
        detail = f"new floating tensors are {str(torch.get_default_dtype()).removeprefix('torch.')}"
        fix = "torch.set_default_dtype(torch.float32)"
        findings.append(ProcessFinding(kind=DTYPE, name="torch.get_default_dtype()", detail=detail, fix=fix))
    for path in kept_stand_ins():
        detail = "a tensor of a simulation, without values: what is computed from it trains nothing"
        fix = "empty the cache that holds it (`cache_clear()`, or delete the entry)"
        findings.append(ProcessFinding(kind=STAND_IN, name=path, detail=detail, fix=fix))
    return ProcessReport(findings=tuple(findings), notes=tuple(notes))
