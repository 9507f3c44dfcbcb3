"""Digests of plans that earlier versions stored hold the kinds of these classes: a class that is gone orphans them."""

import importlib
import pkgutil

from torch import nn

import lab
from lab.state.kinds import KINDS, kind_of

STORED = """
    lab.agent.policy.AttentionPolicyNetwork lab.explore.explorer.GumbelExplorer
    lab.mahia.distillation.KnowledgeDistillationLoss lab.mahia.experts.SwiGLUExperts lab.mahia.gate.ExpertGate
    lab.mahia.hybrid.HybridEfficientModel lab.mahia.kernel.MetaAttentionKernel lab.mahia.layers.DynamicLayerRouter
    lab.mahia.layers.DynamicNeuroFabric lab.mahia.layers.MetaController lab.mahia.memory.GraphDiffusionMemory
    lab.mahia.memory.TinyMemory lab.mahia.router.ExpertRouter lab.mahia.state.State lab.morph.parts.Branched
    lab.morph.parts.Deepened lab.morph.parts.Gate lab.morph.parts.Resample lab.morph.parts.Residual
    lab.morph.parts.TokenAttention lab.nn.blend.Blend lab.nn.cell.Cell lab.nn.darts.DARTSBackbone
    lab.nn.darts.DARTSCell lab.nn.darts_primitives.CrossConv lab.nn.darts_primitives.DilatedConv
    lab.nn.darts_primitives.FactorizedReduce lab.nn.darts_primitives.PointConv lab.nn.darts_primitives.PoolNorm
    lab.nn.darts_primitives.SeparableConv lab.nn.evolvable.EvolvableNetwork lab.nn.primitives.Absent
    lab.nn.primitives.AveragePool lab.nn.primitives.ConvNorm lab.nn.primitives.Skip lab.nn.primitives.Zero
    lab.nn.seed_cnn.SeedCNN lab.nn.stages.Reduction lab.nn.stages.StageBackbone lab.nn.stages.StageCell
    lab.nn.supernet.MixedEdge lab.nn.supernet.SuperNet lab.train.growth._Both lab.train.live._Discrete
"""


def module_classes():
    """Every class of a network that the lab defines, by where it is now."""
    found = {}
    for info in pkgutil.walk_packages(lab.__path__, "lab."):
        if info.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.startswith("lab."):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


def test_every_stored_kind_is_still_the_kind_of_a_class():
    kinds = {kind_of(cls) for cls in module_classes().values()}
    gone = set(STORED.split()) - kinds
    assert not gone, f"a class moved or was renamed: give its kind in lab/state/kinds.py: {sorted(gone)}"


def test_the_table_names_classes_that_are_there():
    assert KINDS.keys() <= module_classes().keys()
