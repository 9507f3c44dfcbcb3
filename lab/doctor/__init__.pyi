"""Instruments that name the tensor, the operation and the line at fault."""

from .audit import KINDS, AuditReport, audit
from .backward import BackwardFinding, BackwardReport, WatchConfig, explain_backward
from .examine import Placement, examine
from .learning import LearningRow
from .misplaced import Operand
from .optimizer_audit import AuditFinding
from .page import DoctorReport
from .place import Place
from .process import ProcessFinding, ProcessReport, process_check
from .simulate import SimulationReport, simulate
from .training import LearningReport, explain_training
from .training_faults import LearningFinding

__all__ = [
    "KINDS",
    "AuditFinding",
    "AuditReport",
    "BackwardFinding",
    "BackwardReport",
    "DoctorReport",
    "LearningFinding",
    "LearningReport",
    "LearningRow",
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
    "explain_training",
    "process_check",
    "simulate",
]
