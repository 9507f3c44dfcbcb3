"""How evenly the tokens are shared out: load, balance loss, z-loss, and the bias that needs no loss.

Shapes: T tokens, E experts, S slots.
"""

import torch
from torch import Tensor


def load(chosen_TK: Tensor, experts: int) -> Tensor:
    """Rows of each expert (E,), integers that add up to T * K; `chosen_TK` are numbers of experts."""
    flat_P = chosen_TK.flatten()
    # bincount's length depends on the values, which no trace can follow.
    return flat_P.new_zeros(experts).index_add(0, flat_P, torch.ones_like(flat_P))


def balance_loss(share_E: Tensor, probability_TE: Tensor, eligible_E: Tensor | None = None) -> Tensor:
    """E sum_e f_e P_e: 1 where the load is uniform, E / k where k experts take all of it (E for k = 1).

    f_e is the share of the pairs of token and expert that went to e, and has no gradient; P_e is the mean probability
    of e. This is Switch's normalisation. Mixtral's code gives k times as much.

    Args:
        share_E: f, adds up to 1.
        probability_TE: the gate's probabilities, rows add up to 1.
        eligible_E: which experts may be chosen at all, (E,) of bool; E counts these. None for all.

    Source: Fedus, Zoph and Shazeer 2022, "Switch Transformers", section 2.2, equations 4 to 6.
    """
    experts = share_E.numel() if eligible_E is None else eligible_E.sum()
    loss: Tensor = experts * (share_E.detach() * probability_TE.mean(dim=0)).sum()
    return loss


def z_loss(logits_TS: Tensor) -> Tensor:
    """Mean of logsumexp(logits)^2: keeps the gate's logits small.

    Args:
        logits_TS: of the gate, float32 at least.

    Source: Zoph et al. 2022, "ST-MoE", section 3.2, equation 5.
    """
    return logits_TS.logsumexp(dim=-1).square().mean()


def moved_bias(bias_E: Tensor, share_E: Tensor, rate: float, eligible_E: Tensor | None = None) -> Tensor:
    """The selection bias after a step: b_e + rate * sign(1 / E - f_e), a tensor of its own.

    An expert with more than its share is chosen less readily from now on; its weight in the output is not touched.

    Args:
        bias_E: the bias before the step.
        share_E: f, adds up to 1.
        rate: step size, >= 0.
        eligible_E: which experts may be chosen at all, (E,) of bool; the others keep their bias. None for all.

    Source: Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", algorithm 1.
    """
    if eligible_E is None:
        return (bias_E + rate * torch.sign(1.0 / share_E.numel() - share_E)).detach()
    return (bias_E + rate * torch.sign(1.0 / eligible_E.sum() - share_E) * eligible_E).detach()
