"""Which trials a study has, which are due for another attempt, and how many are left to reserve.

A *logical trial* is a chain: its first attempt, the root, and every further one. `--n-trials` counts chains. All of it
follows from the trials in the storage alone, so that it holds after any process has died at any moment: no list of
open retries is kept anywhere, which a crash could lose.

What the lab keeps with a trial (user attributes): `root`, number of the first attempt, absent in that one; `attempt`,
counted from 0; `owner`, ordinal of the supervisor that asked; `cause` and `reason` of a failure.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.tune.retry import POLICY

FIXED_PARAMS = "fixed_params"
"""System attribute under which Optuna keeps parameters that a trial must have."""
ENDED = ("COMPLETE", "PRUNED")


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One attempt, as the storage holds it."""

    number: int
    state: str
    """WAITING, RUNNING, COMPLETE, PRUNED or FAIL."""
    params: Mapping[str, Any] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """User attributes."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that it was given, not sampled."""
    values: tuple[float, ...] = ()
    """Objectives, where it is complete."""

    @property
    def root(self) -> int:
        """Number of the first attempt of its chain."""
        return int(self.attrs.get("root", self.number))

    @property
    def owner(self) -> int | None:
        """Ordinal of the supervisor that asked; None for a trial of another program."""
        return self.attrs.get("owner")


@dataclass(frozen=True, kw_only=True)
class NextAttempt:
    """An attempt that is to be made: the first of a chain, or one more."""

    root: int | None
    """None for a new chain."""
    number: int
    """Of the attempt within its chain, counted from 0."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that it must have; empty for those that the sampler gives."""


class Ledger:
    """The chains of a study, kept up to date row by row: no question to it reads the whole study.

    Args:
        n_trials: logical trials that the study is to have.
        retries: further attempts after failures with a counted cause.
    """

    def __init__(self, n_trials: int, retries: int) -> None:
        self.n_trials = n_trials
        self.retries = retries
        self.chains: dict[int, list[TrialRow]] = {}
        """Number of the root -> attempts in order."""
        self._running: dict[int, TrialRow] = {}
        self._due: set[int] = set()
        self._given_up: set[int] = set()
        self._ended: set[int] = set()

    @classmethod
    def of(cls, rows: Iterable[TrialRow], n_trials: int, retries: int) -> "Ledger":
        """The chains among `rows`, which are every trial of the study."""
        ledger = cls(n_trials, retries)
        for row in sorted(rows, key=_number):
            ledger.put(row)
        return ledger

    def put(self, row: TrialRow) -> None:
        """Take in an attempt as it is now; those of other programs are left out of all counts."""
        if row.owner is None:
            return
        root, chain = row.root, self.chains.setdefault(row.root, [])
        place = bisect_left(chain, row.number, key=_number)
        if place < len(chain) and chain[place].number == row.number:
            chain[place] = row
        else:
            chain.insert(place, row)
        self._running.pop(row.number, None)
        if row.state == "RUNNING":
            self._running[row.number] = row
        for group in (self._due, self._given_up, self._ended):
            group.discard(root)
        if self.is_due(root):
            self._due.add(root)
        elif chain[-1].state == "FAIL":
            self._given_up.add(root)
        elif chain[-1].state in ENDED:
            self._ended.add(root)

    @property
    def unreserved(self) -> int:
        """Logical trials that nobody has asked for yet."""
        return max(0, self.n_trials - len(self.chains))

    @property
    def decided(self) -> int:
        """Logical trials that ended well or failed for good."""
        return len(self._ended) + len(self._given_up)

    def due(self) -> tuple[NextAttempt, ...]:
        """The further attempts that the policy wants, the oldest chain first."""
        chains = ((root, self.chains[root]) for root in sorted(self._due))
        return tuple(NextAttempt(root=root, number=len(chain), params=_parameters(chain)) for root, chain in chains)

    def given_up(self) -> tuple[int, ...]:
        """Roots of the chains that failed for good."""
        return tuple(sorted(self._given_up))

    def running(self) -> tuple[TrialRow, ...]:
        """Attempts that some supervisor has under way."""
        return tuple(self._running.values())

    def ended(self) -> tuple[TrialRow, ...]:
        """The last attempt of every chain that ended well."""
        return tuple(self.chains[root][-1] for root in sorted(self._ended))

    @property
    def complete(self) -> bool:
        """Whether every logical trial has been asked for and decided."""
        return not (self.unreserved or self._running or self._due)

    def is_due(self, root: int) -> bool:
        """Whether the policy wants another attempt of the chain."""
        chain = self.chains[root]
        last = chain[-1]
        if last.state != "FAIL":
            return False
        rule = POLICY.get(str(last.attrs.get("cause")))
        if rule is None or rule.retried == "never":
            return False
        counted = [row for row in chain if row.state == "FAIL" and _is_counted(row)]
        return rule.retried == "always" or len(counted) <= self.retries


def _number(row: TrialRow) -> int:
    return row.number


def _parameters(chain: Sequence[TrialRow]) -> dict[str, Any]:
    """Of each field the first value that the chain has: a root can die before it is given all of its own."""
    found: dict[str, Any] = {}
    for row in chain:
        found = {**row.fixed, **row.params, **found}
    return found


def _is_counted(row: TrialRow) -> bool:
    rule = POLICY.get(str(row.attrs.get("cause")))
    return rule is None or rule.retried != "always"
