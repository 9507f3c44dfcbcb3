"""`ExpertGate`: which experts a token goes to, and with which weights.

Shapes: T tokens, D width, E experts, S slots, K chosen slots.

Experts compete for tokens by slot. At first each expert is a slot. An expert that was split off another shares its
slot: its row of `weight` does not compete, it divides the tokens of that slot between the two. So a split changes
neither which slots are chosen nor their weights, and a token still goes to K experts.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lab.mahia.experts import fan_bound
from lab.mahia.state import State


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the gate chose."""

    experts_TK: Tensor
    """Numbers of the chosen experts, the most probable slot first."""
    weights_TK: Tensor
    """Their weights in the output."""
    logits_TS: Tensor
    """Of the slots; float32 at least."""
    splits_TN: Tensor
    """Logit of each split, for its later half; no columns where there is none."""
    eligible_E: Tensor | None
    """Which experts could be chosen, of bool; None where all could."""


class ExpertGate(nn.Module):
    """Top-k of a softmax, renormalised: p = softmax(W x), weights p_i / (sum of the k largest p).

    With k = 1 the weight is p itself, as in Switch: renormalised it would be 1 and the gate would learn nothing. Logits
    are float32 at least, whatever the input is.

    State: `opening` (E,), 0 for an expert that cannot be chosen yet and 1 for one that is like the others, adds its
    logarithm to the logit; where `opening_rate` is above 0, `move` brings it nearer to 1. The buffer `threshold` (E,)
    belongs to splits.

    Args:
        dim: D, >= 1.
        num_experts: E, >= 1.
        k: experts of a token, 1 <= k <= E.

    Source: Shazeer et al. 2017, "Outrageously Large Neural Networks", section 2.1 (without noise); Fedus, Zoph and
    Shazeer 2022, "Switch Transformers", section 2.1 (k = 1). Splits are this project's own.
    """

    OWN_SLOT: ClassVar[int] = -1
    """Origin of an expert that was split off no other."""
    threshold: Tensor

    def __init__(self, dim: int, num_experts: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.origins = (self.OWN_SLOT,) * num_experts
        self.opening_rate = 0.0
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.state = State(opening=torch.ones(num_experts))
        self.register_buffer("threshold", torch.zeros(num_experts))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(D), as `nn.Linear` draws."""
        nn.init.uniform_(self.weight, -fan_bound(self.weight), fan_bound(self.weight))

    @property
    def slots(self) -> tuple[int, ...]:
        """The experts that have a slot of their own, in the order of the slots."""
        return tuple(number for number, origin in enumerate(self.origins) if origin == self.OWN_SLOT)

    @property
    def splits(self) -> tuple[tuple[int, int], ...]:
        """(expert, the one that it was split off), in the order in which they were made."""
        return tuple((number, origin) for number, origin in enumerate(self.origins) if origin != self.OWN_SLOT)

    def forward(self, x_TD: Tensor, bias_E: Tensor | None = None) -> Choice:
        """Choose for each token.

        Args:
            x_TD: tokens.
            bias_E: added to the probabilities for the choice alone, not for the weights.
        """
        # Autocast would round the logits, and with them the choice (Fedus et al. 2022, section 2.4).
        with torch.autocast(x_TD.device.type, enabled=False):
            wide = torch.promote_types(x_TD.dtype, torch.float32)
            x_TD, weight_ED = x_TD.to(wide), self.weight.to(wide)
            logits_TS, eligible_E = linear(x_TD, weight_ED), None
            if self.opening_rate > 0.0:
                opening_E = self.state.read("opening")
                logits_TS, eligible_E = logits_TS + opening_E.log(), opening_E > 0
            splits_TN = logits_TS[:, :0]
            if self.splits:
                later = [number for number, _ in self.splits]
                # The output does not depend on where a split is, so no gradient of it goes to the tokens.
                splits_TN = linear(x_TD.detach(), weight_ED[later]) - self.threshold[later]
                logits_TS = logits_TS[:, self.slots]
        values, slots_TK = self._top(logits_TS, bias_E)
        weights_TK = values.softmax(dim=-1) if self.k > 1 else (values - logits_TS.logsumexp(-1, keepdim=True)).exp()
        chosen = Choice(
            experts_TK=slots_TK, weights_TK=weights_TK, logits_TS=logits_TS, splits_TN=splits_TN, eligible_E=eligible_E
        )
        return self._divide(chosen, bias_E) if self.splits else chosen

    def _top(self, logits_TS: Tensor, bias_E: Tensor | None) -> tuple[Tensor, Tensor]:
        if bias_E is None:
            values, slots = logits_TS.topk(self.k, dim=-1)
            return values, slots
        bias_S = bias_E if not self.splits else self._subtrees(bias_E)[0][list(self.slots)]
        scores_TS = (logits_TS.softmax(dim=-1) + bias_S).detach()
        # What is closed stays so whatever its bias.
        slots = scores_TS.masked_fill(logits_TS == -torch.inf, -torch.inf).topk(self.k, dim=-1).indices
        return logits_TS.gather(1, slots), slots

    def _subtrees(self, bias_E: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Bias of each expert with all that was split off it, as a mean of halves, and the lead of each later half."""
        means, leads = list(bias_E.unbind()), []
        for number, origin in reversed(self.splits):
            leads.append(means[number] - means[origin])
            means[origin] = (means[number] + means[origin]) / 2
        return torch.stack(means), leads[::-1]

    def _divide(self, chosen: Choice, bias_E: Tensor | None) -> Choice:
        """Follow the splits of the chosen slots; the weights get a gradient for it and keep their values."""
        slots = torch.tensor(self.slots, device=chosen.experts_TK.device)
        experts_TK, weights_TK = slots[chosen.experts_TK], chosen.weights_TK
        leads = None if bias_E is None else self._subtrees(bias_E)[1]
        for place, (number, origin) in enumerate(self.splits):
            later_T = chosen.splits_TN[:, place].sigmoid()
            goes_T = 2.0 * later_T.detach() - 1.0 > (0.0 if leads is None else -leads[place])
            share_T = torch.where(goes_T, later_T, 1.0 - later_T)
            here_TK = experts_TK == origin
            weights_TK = torch.where(here_TK, weights_TK * (1.0 + (share_T - share_T.detach()))[:, None], weights_TK)
            experts_TK = torch.where(here_TK & goes_T[:, None], number, experts_TK)
        return replace(chosen, experts_TK=experts_TK, weights_TK=weights_TK)

    def move(self) -> None:
        """Open what is closed a little further; in train mode alone, after a forward."""
        if self.opening_rate > 0.0:
            self.state.write(opening=(self.state.read("opening") + self.opening_rate).clamp(max=1.0))

    def probabilities(self, chosen: Choice) -> Tensor:
        """Probability of each expert (T, E): that of its slot times its part in it; rows add up to 1."""
        masses_TS = chosen.logits_TS.softmax(dim=-1)
        if not self.splits:
            return masses_TS
        masses = dict(zip(self.slots, masses_TS.unbind(1), strict=True))
        for place, (number, origin) in enumerate(self.splits):
            later_T = chosen.splits_TN[:, place].sigmoid()
            masses[number] = masses[origin] * later_T
            masses[origin] = masses[origin] * (1.0 - later_T)
        return torch.stack([masses[number] for number in range(len(self.origins))], dim=1)

    def extra_repr(self) -> str:
        experts, dim = self.weight.shape
        return f"{dim} -> {experts}, k={self.k}" + (f", splits={self.splits}" if self.splits else "")
