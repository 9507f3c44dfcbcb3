"""What a reading of the selection split says of the fixed samples, and which classes it confuses.

Taken from the outputs that the reading computes anyway: no forward more. B batch, N samples, P shown ones, K classes.
"""

from typing import Any

import torch
from torch import Tensor

from lab.probe.samples import CANDIDATES, PROVEN, SHOWN, fixed_positions, is_classes, told_classes
from lab.store import PredictionsEvent

MOST_CONFUSED = 20
"""Rows of a confusion matrix; of more classes those that are confused most, and the rest together."""
REST = -1


class PredictionReader:
    """Collects batches of outputs and targets, in the order of the split."""

    def __init__(self) -> None:
        self._outputs: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._held = 0
        self._readable = True

    def add(self, outputs: Any, targets: Any) -> None:
        """Take one batch; of outputs that are no logits (B, K) of classes only the hits are told in the end."""
        self._readable = self._readable and is_classes(targets)
        self._readable = self._readable and isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1
        if not self._readable:
            return
        if self._held < CANDIDATES:
            self._outputs.append(outputs)
            self._held += len(outputs)
        self._predicted.append(outputs.argmax(-1))
        self._labels.append(targets)

    @torch.no_grad()
    def event(self, hits_N: Tensor) -> PredictionsEvent:
        """What was collected, for the store.

        Args:
            hits_N: whether each sample was classified correctly (N,), on the CPU.
        """
        if not self._readable or not self._labels:
            shown = hits_N[:SHOWN].bool()
            return PredictionsEvent(samples=list(range(len(shown))), right=shown.tolist())
        labels_N, predicted_N = torch.cat(self._labels).cpu(), torch.cat(self._predicted).cpu()
        rows_P = fixed_positions(labels_N)
        logits = torch.cat(self._outputs)
        chances_PK = logits.index_select(0, rows_P.to(logits.device)).float().softmax(-1).cpu()
        classes = chances_PK.shape[1]
        columns = told_classes(labels_N[rows_P], classes)
        confused, confusion = confusion_of(labels_N, predicted_N, classes)
        return PredictionsEvent(
            samples=rows_P.tolist(),
            right=(predicted_N[rows_P] == labels_N[rows_P]).tolist(),
            predicted=predicted_N[rows_P].tolist(),
            confidence=_rounded(chances_PK.gather(1, predicted_N[rows_P, None])[:, 0]),
            columns=columns,
            outputs=[_rounded(row) for row in chances_PK[:PROVEN, columns]],
            confused=confused,
            confusion=confusion,
        )


def _rounded(values: Tensor) -> list[float]:
    """Probabilities to six decimals: what a bar can show, in few bytes."""
    return [round(value, 6) for value in values.tolist()]


def confusion_of(labels_N: Tensor, predicted_N: Tensor, classes: int) -> tuple[list[int], list[list[int]]]:
    """Classes of the rows and columns, and how many samples of a class (row) were taken for a class (column).

    Of more than `MOST_CONFUSED` classes the last row and column are all others together, under `REST`.
    """
    # A loss may pass over labels outside the classes.
    known_N = (labels_N >= 0) & (labels_N < classes)
    places_N = labels_N[known_N].long() * classes + predicted_N[known_N].long()
    pairs = torch.bincount(places_N, minlength=classes * classes)
    counts_KK = pairs.reshape(classes, classes)
    if classes <= MOST_CONFUSED:
        return list(range(classes)), counts_KK.tolist()
    wrong_KK = counts_KK - torch.diag(counts_KK.diag())
    wrong_K = wrong_KK.sum(0) + wrong_KK.sum(1)
    # Sorted descending and stable: of classes confused alike the first ones.
    kept = wrong_K.argsort(descending=True, stable=True)[: MOST_CONFUSED - 1].sort().values
    group_K = torch.full((classes,), MOST_CONFUSED - 1)
    group_K[kept] = torch.arange(MOST_CONFUSED - 1)
    merged = torch.zeros(MOST_CONFUSED, MOST_CONFUSED, dtype=counts_KK.dtype)
    merged.index_put_((group_K[:, None].expand_as(counts_KK), group_K.expand_as(counts_KK)), counts_KK, accumulate=True)
    return [*kept.tolist(), REST], merged.tolist()
