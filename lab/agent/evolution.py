"""`StructuralEvolution`: what the agent may do to a network, how much at once, and what the network may cost."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lab.agent.discrete import MutateDiscrete
from lab.agent.inserts import AttentionOperator, BranchOperator, HybridOperator, ResidualOperator
from lab.agent.operators import ExpandWithMI, PruneByEntropy, StructuralOperator
from lab.base import require_range
from lab.device import batch_length
from lab.morph import MorphPlan, apply
from lab.morph.trace import Example, run
from lab.nn import eval_mode

LATENCY_RUNS = 7
"""Forward passes of which the median counts."""


@dataclass(frozen=True, kw_only=True)
class StructuralEvolution:
    """Limits and ratios of the agent's actions."""

    prune_ratio: float = 0.25
    """Share of a layer's units that a pruning takes, in (0, 1)."""
    expand_ratio: float = 0.5
    """Share by which an expansion widens a layer, > 0."""
    min_width: int = 4
    """Units that a pruned layer keeps, >= 1."""
    max_growth: float = 4.0
    """Factor by which one change may at most multiply parameters or operations, > 1. Attention over every pixel of the
    first maps costs a small network fifty times what it cost."""
    max_parameters: int | None = None
    """Parameters that the network may have, >= 1; None for no limit."""
    max_flops: int | None = None
    """Floating-point operations of a forward of one sample, >= 1; None for no limit."""
    max_latency: float | None = None
    """Seconds of a forward of the example (median of `LATENCY_RUNS`), > 0; None for no limit. It reads the clock: with
    it a run cannot be repeated bit for bit."""

    def __post_init__(self) -> None:
        require_range("prune_ratio", self.prune_ratio, 0, 1, open_low=True)
        require_range("expand_ratio", self.expand_ratio, 0, open_low=True)
        require_range("min_width", self.min_width, 1)
        require_range("max_growth", self.max_growth, 1, open_low=True)
        for name in ("max_parameters", "max_flops"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 1)
        if self.max_latency is not None:
            require_range("max_latency", self.max_latency, 0, open_low=True)

    def operators(self) -> Mapping[str, StructuralOperator]:
        """The seven actions by name, in the order of their numbers."""
        found: tuple[StructuralOperator, ...] = (
            PruneByEntropy(ratio=self.prune_ratio, least=self.min_width),
            ExpandWithMI(ratio=self.expand_ratio),
            MutateDiscrete(),
            BranchOperator(),
            AttentionOperator(),
            HybridOperator(),
            ResidualOperator(),
        )
        return {operator.name: operator for operator in found}

    @property
    def limited(self) -> bool:
        """Whether the network's cost has a limit."""
        return (self.max_parameters, self.max_flops, self.max_latency) != (None, None, None)

    def over_budget(self, plan: MorphPlan, model: nn.Module, example: Example) -> str:
        """What a plan for `model` would exceed; empty where it stays within the limits or makes the network cheaper."""
        old, new = plan.parameters
        if self.max_parameters is not None and new > max(self.max_parameters, old):
            return f"{new:,} parameters over the limit of {self.max_parameters:,}"
        samples = batch_length(example)
        before, after = plan.flops[0] // samples, plan.flops[1] // samples
        if self.max_flops is not None and after > max(self.max_flops, before):
            return f"{after:,} FLOPs a sample over the limit of {self.max_flops:,}"
        if self.max_latency is not None and after > before:
            changed = copy.deepcopy(model)
            apply(plan, changed).release()
            seconds = latency(changed, example)
            if seconds > self.max_latency:
                return f"{1000 * seconds:.2f} ms a forward over the limit of {1000 * self.max_latency:.2f} ms"
        return ""


@torch.no_grad()
def latency(model: nn.Module, example: Example) -> float:
    """Seconds of one forward in eval mode, the median of `LATENCY_RUNS` after a first one."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    # A GPU returns from a call before it has computed: the clock is read only once it is idle.
    taken = []
    with eval_mode(model):
        for _ in range(LATENCY_RUNS + 1):
            _wait(device)
            began = time.perf_counter()
            run(model, example)
            _wait(device)
            taken.append(time.perf_counter() - began)
    return sorted(taken[1:])[LATENCY_RUNS // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
