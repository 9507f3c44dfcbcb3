"""The page of `examine`: one row for each instrument, what was not checked, and each report."""

from dataclasses import dataclass
from typing import Any

from lab.base import Report, ReportTable
from lab.doctor.audit import AuditReport
from lab.doctor.backward import BackwardReport
from lab.doctor.process import ProcessReport
from lab.doctor.simulate import OK, UNDECIDED, SimulationReport
from lab.doctor.training import LearningReport


@dataclass(frozen=True, kw_only=True)
class DoctorReport(Report):
    """The reports of all instruments that ran."""

    process: ProcessReport
    """Of `process_check`."""
    audit: AuditReport
    """Of `audit`."""
    simulations: tuple[SimulationReport, ...]
    """Of `simulate`, in the order of the placements."""
    backward: BackwardReport | None
    """None: not run; `refused`, `missing` or `notes` says why."""
    training: LearningReport | None
    """None: not run; `refused`, `missing` or `notes` says why."""
    refused: tuple[str, ...]
    """Instruments that could not be run on this model, and why."""
    missing: tuple[str, ...]
    """What was not run for want of a batch or of values."""
    notes: tuple[str, ...]
    """What was not asked for, or makes no sense for this model."""

    @property
    def ok(self) -> bool:
        """Nothing was found, no simulation was left undecided and no instrument was refused."""
        simulated = all(simulation.ok for simulation in self.simulations)
        trained = all(report is None or report.ok for report in (self.backward, self.training))
        return self.process.ok and self.audit.ok and simulated and trained and not self.refused

    @property
    def found(self) -> dict[str, int]:
        """How much each instrument found, of those that found something."""
        counts = {
            "process": len(self.process.findings),
            "audit": len(self.audit.findings),
            "simulation": sum(report.verdict not in (OK, UNDECIDED) for report in self.simulations),
            "backward": 0 if self.backward is None else len(self.backward.findings),
            "training": 0 if self.training is None else len(self.training.findings),
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What was asked for and could not be checked, with the reason."""
        undecided = tuple(
            f"simulation on {', '.join(report.devices)} from {report.place or 'its start'} on ({report.reason})"
            for report in self.simulations
            if report.verdict == UNDECIDED
        )
        unwatched = self.backward.unwatched if self.backward is not None else 0
        nodes = (
            (f"{unwatched} nodes of the backward pass (under checkpoints or saved-tensor hooks)",) if unwatched else ()
        )
        return (*self.refused, *self.missing, *undecided, *nodes, *self.process.notes, *self.audit.unjudged)

    @property
    def exit_code(self) -> int:
        """Of `lab doctor`: 1 something was found; 3 nothing was, and something could not be checked; 0 neither."""
        return 1 if self.found else 3 if self.unchecked else 0

    @property
    def headline(self) -> str:
        """How much each instrument found; what was not run is no part of `nothing found`."""
        if self.ok:
            run = self.simulations or self.backward is not None or self.training is not None
            return "nothing found" if run else "nothing found by looking; nothing was run"
        found = ", ".join(f"{count} by {name}" for name, count in self.found.items())
        undecided = sum(report.verdict == UNDECIDED for report in self.simulations)
        texts = (
            f"{sum(self.found.values())} found ({found})" if found else "",
            f"{undecided} simulated without a verdict" if undecided else "",
            f"{len(self.refused)} not run" if self.refused else "",
        )
        return "; ".join(text for text in texts if text)

    def to_dict(self) -> dict[str, Any]:
        """The reports as JSON-ready data."""
        return {
            "ok": self.ok,
            "found": self.found,
            "unchecked": list(self.unchecked),
            "process": self.process.to_dict(),
            "audit": self.audit.to_dict(),
            "simulations": [simulation.to_dict() for simulation in self.simulations],
            "backward": None if self.backward is None else self.backward.to_dict(),
            "training": None if self.training is None else self.training.to_dict(),
            "refused": list(self.refused),
            "missing": list(self.missing),
            "notes": list(self.notes),
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """The verdict with a row for each instrument, then each report."""
        refused = tuple(f"not run: {refusal}" for refusal in self.refused)
        rest = tuple(f"not checked: {text}" for text in self.unchecked[len(self.refused) :])
        head = ReportTable(
            title=f"Doctor: {self.headline}",
            columns=("instrument", "result"),
            rows=self._rows(),
            notes=(*refused, *rest, *self.notes),
        )
        run = [report for report in (self.backward, self.training) if report is not None]
        reports = (self.process, self.audit, *self.simulations, *run)
        return (head, *(table for report in reports for table in report.tables()))

    def _rows(self) -> tuple[tuple[str, str], ...]:
        rows = [("process", _count(len(self.process.findings))), ("audit", _count(len(self.audit.findings)))]
        for report in self.simulations:
            rows.append((f"simulation on {', '.join(report.devices)}", _verdict(report)))
        if self.backward is not None:
            rows.append(("backward", _count(len(self.backward.findings))))
        if self.training is not None:
            rows.append(("training", _count(len(self.training.findings))))
        ran = {name.partition(" ")[0] for name, _ in rows}
        rows += [(refusal.partition(" (")[0], "not run") for refusal in self.refused]
        refused = {refusal.partition(" ")[0] for refusal in self.refused}
        return (
            *rows,
            *((name, "not run") for name in ("simulation", "backward", "training") if name not in ran | refused),
        )


def _count(number: int) -> str:
    return f"{number} found" if number else "nothing found"


def _verdict(report: SimulationReport) -> str:
    return f"{report.verdict}: {report.cause}" if report.cause else report.verdict
