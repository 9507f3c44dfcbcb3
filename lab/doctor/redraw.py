"""Random numbers that a part draws anew when backward runs it again: its gradient is then of another function.

Covered: draws from torch's stream on the CPU by calls of a line inside a checkpoint of torch. Not covered: generators
that somebody made, and streams of other devices.
"""

import sys
import zlib
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

import torch
import torch.utils.checkpoint
from torch.utils._python_dispatch import TorchDispatchMode

from lab.doctor.place import Site, call_site

_CHECKPOINT = torch.utils.checkpoint.__file__

DRAWS = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "feature_dropout",
        "dropout_",
        "rrelu",
        "gumbel_softmax",
        "bernoulli",
        "bernoulli_",
        "rand",
        "randn",
        "rand_like",
        "randn_like",
        "normal",
        "normal_",
        "uniform_",
        "scaled_dot_product_attention",
        "multi_head_attention_forward",
        "randperm",
        "randint",
        "multinomial",
    ]
)
"""Names of calls that may draw."""


def stream() -> int:
    """Where torch's random stream on the CPU stands."""
    return zlib.crc32(torch.get_rng_state().numpy().data)


class Redraws:
    """States of the stream at each line, in forward and when it is run again."""

    def __init__(self) -> None:
        self._first: dict[Site, set[int]] = {}
        self._again: dict[Site, set[int]] = {}
        self._names: dict[Site, str] = {}

    def drew(self, name: str, site: Site | None, state: int, frame: FrameType) -> None:
        """A call in forward drew from the stream at `state`."""
        here: FrameType | None = frame
        while here is not None and here.f_code.co_filename != _CHECKPOINT:
            here = here.f_back
        if here is not None and site is not None:
            self._first.setdefault(site, set()).add(state)
            self._names[site] = name

    def in_backward(self) -> AbstractContextManager[Any]:
        """Inside, draws are compared, if a checkpoint has drawn."""
        return _DrawsAgain(self._again) if self._first else nullcontext()

    @property
    def found(self) -> list[tuple[str, Site]]:
        """Calls that drew from other states when they were run again."""
        drawn = [(site, states, self._again[site]) for site, states in self._first.items() if site in self._again]
        return [(self._names[site], site) for site, states, again in drawn if not states & again]


class _DrawsAgain(TorchDispatchMode):
    """Notes the state before each operation that draws."""

    supports_higher_order_operators = True

    def __init__(self, again: dict[Site, set[int]]) -> None:
        super().__init__()
        self._states = again

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            before, site = stream(), call_site(sys._getframe(1))
            result = func(*args, **(kwargs or {}))
            if site is not None and before != stream():
                self._states.setdefault(site, set()).add(before)
            return result
        return func(*args, **(kwargs or {}))
