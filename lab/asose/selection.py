"""What a primitive on an edge is worth by held-out loss, measured instead of read off alpha.

An architecture parameter says how a small change of an output's scale would change the loss, and a BatchNorm's own
scale has made that change already; what counts is the loss without the primitive. B batch, C channels, H height,
W width, E edges, K primitives, N draws.

Source: Wang et al. 2021, "Rethinking Architecture Selection in Differentiable NAS", section 4.1 (a primitive's strength
is what the supernet loses when it is taken away).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.nn import Sample, SuperNet, eval_mode

RIDGE = 1e-2
"""Weight of the least squares' pull towards no effect: keeps primitives that were hardly drawn finite."""
DRAWS = 120
"""Cells behind the effects of a supernet that runs one primitive on each edge."""

Images = Sequence[tuple[Tensor, Tensor]]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm on each batch's own statistics inside the block; running ones stay, modes are as before afterwards."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    with eval_mode(model):
        for layer in layers:
            layer.train()
            layer.track_running_stats = False
        try:
            yield
        finally:
            for layer in layers:
                layer.track_running_stats = True


@torch.no_grad()
def held_out_loss(supernet: SuperNet, sample: Sample, images: Images) -> float:
    """Mean loss of the supernet under `sample` over `images`; call it inside `batch_statistics`."""
    total, count = 0.0, 0
    for x_BCHW, y_B in images:
        total += float(nn.functional.cross_entropy(supernet(x_BCHW, sample), y_B, reduction="sum"))
        count += len(y_B)
    return total / count


def sampled_importance(supernet: SuperNet, draw: Callable[[], Sample], images: Images, draws: int = DRAWS) -> Tensor:
    """How much lower the held-out loss of drawn cells is for each primitive on each edge, (E, K) in nats.

    An additive model is fitted to (cell, loss) of `draws` hard samples, all read on the same images: worth is minus the
    primitive's term, centred on each edge; minus infinity where a primitive was never drawn.
    """
    edges, kinds = len(supernet.space.edges), len(supernet.space.primitives)
    rows, losses = [], []
    with batch_statistics(supernet):
        for _ in range(draws):
            sample = draw()
            assert sample.choices is not None
            rows.append(sample.choices)
            losses.append(held_out_loss(supernet, Sample(choices=sample.choices), images))
    choices_NE = torch.tensor(rows)
    design = torch.nn.functional.one_hot(choices_NE.clamp_min(0), kinds).double() * (choices_NE >= 0).unsqueeze(-1)
    seen_EK = design.sum(0) > 0
    loss_N = torch.tensor(losses, dtype=torch.float64)
    flat = design.reshape(draws, edges * kinds)
    normal = flat.T @ flat + RIDGE * torch.eye(edges * kinds, dtype=torch.float64)
    effect_EK = torch.linalg.solve(normal, flat.T @ (loss_N - loss_N.mean())).reshape(edges, kinds)
    means_E1 = (effect_EK * seen_EK).sum(-1, keepdim=True) / seen_EK.sum(-1, keepdim=True).clamp_min(1)
    return (means_E1 - effect_EK).masked_fill(~seen_EK, -torch.inf)


def perturbation_importance(supernet: SuperNet, mixture_EK: Tensor, images: Images) -> Tensor:
    """How much the held-out loss of the mixture rises when a primitive is taken out of an edge, (E, K) in nats.

    The edge's other shares are scaled to add up to 1; minus infinity where a primitive has no share.
    """
    worth_EK = torch.full_like(mixture_EK, -torch.inf, dtype=torch.float64)
    with batch_statistics(supernet):
        whole = held_out_loss(supernet, Sample(mixture_EK=mixture_EK), images)
        for row, column in (mixture_EK > 0).nonzero().tolist():
            without_EK = mixture_EK.clone()
            without_EK[row, column] = 0.0
            if float(without_EK[row].sum()) == 0.0:
                worth_EK[row, column] = torch.inf
                continue
            without_EK[row] /= without_EK[row].sum()
            worth_EK[row, column] = held_out_loss(supernet, Sample(mixture_EK=without_EK), images) - whole
    return worth_EK
