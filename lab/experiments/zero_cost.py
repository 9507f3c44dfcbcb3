"""Searches that train nothing: local search on a score of the untrained network.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lab.base import derive_seed
from lab.experiments.one_shot import Found
from lab.experiments.proxy import Proxy
from lab.nn import EvolvableNetwork
from lab.results.record import Clock
from lab.space import Genotype, neighbours, sample
from lab.train import Split

CLIMBS = 3
"""Local searches from random cells; the best end counts."""

Score = Callable[[EvolvableNetwork, Tensor], float]


def parameters(network: EvolvableNetwork, x_BCHW: Tensor) -> float:
    """Number of parameters."""
    return float(sum(p.numel() for p in network.parameters()))


def synflow(network: EvolvableNetwork, x_BCHW: Tensor) -> float:
    """log of sum |w dR/dw|, R the output's sum on an input of ones, weights absolute, without BatchNorm, float64.

    Source: Tanaka et al. 2020, "Pruning Neural Networks without Any Data"; as a score of cells Abdelfattah et al.
    2021, "Zero-Cost Proxies for Lightweight NAS".
    """
    # In float32 the products of many layers overflow.
    network = network.double()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones_like(x_BCHW[:1], dtype=torch.float64)).sum().backward()
    products = [(p * p.grad).abs().sum() for p in network.parameters() if p.grad is not None]
    total = float(torch.stack(products).sum().detach())
    return math.log(total) if total > 0 else -math.inf


@torch.no_grad()
def naswot(network: EvolvableNetwork, x_BCHW: Tensor) -> float:
    """log |det K|, K_ij the number of ReLU units that images i and j set alike.

    Source: Mellor et al. 2021, "Neural Architecture Search without Training", section 3.
    """
    inputs: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
        for module in network.modules()
        if hasattr(module, "conv")
    ]
    network.train()
    network(x_BCHW)
    for handle in handles:
        handle.remove()
    size = len(x_BCHW)
    kernel = torch.zeros(size, size, dtype=torch.float64)
    for activation in inputs:
        code = (activation > 0).flatten(1).double()
        kernel += code @ code.T + (1 - code) @ (1 - code).T
    sign, logarithm = torch.linalg.slogdet(kernel)
    return float(logarithm) if float(sign) > 0 and math.isfinite(float(logarithm)) else -math.inf


SCORES: Mapping[str, Score] = MappingProxyType({"parameters": parameters, "synflow": synflow, "naswot": naswot})
"""Every score by name; higher is better."""


def local_search(score: Score, proxy: Proxy, clock: Clock) -> Found:
    """From random cells to the neighbour with the best score while there is a better one; the best end of all."""
    x_BCHW = next(proxy.data.batches(Split.TRAIN, 0))[0]
    known: dict[Genotype, float] = {}

    def value(genotype: Genotype) -> float:
        if genotype not in known:
            known[genotype] = score(proxy.network(genotype, *genotype.indices), x_BCHW)
        return known[genotype]

    rng = Random(derive_seed(proxy.seed, "local search"))
    for _ in range(CLIMBS):
        here = sample(proxy.space, rng)
        value(here)
        while not clock.over:
            steps = list(neighbours(here))
            rng.shuffle(steps)
            best = here
            for step in steps:
                if clock.over:
                    break
                best = max(best, step, key=value)
            if best == here:
                break
            here = best
    found = max(known, key=known.__getitem__)
    return Found(genotype=found, evaluations=len(known), details={"score": known[found]})
