"""Which samples of the selection split a run shows: the same ones from its first step to its last.

A function of the labels alone, so that whoever asks about them (proofs, pictures, predictions) asks about the same.
N samples of the split, P of them shown.
"""

import torch
from torch import Tensor

SHOWN = 40
"""Samples whose pictures and predictions are told."""
PROVEN = 10
"""The first of them, of which every output is told."""
CANDIDATES = 4096
"""Samples at the beginning of the split among which they are chosen: so many outputs are held at a reading."""
FEW_CLASSES = 10
"""Classes up to which every one is told of the proven samples; of more, those that the samples are of."""


def fixed_positions(labels_N: Tensor, count: int = SHOWN) -> Tensor:
    """Positions (P,) of `count` samples, or all where there are fewer: one of each class, then a second of each.

    The first ten of forty are those of a call for ten.

    Args:
        labels_N: class of each sample (N,), integers, on any device.
        count: samples, >= 1.
    """
    labels = labels_N[:CANDIDATES].cpu()
    order = labels.argsort(stable=True)
    of_class = labels[order]
    # How many samples of the same class come before each.
    rank = torch.arange(len(order)) - torch.searchsorted(of_class, of_class)
    return order[rank.argsort(stable=True)][:count]


def is_classes(targets: object) -> bool:
    """Whether these are the classes (B,) of a batch."""
    return isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()


def told_classes(labels_P: Tensor, classes: int) -> list[int]:
    """Classes whose probability is told of the proven samples: all of a few, else those that the samples are of."""
    return list(range(classes)) if classes <= FEW_CLASSES else sorted(set(labels_P[:PROVEN].tolist()))
