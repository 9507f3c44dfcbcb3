"""Which trials a study has, which are due for another attempt, and how many are left to reserve.

A *logical trial* is a chain: its first attempt, the root, and every further one. `--n-trials` counts chains. All of it
follows from the trials in the storage alone, so that it holds after any process has died at any moment: no list of
open retries is kept anywhere, which a crash could lose.

What the lab keeps with a trial (user attributes): `root`, number of the first attempt, absent in that one; `attempt`,
counted from 0; `owner`, ordinal of the supervisor that asked; `cause` and `reason` of a failure.
"""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The chains of a study.

    Args of `of`:
        rows: every trial of the study; those of other programs are left out of all counts.
        n_trials: logical trials that the study is to have.
        retries: further attempts after failures with a counted cause.
    """

    chains: Mapping[int, tuple[TrialRow, ...]]
    """Number of the root -> attempts in order."""
    n_trials: int
    retries: int

    @classmethod
    def of(cls, rows: Sequence[TrialRow], n_trials: int, retries: int) -> "Ledger":
        """The chains among `rows`."""
        found: dict[int, list[TrialRow]] = {}
        for row in sorted(rows, key=lambda each: each.number):
            if row.owner is not None:
                found.setdefault(row.root, []).append(row)
        return cls(chains={key: tuple(chain) for key, chain in found.items()}, n_trials=n_trials, retries=retries)

    @property
    def unreserved(self) -> int:
        """Logical trials that nobody has asked for yet."""
        return max(0, self.n_trials - len(self.chains))

    def due(self) -> tuple[NextAttempt, ...]:
        """The further attempts that the policy wants, the oldest chain first."""
        return tuple(
            NextAttempt(root=root, number=len(chain), params=_parameters(chain))
            for root, chain in self.chains.items()
            if self._is_due(chain)
        )

    def given_up(self) -> tuple[int, ...]:
        """Roots of the chains that failed for good."""
        return tuple(r for r, chain in self.chains.items() if chain[-1].state == "FAIL" and not self._is_due(chain))

    def running(self) -> tuple[TrialRow, ...]:
        """Attempts that some supervisor has under way."""
        return tuple(row for chain in self.chains.values() for row in chain if row.state == "RUNNING")

    def ended(self) -> tuple[TrialRow, ...]:
        """The last attempt of every chain that ended well."""
        return tuple(chain[-1] for chain in self.chains.values() if chain[-1].state in ENDED)

    @property
    def complete(self) -> bool:
        """Whether every logical trial has been asked for and decided."""
        return not (self.unreserved or self.running() or self.due())

    def _is_due(self, chain: tuple[TrialRow, ...]) -> bool:
        last = chain[-1]
        if last.state != "FAIL":
            return False
        rule = POLICY.get(str(last.attrs.get("cause")))
        if rule is None or rule.retried == "never":
            return False
        counted = [row for row in chain if row.state == "FAIL" and _is_counted(row)]
        return rule.retried == "always" or len(counted) <= self.retries


def _parameters(chain: tuple[TrialRow, ...]) -> dict[str, Any]:
    """Of each field the first value that the chain has: a root can die before it is given all of its own."""
    found: dict[str, Any] = {}
    for row in chain:
        found = {**row.fixed, **row.params, **found}
    return found


def _is_counted(row: TrialRow) -> bool:
    rule = POLICY.get(str(row.attrs.get("cause")))
    return rule is None or rule.retried != "always"
