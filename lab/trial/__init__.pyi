"""A change on trial: the changed copies against unchanged control copies, on the same batches, in several orders."""

from .arm import Arm, Reading, WeightAverage
from .config import VERDICTS, TrialConfig
from .estimate import Estimate, TrialNoise, estimate
from .ledger import TrialLedger
from .trial import Trial, TrialResult, TrialTask

__all__ = [
    "VERDICTS",
    "Arm",
    "Estimate",
    "Reading",
    "Trial",
    "TrialConfig",
    "TrialLedger",
    "TrialNoise",
    "TrialResult",
    "TrialTask",
    "WeightAverage",
    "estimate",
]
