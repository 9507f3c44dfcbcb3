"""What becomes of a trial that did not end well: one visible table, a row for each cause.

Covers the rules alone; which trials of a study are due for another attempt is worked out by `ledger`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class RetryRule:
    """What becomes of a trial with one cause of failure."""

    retried: str
    """never; counted: as long as the chain has fewer counted failures than `retries` allows and one; always: the fault
    was not the trial's, and is not counted."""
    meaning: str
    """When a trial has this cause."""
    state: str = "FAIL"
    """State in Optuna's storage."""


POLICY: Mapping[str, RetryRule] = MappingProxyType(
    {
        "killed": RetryRule(
            retried="counted", meaning="the child was ended by a signal, as the kernel does for memory"
        ),
        "exited": RetryRule(retried="counted", meaning="the child ended without a result"),
        "out of memory": RetryRule(
            retried="counted", meaning="an allocator had no memory; the next child is a fresh one"
        ),
        "device fault": RetryRule(retried="counted", meaning="CUDA failed in the child; the next child is a fresh one"),
        "exception": RetryRule(retried="never", meaning="the evaluation raised; equal parameters would raise again"),
        "refused": RetryRule(retried="never", meaning="the run refused its settings, or could not go on with them"),
        "not finite": RetryRule(retried="never", meaning="an objective is NaN or infinite"),
        "time-out": RetryRule(retried="never", meaning="the trial took longer than --trial-timeout"),
        "interrupted": RetryRule(retried="always", meaning="Ctrl-C or a termination request; --resume gives it back"),
        "supervisor died": RetryRule(retried="always", meaning="the process that had asked for the trial is gone"),
    }
)
"""Cause of a failure -> what becomes of the trial. Every further attempt has the parameters of the first."""


def policy_rows() -> list[list[str]]:
    """The table as rows: cause, state, retried, meaning."""
    return [[cause, rule.state, rule.retried, rule.meaning] for cause, rule in POLICY.items()]
