"""The evolution agent: what it measures, what it does to a network, how it judges that, how it learns."""

from .batch import Labelled, read_batch, read_loader
from .cell_search import CellSearch, CellSearchConfig
from .compound import AdaptiveOperator, CompoundOperator
from .discrete import MutateDiscrete
from .dynamic import AgentConfig, DynamicArchitecture
from .evolution import StructuralEvolution, latency
from .fit import fit_widths
from .information import (
    InformationBottleneck,
    differential_entropy,
    discrete_entropy,
    label_information,
    mutual_information,
    pooled_activations,
    redundancy,
)
from .inserts import (
    KINDS,
    AttentionOperator,
    BranchOperator,
    HybridOperator,
    LayerTypeSelector,
    ResidualOperator,
    gate_gradient,
)
from .learner import LearnerConfig, QLearner
from .measure import LayerMeasure, Measures, measure
from .operators import ActionContext, ExpandWithMI, MorphOperator, PruneByEntropy, StructuralOperator
from .policy import AttentionPolicyNetwork
from .replay import Experience, ExperienceBuffer, ReplayBatch
from .reward import MultiObjectiveReward, ParetoFront, Reward, RewardConfig
from .run_config import POLICIES, EvolveConfig
from .scores import LAYER_SCORES, UNIT_SCORES
from .state import FEATURES
from .strategy import AgentStrategy
from .trial import GainTest, PairedTest, TriedAction

__all__ = [
    "FEATURES",
    "KINDS",
    "LAYER_SCORES",
    "POLICIES",
    "UNIT_SCORES",
    "ActionContext",
    "AdaptiveOperator",
    "AgentConfig",
    "AgentStrategy",
    "AttentionOperator",
    "AttentionPolicyNetwork",
    "BranchOperator",
    "CellSearch",
    "CellSearchConfig",
    "CompoundOperator",
    "DynamicArchitecture",
    "EvolveConfig",
    "ExpandWithMI",
    "Experience",
    "ExperienceBuffer",
    "GainTest",
    "HybridOperator",
    "InformationBottleneck",
    "Labelled",
    "LayerMeasure",
    "LayerTypeSelector",
    "LearnerConfig",
    "Measures",
    "MorphOperator",
    "MultiObjectiveReward",
    "MutateDiscrete",
    "PairedTest",
    "ParetoFront",
    "PruneByEntropy",
    "QLearner",
    "ReplayBatch",
    "ResidualOperator",
    "Reward",
    "RewardConfig",
    "StructuralEvolution",
    "StructuralOperator",
    "TriedAction",
    "differential_entropy",
    "discrete_entropy",
    "fit_widths",
    "gate_gradient",
    "label_information",
    "latency",
    "measure",
    "mutual_information",
    "pooled_activations",
    "read_batch",
    "read_loader",
    "redundancy",
]
