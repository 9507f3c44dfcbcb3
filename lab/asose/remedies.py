"""Remedies against searches that collapse onto skip connections, and rules that end exploration before they do.

E edges, K primitives. Sources: Ye et al. 2022, "beta-DARTS", section 3.2; Chen et al. 2019, "Progressive Differentiable
Architecture Search" (P-DARTS), section 3.3; Chu et al. 2021, "DARTS-", section 3.2; Liang et al. 2019, "DARTS+",
section 3.2.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab.asose.config import ASOSEConfig
from lab.explore import GumbelExplorer, measure_collapse
from lab.nn import Sample


class Remedies:
    """What `config` asks for against skip collapse, over the scheduled exploration epochs.

    Args:
        explorer: whose draws are changed and whose alpha is watched; its schedule says how far exploration is.
        config: beta_decay, skip_dropout, auxiliary_skip, max_skips, stable_epochs.
    """

    def __init__(self, explorer: GumbelExplorer, config: ASOSEConfig) -> None:
        self.explorer = explorer
        self.config = config
        self.order: list[list[int]] | None = None
        self.stable = 0
        self.stopped = ""

    @property
    def share(self) -> float:
        """Share of the scheduled exploration that is done, in [0, 1]; 0 throughout the warm-up."""
        return self.explorer.schedule.progress(self.explorer.state.epoch)

    def apply(self, sample: Sample) -> Sample:
        """`sample` with the dropout and the auxiliary skip that are due."""
        left = 1.0 - self.share
        dropout, auxiliary = self.config.skip_dropout * left, self.config.auxiliary_skip * left
        return (
            sample if dropout == auxiliary == 0.0 else replace(sample, skip_dropout=dropout, auxiliary_skip=auxiliary)
        )

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """Gradient (E, K) of w * mean over the edges of logsumexp(alpha): w softmax(alpha) / E."""
        alpha = self.explorer.alpha
        weight = self.config.beta_decay * self.share
        permitted = alpha.masked_fill(self.explorer.excluded_EK, -torch.inf)
        return weight / len(alpha) * permitted.softmax(-1) if weight else torch.zeros_like(alpha)

    def end_epoch(self) -> None:
        """Look at alpha after an exploration epoch: `stopped` says why exploration should end, if it should."""
        order = self.explorer.alpha.detach().argsort(dim=-1).tolist()
        self.stable = self.stable + 1 if order == self.order else 0
        self.order = order
        collapse = measure_collapse(
            self.explorer.space, self.explorer.probabilities(), None, self.explorer.argmax_genotype
        )
        skips = round(collapse.skip_share * len(self.explorer.argmax_genotype.rows))
        if self.config.max_skips and skips >= self.config.max_skips:
            self.stopped = f"{skips} skip connections in the most probable cell"
        elif self.config.stable_epochs and self.stable >= self.config.stable_epochs:
            self.stopped = f"the order of alpha has stayed for {self.stable} exploration epochs"

    def state_dict(self) -> dict[str, Any]:
        """What the stop rules have seen."""
        return {"order": self.order, "stable": self.stable, "stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.order, self.stable, self.stopped = state["order"], state["stable"], state["stopped"]
