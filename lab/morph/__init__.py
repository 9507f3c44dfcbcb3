"""Function-preserving surgery on any module: plan, apply, verify, roll back, the optimizer carried along."""

from lab.morph.apply import Digests, MorphReport, apply, loss_change, rebuild, rollback, verify
from lab.morph.digest import structure_digest, weight_digest
from lab.morph.discrete import SetDilation, SetGroups, SetHeads, SetKernel
from lab.morph.expert import AddExpert
from lab.morph.inserts import AddBranch, Deepen, InsertAttention, InsertResidual
from lab.morph.morph import EXACT, Morph
from lab.morph.plan import MorphPlan
from lab.morph.snapshot import seeded
from lab.morph.swap import SwapOp
from lab.morph.together import Together
from lab.morph.widths import Prune, Widen

__all__ = [
    "EXACT",
    "AddBranch",
    "AddExpert",
    "Deepen",
    "Digests",
    "InsertAttention",
    "InsertResidual",
    "Morph",
    "MorphPlan",
    "MorphReport",
    "Prune",
    "SetDilation",
    "SetGroups",
    "SetHeads",
    "SetKernel",
    "SwapOp",
    "Together",
    "Widen",
    "apply",
    "loss_change",
    "rebuild",
    "rollback",
    "seeded",
    "structure_digest",
    "verify",
    "weight_digest",
]
