"""What a case is: a program, the instrument that is asked, and what it must say."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

FAMILIES = (
    "device",
    "meta",
    "in-place",
    "second backward",
    "no gradient",
    "NaN",
    "dtype",
    "optimizer",
    "ties",
    "leak",
)
HEALTHY = "healthy"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as a user has it: what of it there is depends on the instrument."""

    model: nn.Module | None = None
    step: Callable[[], Any] | None = None
    """One training step. For `explain_training` it gives the loss; otherwise it calls backward itself."""
    loop: Callable[[], Any] | None = None
    """Of a healthy program: some steps of its own training loop; default: two steps of `step` and `optimizer`."""
    optimizer: Optimizer | Sequence[Optimizer] | None = None
    batch: Any = None
    """Input of forward: a tensor, a tuple of arguments or a dict of keywords."""
    source: nn.Module | None = None
    """A model whose values are copied into `model`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the instrument."""
    clean_up: Callable[[], Any] | None = None
    """Puts back what the program changed for the whole process."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program and what the instrument must say of it."""

    name: str
    family: str
    report: str
    """`owner/repository#number` of the public report; empty for a case of our own."""
    seen: str
    """What the reporter saw; for a case of our own, what a user sees."""
    instrument: str
    kind: str
    """Category, cause, kind or verdict that the instrument must give; empty for a healthy program."""
    marker: str
    """Comment on the line that must be named; empty where the instrument names tensors, not lines."""
    tensor: str
    """Name that the finding must contain; empty where the line says it all."""
    build: Callable[[], Program]

    @property
    def lines(self) -> frozenset[tuple[str, int]]:
        """File and number of each line that carries the marker."""
        source, first = inspect.getsourcelines(self.build)
        path = inspect.getsourcefile(self.build) or ""
        # The decorator's own lines say which comment it is.
        start = next(number for number, line in enumerate(source) if line.startswith("def "))
        marked = [first + start + number for number, line in enumerate(source[start:]) if self.marker in line]
        return frozenset((path, number) for number in marked if self.marker)


def case(
    *,
    family: str,
    instrument: str,
    kind: str,
    report: str = "",
    seen: str,
    marker: str = "# fault",
    tensor: str = "",
) -> Callable[[Callable[[], Program]], Case]:
    """A decorator that makes a case of a function which builds the program; the function's name is the case's."""

    def of(build: Callable[[], Program]) -> Case:
        return Case(
            name=build.__name__,
            family=family,
            report=report,
            seen=seen,
            instrument=instrument,
            kind=kind,
            marker=marker,
            tensor=tensor,
            build=build,
        )

    return of


def healthy(seen: str, instrument: str = "all") -> Callable[[Callable[[], Program]], Case]:
    """A decorator that makes a case in which nothing may be found; `seen` says what looks suspicious."""
    return case(family=HEALTHY, instrument=instrument, kind="", seen=seen, marker="")
