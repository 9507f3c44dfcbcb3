"""Digests of plans that earlier versions stored hold the kinds of these classes: a class that is gone orphans them."""

import importlib
import pkgutil
from random import Random

import pytest
from torch import nn

import lab
from lab.nn import EvolvableNetwork, SuperNet
from lab.space import DARTS, NB201, Genotype, sample
from lab.state import structure_digest
from lab.state.kinds import ABSENT, KINDS, kind_of

SMALL = {"channels": 4, "layers": 3, "num_classes": 10, "in_channels": 1}
WITHOUT_MOST = Genotype(NB201, ("none", "skip_connect", "none", "nor_conv_3x3", "none", "avg_pool_3x3"))
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
    kinds = {kind_of(cls) for cls in module_classes().values()} | {ABSENT}
    gone = set(STORED.split()) - kinds
    assert not gone, f"a class moved or was renamed: give its kind in lab/state/kinds.py: {sorted(gone)}"


def test_the_table_names_classes_that_are_there():
    assert KINDS.keys() <= module_classes().keys()


@pytest.mark.parametrize(
    ("build", "digest"),
    [
        (lambda: EvolvableNetwork(sample(DARTS, Random(3)), **SMALL), "20f0e40d8943b91def4361334b578987"),
        (lambda: EvolvableNetwork(WITHOUT_MOST, **SMALL), "e506a475617313b2656931f0c5fe01bd"),
        (lambda: SuperNet(DARTS, **SMALL), "903bb46ebecdff6168eb21b02467795b"),
        (lambda: in_transition(), "92570800759e1520ea89d23d90f0302f"),
    ],
)
def test_networks_have_the_digests_of_earlier_versions(build, digest):
    assert structure_digest(build()) == digest


def in_transition():
    """A child some of whose edges come, and some of whose edges leave."""
    supernet = SuperNet(DARTS, **SMALL)
    child = EvolvableNetwork.from_supernet(supernet, sample(DARTS, Random(3)))
    child.mutate(sample(DARTS, Random(4)), supernet)
    return child
