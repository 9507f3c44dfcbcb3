"""What a strategy can be asked to do between two steps: typed requests, and what came of them.

A strategy offers the kinds of request that it can serve; the loop turns the monitor's advice and people's commands into
requests, and asks for nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lab.base import TrainingError
from lab.monitor import Verdict
from lab.store import COMMANDS, Command

if TYPE_CHECKING:
    from lab.train.strategy import EpochData

ADVICE_FACTOR = 0.5
"""By what the monitor's advice multiplies a number."""
OWN_COMMANDS = ("pause", "resume", "stop", "checkpoint")
"""Commands that the loop serves itself, for every strategy."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Something that a strategy may be asked to do."""

    name: ClassVar[str]
    """What the store, the page and the command line call it."""


@dataclass(frozen=True, kw_only=True)
class ReduceLR(Request):
    """Multiply the learning rate of the weights."""

    name = "reduce_lr"
    factor: float
    """In (0, 1)."""


@dataclass(frozen=True, kw_only=True)
class ReduceMutationStrength(Request):
    """Multiply the share of edges that one mutation changes."""

    name = "reduce_mutation_strength"
    factor: float
    """In (0, 1)."""


@dataclass(frozen=True, kw_only=True)
class Rollback(Request):
    """Restore the last restore point, bit for bit; every strategy serves it."""

    name = "rollback"
    reason: str
    """One sentence."""


@dataclass(frozen=True, kw_only=True)
class Mutate(Request):
    """Change the structure of the live network now."""

    name = "mutate"


@dataclass(frozen=True, kw_only=True)
class SetTemperature(Request):
    """Hold the Gumbel temperature until it is released; the schedule goes on underneath."""

    name = "set_temperature"
    temperature: float
    """> 0."""


@dataclass(frozen=True, kw_only=True)
class ReleaseTemperature(Request):
    """Let the schedule set the Gumbel temperature again."""

    name = "release_temperature"


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """When a request is served."""

    epoch: int
    step: int
    """The optimizer step that comes next."""
    data: "EpochData"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a request."""

    text: str = ""
    """For a person; empty where there is nothing to add."""
    before: float | None = None
    """Of the number that was changed."""
    after: float | None = None


Handler = Callable[[Any, RequestContext], Outcome | None]
"""Serves a request of one kind; None where the number to change is at its limit, so that nothing happened."""
Offers = Mapping[type[Request], Handler]
"""The kinds of request that a strategy serves now, each with what serves it."""


def serve(offers: Offers, request: Request, moment: RequestContext) -> Outcome | None:
    """Let the strategy that made `offers` serve `request`.

    Raises:
        TrainingError: it does not offer this kind.
    """
    handler = offers.get(type(request))
    if handler is None:
        offered = ", ".join(sorted(kind.name for kind in offers))
        raise TrainingError(f"a request that this run offers now ({offered})", request.name, "choose one of these")
    return handler(request, moment)


def offered(offers: Offers) -> list[str]:
    """Commands that a person can send now, by the names of `lab.store`."""
    return [*OWN_COMMANDS, *sorted(kind.name for kind in offers if kind.name in COMMANDS)]


def advised(verdict: Verdict, offers: Offers) -> list[Request]:
    """What the monitor's advice comes to: requests that are offered, the first to be tried first.

    The next one is for where the number of the first is at its limit.
    """
    if verdict.advice == "none":
        return []
    if verdict.advice == Rollback.name:
        return [Rollback(reason="; ".join(verdict.reasons) or verdict.state)]
    calming: list[Request] = [ReduceLR(factor=ADVICE_FACTOR)]
    if verdict.advice == ReduceMutationStrength.name:
        calming.insert(0, ReduceMutationStrength(factor=ADVICE_FACTOR))
    return [request for request in calming if type(request) in offers]


def requested(command: Command) -> Request | None:
    """What a person's command asks of the strategy; None for one of another kind."""
    if command.name == Mutate.name:
        return Mutate()
    if command.name == SetTemperature.name:
        return SetTemperature(temperature=float(command.arguments["temperature"]))
    if command.name == ReleaseTemperature.name:
        return ReleaseTemperature()
    return None
