"""Components of networks that route, remember and weigh losses."""

from lab.mahia.balance import balance_loss, moved_bias, z_loss
from lab.mahia.distillation import KnowledgeDistillationLoss
from lab.mahia.experts import SwiGLUExperts, grouped_refusal
from lab.mahia.gate import ExpertGate
from lab.mahia.gradients import PCGrad, backward_by_loss
from lab.mahia.hybrid import HybridEfficientModel
from lab.mahia.kernel import MetaAttentionKernel
from lab.mahia.layers import DynamicLayerRouter, DynamicNeuroFabric, MetaController
from lab.mahia.memory import GraphDiffusionMemory, TinyMemory
from lab.mahia.precision import PRECISIONS, PrecisionManager
from lab.mahia.profile import ComponentMemory, MemoryProfile, memory_profile
from lab.mahia.router import ExpertRouter, Routing, collect_routing
from lab.mahia.state import State
from lab.mahia.weighting import DynamicWeightAveraging, GradNorm, weighted_sum

__all__ = [
    "PRECISIONS",
    "ComponentMemory",
    "DynamicLayerRouter",
    "DynamicNeuroFabric",
    "DynamicWeightAveraging",
    "ExpertGate",
    "ExpertRouter",
    "GradNorm",
    "GraphDiffusionMemory",
    "HybridEfficientModel",
    "KnowledgeDistillationLoss",
    "MemoryProfile",
    "MetaAttentionKernel",
    "MetaController",
    "PCGrad",
    "PrecisionManager",
    "Routing",
    "State",
    "SwiGLUExperts",
    "TinyMemory",
    "backward_by_loss",
    "balance_loss",
    "collect_routing",
    "grouped_refusal",
    "memory_profile",
    "moved_bias",
    "weighted_sum",
    "z_loss",
]
