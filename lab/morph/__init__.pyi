"""Function-preserving surgery on any module: plan, apply, verify, roll back, the optimizer carried along."""

from .apply import Digests, MorphReport, apply, loss_change, rebuild, rollback, verify
from .average import NetworkAverage
from .compose import Compose
from .discrete import SetDilation, SetGroups, SetHeads, SetKernel
from .expert import AddExpert
from .inserts import AddBranch, Deepen, InsertAttention, InsertResidual
from .morph import Morph
from .plan import MorphPlan
from .swap import SwapOp
from .trial import EXACT
from .widths import Prune, Widen

__all__ = [
    "EXACT",
    "AddBranch",
    "AddExpert",
    "Compose",
    "Deepen",
    "Digests",
    "InsertAttention",
    "InsertResidual",
    "Morph",
    "MorphPlan",
    "MorphReport",
    "NetworkAverage",
    "Prune",
    "SetDilation",
    "SetGroups",
    "SetHeads",
    "SetKernel",
    "SwapOp",
    "Widen",
    "apply",
    "loss_change",
    "rebuild",
    "rollback",
    "verify",
]
