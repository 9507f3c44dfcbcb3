"""Searches that train: each takes a proxy and a clock and says which cell it would have.

Sources: Li and Talwalkar 2019, "Random Search and Reproducibility for Neural Architecture Search" (random search and
ranking by inherited weights); Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform
Sampling"; Dong and Yang 2019 (GDAS); Liu, Simonyan, Yang 2019 (DARTS, first order).
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import derive_seed
from lab.experiments.proxy import Proxy
from lab.explore import GumbelExplorer
from lab.nn import Sample, SuperNet, train_mode
from lab.results.record import Clock
from lab.search import weight_step
from lab.space import Genotype, sample
from lab.train import Split

OWN_EPOCHS = 3
"""Epochs that random search trains each cell for itself."""
RANKING_SHARE = 0.3
"""Share of the budget in which inherited weights are compared."""
ARCHITECTURE_LR = 3e-4
ARCHITECTURE_BETAS = (0.5, 0.999)
ARCHITECTURE_DECAY = 1e-3
GDAS_TEMPERATURES = (10.0, 0.1)


@dataclass(kw_only=True)
class Found:
    """What a search ended with."""

    genotype: Genotype
    """The cell that it would have."""
    evaluations: int
    """Cells that it compared."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else it measured; JSON data."""


def random_search(proxy: Proxy, clock: Clock) -> Found:
    """Uniform cells, each trained for itself for a few epochs; the best held-out loss."""
    rng = Random(derive_seed(proxy.seed, "random search"))
    losses: dict[Genotype, float] = {}
    best = sample(proxy.space, rng)
    candidate = best
    while not clock.over:
        reading = proxy.train_alone(candidate, OWN_EPOCHS, clock)
        if reading is not None:
            losses[candidate] = reading.loss
            best = min(losses, key=losses.__getitem__)
        candidate = sample(proxy.space, rng)
    return Found(genotype=best, evaluations=len(losses), details={"loss": losses.get(best)})


def inherited_ranking(proxy: Proxy, clock: Clock) -> Found:
    """A supernet trained on uniformly drawn cells; then random cells by held-out loss with its weights."""
    supernet = proxy.supernet()
    optimizer = proxy.optimizer(supernet)
    explorer = GumbelExplorer(proxy.space, 1.0, seed=derive_seed(proxy.seed, "explorer"))
    batches = proxy.endless(Split.TRAIN)
    steps = 0
    while clock.share < 1.0 - RANKING_SHARE:
        proxy.set_rate(optimizer, clock.share / (1.0 - RANKING_SHARE))
        _supernet_step(supernet, explorer.sample_uniform(), optimizer, *next(batches))
        steps += 1
    rng = Random(derive_seed(proxy.seed, "ranking"))
    best = sample(proxy.space, rng)
    losses = {best: proxy.inherited(supernet, best).loss}
    while not clock.over:
        candidate = sample(proxy.space, rng)
        losses[candidate] = proxy.inherited(supernet, candidate).loss
        best = min(losses, key=losses.__getitem__)
    return Found(genotype=best, evaluations=len(losses), details={"steps": steps, "loss": losses[best]})


def gdas(proxy: Proxy, clock: Clock) -> Found:
    """One drawn cell in each step, weights and alpha in turn, temperature falling; the most probable cell."""
    explorer = GumbelExplorer(
        proxy.space, GDAS_TEMPERATURES[0], seed=derive_seed(proxy.seed, "explorer"), sampling="gdas"
    )
    return _differentiable(proxy, clock, explorer, GDAS_TEMPERATURES)


def darts(proxy: Proxy, clock: Clock) -> Found:
    """The full mixture in each step, weights and alpha in turn; the most probable cell."""
    explorer = GumbelExplorer(proxy.space, 1.0, seed=derive_seed(proxy.seed, "explorer"), sampling="mixture")
    return _differentiable(proxy, clock, explorer, (1.0, 1.0))


def _differentiable(proxy: Proxy, clock: Clock, explorer: GumbelExplorer, temperatures: tuple[float, float]) -> Found:
    supernet = proxy.supernet()
    optimizer = proxy.optimizer(supernet)
    designer = torch.optim.Adam(
        explorer.parameters(), lr=ARCHITECTURE_LR, betas=ARCHITECTURE_BETAS, weight_decay=ARCHITECTURE_DECAY
    )
    weights, architecture = proxy.endless(Split.TRAIN), proxy.endless(Split.SEARCH)
    first, last = temperatures
    steps = 0
    while not clock.over:
        share = clock.share
        proxy.set_rate(optimizer, share)
        explorer.set_temperature(first + (last - first) * share)
        with torch.no_grad():
            drawn = explorer.sample()
        _supernet_step(supernet, drawn, optimizer, *next(weights))
        x_BCHW, y_B = next(architecture)
        loss = nn.functional.cross_entropy(supernet(x_BCHW, explorer.sample()), y_B)
        (explorer.alpha.grad,) = torch.autograd.grad(loss, [explorer.alpha])
        designer.step()
        steps += 1
    probabilities = explorer.alpha.detach().softmax(-1)
    details = {"steps": steps, "probabilities": [[round(p, 4) for p in row] for row in probabilities.tolist()]}
    return Found(genotype=explorer.argmax_genotype, evaluations=0, details=details)


def _supernet_step(
    supernet: SuperNet, drawn: Sample, optimizer: torch.optim.Optimizer, x_BCHW: Tensor, y_B: Tensor
) -> None:
    train_mode(supernet)
    weight_step(lambda x: supernet(x, drawn), optimizer, x_BCHW, y_B)
