"""Instruments that name the tensor, the operation and the line at fault."""

from lab.doctor.audit import KINDS, AuditReport, audit
from lab.doctor.backward import BackwardFinding, BackwardReport, WatchConfig, explain_backward
from lab.doctor.examine import DoctorReport, Placement, examine
from lab.doctor.misplaced import Operand
from lab.doctor.optimizer_audit import AuditFinding
from lab.doctor.place import Place
from lab.doctor.process import ProcessFinding, ProcessReport, process_check
from lab.doctor.simulate import SimulationReport, simulate

__all__ = [
    "KINDS",
    "AuditFinding",
    "AuditReport",
    "BackwardFinding",
    "BackwardReport",
    "DoctorReport",
    "Operand",
    "Place",
    "Placement",
    "ProcessFinding",
    "ProcessReport",
    "SimulationReport",
    "WatchConfig",
    "audit",
    "examine",
    "explain_backward",
    "process_check",
    "simulate",
]
