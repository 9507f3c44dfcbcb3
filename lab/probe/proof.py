"""`ProofSamples`: what a network says of ten samples right before and right after a change of its structure.

B batch, C channels, H height, W width, P samples, K classes.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import TrainingError
from lab.probe.outputs import outputs, relative_difference
from lab.probe.samples import CANDIDATES, PROVEN, fixed_positions, is_classes, told_classes
from lab.state import preserved_rng
from lab.store import ProofEvent


class ProofSamples:
    """The samples, taken once; nothing that a training depends on is read or moved by asking about them."""

    def __init__(self) -> None:
        self.positions_P = torch.zeros(0, dtype=torch.long)
        self.labels_P = torch.zeros(0, dtype=torch.long)
        self._x_PCHW: Tensor | None = None

    def take(self, selection: Callable[[], Iterable[tuple[Any, Any]]]) -> None:
        """Choose the samples where that has not been done.

        Args:
            selection: gives the batches (x (B, C, H, W), class of each) of the selection split in fixed order.

        Raises:
            TrainingError: batches of another form.
        """
        if self._x_PCHW is not None:
            return
        inputs, labels, seen = [], [], 0
        # A loader of the user's own draws the seed of its workers from the global stream.
        with preserved_rng():
            for x_BCHW, y_B in selection():
                if not isinstance(x_BCHW, Tensor) or not is_classes(y_B):
                    raise TrainingError("batches of one tensor and its classes", type(y_B).__name__, "fix the loader")
                inputs.append(x_BCHW)
                labels.append(y_B)
                seen += len(y_B)
                if seen >= CANDIDATES:
                    break
        labels_N = torch.cat(labels).cpu()
        self.positions_P = fixed_positions(labels_N, PROVEN)
        self.labels_P = labels_N[self.positions_P]
        self._x_PCHW = _rows(inputs, self.positions_P)

    def ask(self, model: nn.Module) -> Tensor:
        """The outputs (P, K) of `model` in eval mode, on the CPU; modes, buffers and random streams stay.

        Raises:
            TrainingError: nothing has been taken.
        """
        if self._x_PCHW is None:
            raise TrainingError("samples to ask about", "none", "call take first")
        with preserved_rng():
            return outputs(model, self._x_PCHW).float().cpu()

    def event(
        self, before_PK: Tensor, after_PK: Tensor, *, what: str, number: int, title: str, exact: bool = True
    ) -> ProofEvent:
        """The proof of a change by what `ask` gave before and after it.

        Args:
            what: extraction, mutation, growth or action.
            number: of the change among those of its kind, from 1.
            title: what was changed.
            exact: whether the change is one that leaves the function as it is.
        """
        chances = before_PK.softmax(-1), after_PK.softmax(-1)
        columns = told_classes(self.labels_P, before_PK.shape[1])
        moved = float((chances[1] - chances[0]).abs().max())
        return ProofEvent(
            what=what,
            number=number,
            title=title,
            samples=self.positions_P.tolist(),
            labels=self.labels_P.tolist(),
            columns=columns,
            before=_numbers(chances[0][:, columns]),
            after=_numbers(chances[1][:, columns]),
            difference=relative_difference(after_PK, before_PK),
            moved=moved if math.isfinite(moved) else math.inf,
            same=int((before_PK == after_PK).sum()),
            outputs=before_PK.numel(),
            exact=exact,
        )


def _rows(inputs: list[Tensor], positions_P: Tensor) -> Tensor:
    """The samples at these positions of all batches together, which are not joined for it."""
    found: dict[int, Tensor] = {}
    begin = 0
    for x_BCHW in inputs:
        for place, position in enumerate(positions_P.tolist()):
            if begin <= position < begin + len(x_BCHW):
                found[place] = x_BCHW[position - begin]
        begin += len(x_BCHW)
    return torch.stack([found[place] for place in range(len(positions_P))])


def _numbers(values: Tensor) -> list[list[float]]:
    """float32 values as the shortest decimals that give the same bits back."""
    return [[float(f"{value:.9g}") for value in row] for row in values.tolist()]
