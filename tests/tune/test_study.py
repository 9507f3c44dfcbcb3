"""A study in its storage: reserved with its owner in one write, given back where the owner is dead, told once."""

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
    assert [attempt.root for attempt in later.ledger().due()] == [0]


def test_a_supervisor_on_another_machine_is_dead_when_its_beat_stops(place, study, monkeypatch):
    first = supervisor(place, study(), resume=False)
    first.ask()
    later = supervisor(place, study(), heartbeat=0.1, grace=5.0)
    monkeypatch.setattr(StorageAddress, "shared", property(lambda address: True))
    monkeypatch.setattr(type(place), "alone", lambda self: optuna_lock())
    monkeypatch.setattr("lab.tune.study.ProcessIdentity.alive", lambda identity: None)
    clock = iter([0.0, 4.0, 4.5, 9.0, 10.0] + [20.0] * 9)
    monkeypatch.setattr("lab.tune.study.time.monotonic", lambda: next(clock))
    assert later.reconcile() == []
    first.beat()
    assert later.reconcile() == []
    assert [row.number for row in later.reconcile()] == [0]


def optuna_lock():
    import contextlib

    return contextlib.nullcontext()


def test_a_study_of_another_program_is_refused(place, study):
    optuna.create_study(study_name="parabola", storage=place.storage)
    with pytest.raises(StudyError, match="a study of lab tune named parabola, got one of another program"):
        supervisor(place, study())
    with pytest.raises(StudyError, match="study other in .*got studies there: parabola"):
        supervisor(place, study(name="other"))
