"""What a round of the agent's actions stands on beside the network: training batches of trials, proofs of changes.

P samples, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lab.probe import ProofSamples
from lab.store import ProofEvent
from lab.train import EpochData, Split

PROBE_OFFSET = 2_000_000
"""Epoch number, above any real one, from which trials take the order of their training batches."""


class ProbeLoader:
    """The training batches of one round's trials: a function of the seed and of the round."""

    def __init__(self) -> None:
        self.data: EpochData | None = None
        self.round = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.data is None:
            return iter(())
        return self.data.batches(Split.TRAIN, PROBE_OFFSET + self.round)


class ActionProof:
    """Asks the network that an action changes about the proof's samples, before and after its surgery."""

    def __init__(self) -> None:
        self.samples = ProofSamples()
        self._asked: tuple[Tensor, ...] = ()

    @contextmanager
    def around(self, model: nn.Module) -> Iterator[None]:
        """Ask `model` before and after the block; one that raises proves nothing."""
        self._asked = ()
        before_PK = self.samples.ask(model)
        yield
        self._asked = before_PK, self.samples.ask(model)

    def events(self, info: dict[str, Any], number: int) -> list[ProofEvent]:
        """The proof of the last action; none where it changed nothing.

        Args:
            info: what `DynamicArchitecture.apply_tentative` tells of it.
            number: of the action in its run, refused ones included, from 1.
        """
        asked, self._asked = self._asked, ()
        if not info["applied"] or not asked:
            return []
        title = f"{info['action']}: {', '.join(info['changes'])}"
        return [self.samples.event(*asked, what="action", number=number, title=title, exact=info["exact"])]
