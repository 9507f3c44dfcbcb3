"""The evolution agent: what it measures, what it remembers, how it judges actions, how it learns."""

from lab.agent.information import (
    InformationBottleneck,
    differential_entropy,
    discrete_entropy,
    label_information,
    mutual_information,
    pooled_activations,
    redundancy,
)
from lab.agent.learner import LearnerConfig, QLearner
from lab.agent.policy import AttentionPolicyNetwork
from lab.agent.replay import Experience, ExperienceBuffer, ReplayBatch
from lab.agent.reward import MultiObjectiveReward, ParetoFront, Reward, RewardConfig

__all__ = [
    "AttentionPolicyNetwork",
    "Experience",
    "ExperienceBuffer",
    "InformationBottleneck",
    "LearnerConfig",
    "MultiObjectiveReward",
    "ParetoFront",
    "QLearner",
    "ReplayBatch",
    "Reward",
    "RewardConfig",
    "differential_entropy",
    "discrete_entropy",
    "label_information",
    "mutual_information",
    "pooled_activations",
    "redundancy",
]
