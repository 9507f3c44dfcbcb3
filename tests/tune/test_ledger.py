"""Logical trials follow from the storage's rows alone, and the policy says which are tried again."""

import pytest

from lab.tune.ledger import Ledger, NextAttempt, TrialRow
from lab.tune.retry import POLICY, policy_rows


def row(number, state, root=None, cause="", **fields):
    attrs = (
        {"owner": 0, "attempt": 0} | ({"root": root} if root is not None else {}) | ({"cause": cause} if cause else {})
    )
    return TrialRow(number=number, state=state, attrs=attrs, **({"params": {"x": float(number)}} | fields))


def test_a_chain_of_retries_is_one_logical_trial():
    rows = [row(0, "FAIL", cause="killed"), row(1, "COMPLETE"), row(2, "COMPLETE", root=0), row(3, "RUNNING")]
    ledger = Ledger.of(rows, n_trials=5, retries=1)
    assert {root: [each.number for each in chain] for root, chain in ledger.chains.items()} == {
        0: [0, 2],
        1: [1],
        3: [3],
    }
    assert ledger.unreserved == 2
    assert [each.number for each in ledger.ended()] == [2, 1]
    assert [each.number for each in ledger.running()] == [3]
    assert not ledger.complete


def test_a_retry_has_the_parameters_of_its_root_even_where_another_attempt_differs():
    rows = [
        row(0, "FAIL", cause="killed", params={"x": 1.5}, fixed={"y": 2}),
        row(1, "FAIL", root=0, cause="killed", params={"x": 9.0}),
    ]
    assert Ledger.of(rows, 1, retries=2).due() == (NextAttempt(root=0, number=2, params={"x": 1.5, "y": 2}),)


def test_a_root_that_died_without_parameters_takes_those_of_its_first_retry():
    rows = [
        row(0, "FAIL", cause="supervisor died", params={}),
        row(1, "FAIL", root=0, cause="killed", params={"x": 2.5}),
    ]
    assert Ledger.of(rows, 1, retries=2).due() == (NextAttempt(root=0, number=2, params={"x": 2.5}),)


@pytest.mark.parametrize("cause", POLICY)
def test_each_cause_is_retried_as_the_table_says(cause):
    once, twice = [row(0, "FAIL", cause=cause)], [row(0, "FAIL", cause=cause), row(1, "FAIL", root=0, cause=cause)]
    expected = {"never": (0, 0), "counted": (1, 0), "always": (1, 1)}[POLICY[cause].retried]
    assert (len(Ledger.of(once, 1, 1).due()), len(Ledger.of(twice, 1, 1).due())) == expected
    assert len(Ledger.of(twice, 1, 1).given_up()) == 1 - expected[1]
    assert Ledger.of(twice, 1, 1).complete == (expected[1] == 0)


def test_faults_that_were_not_the_trials_leave_its_retries_alone():
    rows = [
        row(0, "FAIL", cause="interrupted"),
        row(1, "FAIL", root=0, cause="supervisor died"),
        row(2, "FAIL", root=0, cause="killed"),
    ]
    assert len(Ledger.of(rows, 1, retries=1).due()) == 1
    assert Ledger.of(rows, 1, retries=0).due() == ()


def test_trials_of_other_programs_are_no_part_of_the_count():
    foreign = TrialRow(number=0, state="COMPLETE", params={"x": 1.0})
    ledger = Ledger.of([foreign, row(1, "COMPLETE")], n_trials=2, retries=1)
    assert list(ledger.chains) == [1]
    assert ledger.unreserved == 1


def test_the_table_has_a_row_for_each_cause():
    rows = policy_rows()
    assert [each[0] for each in rows] == list(POLICY)
    assert {each[2] for each in rows} == {"never", "counted", "always"}
