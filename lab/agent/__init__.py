"""The evolution agent: what it measures, what it does to a network, how it judges that, how it learns."""

from lab.agent.batch import Labelled, read_batch, read_loader
from lab.agent.compound import AdaptiveOperator, CompoundOperator
from lab.agent.discrete import MutateDiscrete
from lab.agent.dynamic import AgentConfig, DynamicArchitecture
from lab.agent.evolution import StructuralEvolution, latency
from lab.agent.information import (
    InformationBottleneck,
    differential_entropy,
    discrete_entropy,
    label_information,
    mutual_information,
    pooled_activations,
    redundancy,
)
from lab.agent.inserts import (
    KINDS,
    AttentionOperator,
    BranchOperator,
    HybridOperator,
    LayerTypeSelector,
    ResidualOperator,
    gate_gradient,
)
from lab.agent.learner import LearnerConfig, QLearner
from lab.agent.measure import LayerMeasure, Measures, measure
from lab.agent.operators import ExpandWithMI, MorphOperator, PruneByEntropy, Situation, StructuralOperator
from lab.agent.policy import AttentionPolicyNetwork
from lab.agent.replay import Experience, ExperienceBuffer, ReplayBatch
from lab.agent.reward import MultiObjectiveReward, ParetoFront, Reward, RewardConfig
from lab.agent.scores import LAYER_SCORES, UNIT_SCORES
from lab.agent.search import CellSearch, CellSearchConfig
from lab.agent.state import FEATURES
from lab.agent.trial import PairedJudge, Trial

__all__ = [
    "FEATURES",
    "KINDS",
    "LAYER_SCORES",
    "UNIT_SCORES",
    "AdaptiveOperator",
    "AgentConfig",
    "AttentionOperator",
    "AttentionPolicyNetwork",
    "BranchOperator",
    "CellSearch",
    "CellSearchConfig",
    "CompoundOperator",
    "DynamicArchitecture",
    "ExpandWithMI",
    "Experience",
    "ExperienceBuffer",
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
    "PairedJudge",
    "ParetoFront",
    "PruneByEntropy",
    "QLearner",
    "ReplayBatch",
    "ResidualOperator",
    "Reward",
    "RewardConfig",
    "Situation",
    "StructuralEvolution",
    "StructuralOperator",
    "Trial",
    "differential_entropy",
    "discrete_entropy",
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
