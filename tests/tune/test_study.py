"""A study in its storage: reserved with its owner in one write, given back where the owner is dead, told once."""

import contextlib
import time

import optuna
import pytest

from lab.base import StudyError
from lab.tune import WorkConfig
from lab.tune.storage import StorageAddress, open_storage
from lab.tune.study import StoredStudy


@pytest.fixture
def place(tmp_path):
    with open_storage(StorageAddress.parse("", tmp_path / "journal.log")) as found:
        yield found


def supervisor(place, config, n_trials=3, resume=True, **fields):
    return StoredStudy(place, config, WorkConfig(n_trials=n_trials, resume=resume, **fields))


def test_asking_stops_at_the_number_of_trials(place, study):
    stored = supervisor(place, study(), n_trials=2, resume=False)
    asked = [stored.ask() for _ in range(3)]
    assert [each and each.number for each in asked] == [0, 1, None]
    assert [(row.state, row.owner, row.attrs["attempt"]) for row in stored.rows()] == [("RUNNING", 0, 0)] * 2


def test_trials_of_a_dead_supervisor_are_given_back_and_its_late_result_is_refused(place, study):
    dead = supervisor(place, study(), n_trials=2, resume=False)
    asked = dead.ask()
    later = supervisor(place, study(), n_trials=2)
    assert later.ordinal == 1
    assert [row.number for row in later.reconcile()] == [asked.number]
    assert dead.tell(asked, "COMPLETE", (1.0,)) is False
    assert dead.fail(asked, "killed", "late") is False
    assert dead.report(asked, 0, 1.0) is False
    (row,) = dead.rows()
    assert (row.state, row.attrs["cause"]) == ("FAIL", "supervisor died")
    again = later.ask()
    assert (again.root, again.attempt, again.params) == (0, 1, asked.params)
    assert later.tell(again, "COMPLETE", (1.0,)) is True
    assert later.reconcile() == []
    assert later.ask().root == 2
    assert later.ask() is None


def test_a_crash_between_the_two_writes_of_a_failure_loses_no_retry(place, study):
    stored = supervisor(place, study(), n_trials=1, resume=False)
    asked = stored.ask()
    asked.trial.set_user_attr("cause", "killed")
    later = supervisor(place, study(), n_trials=1)
    later.reconcile()
    assert [attempt.root for attempt in later.ledger.due()] == [0]


def test_a_supervisor_on_another_machine_is_dead_when_its_beat_stops(place, study, monkeypatch):
    first = supervisor(place, study(), resume=False)
    first.ask()
    later = supervisor(place, study(), heartbeat=0.1, grace=0.3)
    monkeypatch.setattr(StorageAddress, "shared", property(lambda address: True))
    monkeypatch.setattr(type(place), "alone", lambda self: contextlib.nullcontext())
    monkeypatch.setattr("lab.tune.study.ProcessIdentity.alive", lambda identity: None)
    assert later.reconcile() == []
    time.sleep(0.4)
    first.beat()
    # However long ago the last look was: what counts is a beat that does not go on.
    assert later.reconcile() == []
    time.sleep(0.4)
    assert [row.number for row in later.reconcile()] == [0]


def test_a_bad_trial_is_to_be_pruned_once_good_ones_are_known(place, study):
    config = study(pruner="hyperband", epochs=9, sampler="random")
    stored = supervisor(place, config, n_trials=12, resume=False)
    answers = []
    for value in (0.0, *range(1, 12)):
        asked = stored.ask()
        stopped = any(stored.report(asked, step, float(value)) for step in range(9))
        answers.append(stopped)
        assert stored.tell(asked, "PRUNED" if stopped else "COMPLETE", () if stopped else (float(value),))
    assert answers[0] is False
    assert any(answers[1:])
    assert {row.state for row in stored.rows()} == {"COMPLETE", "PRUNED"}


def test_a_study_of_another_program_is_refused(place, study):
    optuna.create_study(study_name="parabola", storage=place.storage)
    with pytest.raises(StudyError, match="a study of lab tune named parabola, got one of another program"):
        supervisor(place, study())
    with pytest.raises(StudyError, match="study other in .*got studies there: parabola"):
        supervisor(place, study(name="other"))
