"""Components of networks that route, remember and weigh losses."""

from .balance import balance_loss, moved_bias, z_loss
from .distillation import KnowledgeDistillationLoss
from .experts import SwiGLUExperts, grouped_refusal
from .gate import ExpertGate
from .gradients import PCGrad, backward_by_loss
from .hybrid import HybridEfficientModel
from .kernel import MetaAttentionKernel
from .kinds import PRECISIONS
from .layers import DynamicLayerRouter, DynamicNeuroFabric, MetaController
from .memory import GraphDiffusionMemory, TinyMemory
from .precision import PrecisionManager
from .profile import ComponentMemory, MemoryProfile, memory_profile
from .router import ExpertRouter, Routing, collect_routing
from .state import State
from .weighting import DynamicWeightAveraging, GradNorm, weighted_sum

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
