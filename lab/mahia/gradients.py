"""Several losses of one encoding: each loss's own gradient, and one backward through what they share.

K losses, B samples, F features, P entries of the parameters, flattened.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import TrainingError, derive_seed


class PCGrad:
    """Project conflicting gradients: for each loss i, against the others j in random order,
    g_i <- g_i - (<g_i, g_j> / |g_j|^2) g_j where the product is negative; g_j is j's own, as it came. The sum over i.

    Args:
        seed: of the order.

    Source: Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", algorithm 1.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(derive_seed(seed, "pcgrad"))

    def combine(self, gradients_KP: Tensor) -> Tensor:
        """The gradients of K losses, one a row -> the gradient to descend, of a row's shape.

        Raises:
            TrainingError: no rows.
        """
        if gradients_KP.dim() < 2 or not len(gradients_KP):
            got = f"shape {tuple(gradients_KP.shape)}"
            raise TrainingError("gradients with one row for each loss", got, "stack them")
        rows_KP = gradients_KP.flatten(1)
        total_P = torch.zeros_like(rows_KP[0])
        for own in range(len(rows_KP)):
            projected_P = rows_KP[own]
            others = [other for other in range(len(rows_KP)) if other != own]
            self._random.shuffle(others)
            for other in others:
                direction_P = _readable(rows_KP[other])
                product, square = projected_P @ direction_P, direction_P @ direction_P
                # a gradient of 0 conflicts with none: its quotient is not taken
                share = torch.where(product < 0, product / square, 0)
                projected_P = projected_P - share * direction_P
            total_P = total_P + projected_P
        return total_P.reshape(gradients_KP.shape[1:])

    def backward(self, losses: Sequence[Tensor], parameters: Iterable[nn.Parameter]) -> Tensor:
        """Set `.grad` of `parameters`: combined where several losses reach one, the plain sum elsewhere.

        One walk through the graph for each loss; `lab.mahia.backward_by_loss` takes one through the encoder in all.

        Returns:
            Each loss's own gradient (K, P) in the shared parameters, detached.

        Raises:
            TrainingError: no parameter that two losses reach, or no losses.
        """
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        found: list[tuple[Tensor | None, ...]] = []
        for number, loss in enumerate(losses):
            # no weight changes between these walks, so the graph may be walked again
            again = number < len(losses) - 1
            found.append(torch.autograd.grad(loss, wanted, retain_graph=again, allow_unused=True))
        each = list(zip(*found, strict=True))
        shared = [n for n, own in enumerate(each) if sum(gradient is not None for gradient in own) > 1]
        if not shared:
            got = f"{len(wanted)} parameters and {len(losses)} losses"
            raise TrainingError("parameters that at least two losses reach", got, "give the encoder's parameters")
        filled = [[torch.zeros_like(wanted[n]) if g is None else g for g in each[n]] for n in shared]
        gradients_KP = torch.stack([torch.cat([own[k].flatten() for own in filled]) for k in range(len(losses))])
        parts = self.combine(gradients_KP).split([wanted[n].numel() for n in shared])
        for n, part in zip(shared, parts, strict=True):
            wanted[n].grad = part.reshape(wanted[n].shape)
        for n in set(range(len(wanted))) - set(shared):
            own = [gradient for gradient in each[n] if gradient is not None]
            wanted[n].grad = torch.stack(own).sum(0) if own else None
        return gradients_KP

    def state_dict(self) -> dict[str, Any]:
        """The position of the random order."""
        version, words, carry = self._random.getstate()
        return {"version": version, "words": list(words), "carry": carry}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._random.setstate((state["version"], tuple(state["words"]), state["carry"]))


def backward_by_loss(
    features_BF: Tensor,
    losses_of: Callable[[Tensor], Sequence[Tensor]],
    combine: Callable[[Tensor], Tensor] | None = None,
    *,
    of_encoder: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Gradients of several losses with one walk through the encoder, each loss's own gradient known on the way.

    The losses are computed from a copy of the features that begins a graph of its own; each walks back through its own
    head alone, and what they ask of the features goes through the encoder once. With no `combine` all gradients are
    those of the sum. No graph is retained.

    Args:
        features_BF: the encoder's output, with its graph.
        losses_of: features -> K scalars; their heads share no parameter's graph but the features.
        combine: gradients (K, B, F) -> the gradient (B, F) for the encoder; default the sum.
        of_encoder: losses that the encoder has by itself (a router's balance loss), added in the same walk.

    Returns:
        The losses (K,) and their own gradients (K, B, F) at the features, detached.

    Raises:
        TrainingError: no losses, or one that does not depend on the features.
    """
    leaf_BF = features_BF.detach().requires_grad_()
    losses = list(losses_of(leaf_BF))
    if not losses:
        raise TrainingError("at least one loss", "none", "return the losses of one forward")
    values_K = torch.stack([loss.detach().reshape(()) for loss in losses])
    gradients: list[Tensor] = []
    for position in range(len(losses)):
        leaf_BF.grad = None
        loss, losses[position] = losses[position], values_K[position]  # so that its graph goes once it was walked
        loss.backward()
        if leaf_BF.grad is None:
            hint = "compute it from the argument of losses_of"
            raise TrainingError("losses of the features", f"none at position {position}", hint)
        gradients.append(leaf_BF.grad)
    gradients_KBF = torch.stack(gradients)
    asked_BF = gradients_KBF.sum(0) if combine is None else combine(gradients_KBF)
    torch.autograd.backward([features_BF, *of_encoder], [asked_BF, *map(torch.ones_like, of_encoder)])
    return values_K, gradients_KBF


def _readable(row_P: Tensor) -> Tensor:
    """`row_P`, or where its square would vanish in its dtype, the same direction at length 1 in its largest entry."""
    largest = row_P.abs().amax()
    vanishes = (largest > 0) & (row_P @ row_P < torch.finfo(row_P.dtype).tiny)
    # Dividing by 1 leaves every bit.
    return row_P / torch.where(vanishes, largest, 1.0)
