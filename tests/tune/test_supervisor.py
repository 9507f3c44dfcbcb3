"""Studies end to end with trials that need no torch: counts, retries, deaths, interruption, resume."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter

import optuna
import pytest

from lab.base import ConfigError, StudyError
from lab.store import RunReader, list_runs
from lab.tune import Dimension, StudyReport, children, run_study
from lab.tune.journal import ENDED
from lab.tune.storage import StorageAddress, open_storage


def folder_of(tmp_path):
    return tmp_path / "studies" / "parabola"


def trials_in(tmp_path):
    """Every trial as Optuna itself reads it."""
    with open_storage(StorageAddress.parse("", folder_of(tmp_path) / "journal.log")) as place:
        return optuna.load_study(study_name="parabola", storage=place.storage).get_trials()


def evaluations(log):
    return [(int(number), float(x)) for number, x in map(str.split, log.read_text().splitlines())]


def test_a_study_has_exactly_its_trials_and_finds_the_best(run, tmp_path):
    report = run(n_trials=8, sampler="tpe")
    assert report.counts() == {"complete": 8, "pruned": 0, "failed": 0, "running": 0, "logical": 8, "attempts": 8}
    trials = trials_in(tmp_path)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    (best,) = report.best()
    assert best["values"]["score"] == min(trial.value for trial in trials)
    scalars = RunReader(folder_of(tmp_path)).scalars(names=("best/score",))
    assert scalars.value[-1] == best["values"]["score"]
    assert list_runs(tmp_path / "studies")[0].state == "finished"


def test_twenty_trials_in_four_workers_lose_none(run, tmp_path):
    log = tmp_path / "log"
    report = run(n_trials=20, base={"log": str(log), "faults": {"3": "kill", "11": "kill"}}, work={"parallel": 4})
    assert report.counts() == {
        **{"complete": 20, "pruned": 0, "failed": 0, "running": 0},
        **{"logical": 20, "attempts": 22},
    }
    assert sorted(number for number, _ in evaluations(log)) == list(range(22))


def test_what_becomes_of_each_fault(run, tmp_path):
    log = tmp_path / "log"
    # With one child a retry comes at once: attempts 1, 3 and 6 are those of 0, 2 and 5.
    faults = {"0": "kill", "2": "exit", "4": "raise", "5": "memory", "7": "nan", "8": "inf"}
    report = run(n_trials=7, base={"faults": faults, "log": str(log)}, work={"parallel": 1})
    causes = Counter(trial["cause"] for trial in report.trials if trial["cause"])
    assert causes == {"killed": 1, "exited": 1, "exception": 1, "out of memory": 1, "not finite": 2}
    retried = {trial["cause"] for trial in report.trials if trial["retried"]}
    assert retried == {"killed", "exited", "out of memory"}
    reasons = {trial["cause"]: trial["reason"] for trial in report.trials if trial["cause"]}
    assert reasons["killed"] == "the child was ended by signal SIGKILL"
    assert reasons["exited"] == "the child ended without a result, with status 7"
    assert reasons["exception"].startswith("ZeroDivisionError: no such number at toys.py:")
    assert report.counts()["logical"] == 7
    assert "Traceback" in (folder_of(tmp_path) / "logs" / f"trial-{number_of(report, 'exception'):04d}.log").read_text()
    params = {trial["number"]: trial["params"] for trial in report.trials}
    retries = [trial for trial in report.trials if trial["attempt"] > 0]
    assert len(retries) == 3
    assert all(trial["params"] == params[trial["root"]] for trial in retries)
    assert all(dict(evaluations(log))[trial["number"]] == params[trial["root"]]["x"] for trial in retries)


def number_of(report, cause):
    return next(trial["number"] for trial in report.trials if trial["cause"] == cause)


def test_a_trial_that_is_always_killed_is_given_up_after_its_retries(run):
    report = run(n_trials=2, base={"always": "kill"}, retries=2)
    assert report.counts() == {"complete": 0, "pruned": 0, "failed": 2, "running": 0, "logical": 2, "attempts": 6}
    assert [trial["retried"] for trial in report.trials].count(False) == 2


def test_a_trial_that_takes_too_long_is_ended(run, monkeypatch):
    monkeypatch.setattr("lab.tune.supervisor.STOP_SECONDS", 0.1)
    report = run(n_trials=1, base={"always": "sleep"}, work={"trial_timeout": 0.3})
    assert [(trial["cause"], trial["retried"]) for trial in report.trials] == [("time-out", False)]


def test_a_trial_that_should_be_pruned_ends_at_its_next_report(run, monkeypatch):
    # Those above 0 would report for ever.
    monkeypatch.setattr("lab.tune.study.StoredStudy.report", lambda self, asked, step, value: asked.params["x"] > 0)
    report = run(n_trials=8, base={"endless": True})
    states = {trial["number"]: trial["state"] for trial in report.trials}
    assert states == {t["number"]: "pruned" if t["params"]["x"] > 0 else "complete" for t in report.trials}
    assert set(states.values()) == {"pruned", "complete"}


def test_several_objectives_give_the_trials_that_none_beats(run):
    two = {"objectives": ("score", "cost"), "directions": ("minimize", "maximize")}
    report = run(n_trials=6, sampler="nsga2", **two)
    best = report.best()
    # Both are the parabola: less of one is less of the other, so that none beats another.
    assert len(best) == 6
    assert "trials that none beats (6)" in str(report)


def test_a_grid_is_gone_through_once(run):
    report = run(n_trials=5, sampler="grid", grid_points=5)
    assert sorted(trial["params"]["x"] for trial in report.trials) == [-5.0, -2.5, 0.0, 2.5, 5.0]
    with pytest.raises(ConfigError, match="at most 5 trials"):
        run(n_trials=6, sampler="grid", grid_points=5, name="larger")


def test_a_finished_study_is_extended_and_no_trial_runs_again(run, tmp_path):
    log = tmp_path / "log"
    run(n_trials=3, base={"log": str(log)})
    with pytest.raises(StudyError, match="no study parabola yet in .*Give --resume to go on"):
        run(n_trials=3, base={"log": str(log)})
    report = run(n_trials=5, base={"log": str(log)}, work={"resume": True})
    assert report.counts()["logical"] == 5
    assert sorted(number for number, _ in evaluations(log)) == [0, 1, 2, 3, 4]
    assert len({x for _, x in evaluations(log)}) == 5


def test_a_study_of_another_kind_is_refused_before_the_first_ask(run, tmp_path):
    run(n_trials=2)
    before = (folder_of(tmp_path) / "journal.log").read_bytes()
    with pytest.raises(StudyError, match="study parabola with sampler: random.*got sampler: tpe"):
        run(n_trials=4, sampler="tpe", work={"resume": True})
    wider = (Dimension(field="x", low=-5.0, high=9.0),)
    with pytest.raises(StudyError, match=r"study parabola with space: x=-5\.0:5\.0, got space: x=-5\.0:9\.0"):
        run(n_trials=4, dimensions=wider, work={"resume": True})
    assert (folder_of(tmp_path) / "journal.log").read_bytes() == before


def test_an_evaluation_that_cannot_be_loaded_leaves_nothing(run, tmp_path):
    with pytest.raises(StudyError, match=r"a target MODULE:FUNCTION.*toys:gone"):
        run(target="toys:gone")
    with pytest.raises(StudyError, match=r"a storage of Optuna at postgresql"):
        run(work={"storage": "postgresql://me@127.0.0.1:1/db"})
    assert not (tmp_path / "studies").exists()


SUPERVISOR = """
    import json, sys
    from pathlib import Path
    from lab.tune import StudyConfig, WorkConfig, run_study
    study, work = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    report = run_study(StudyConfig.from_json(study), WorkConfig(**{**work, "outdir": Path(work["outdir"])}))
    print(json.dumps(report.counts()))
"""


def begin(config, toys, tmp_path, **work):
    """A supervisor in a process of its own."""
    settings = json.dumps({"outdir": str(tmp_path / "studies"), "parallel": 2, **work})
    paths = os.pathsep.join([str(toys), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SUPERVISOR), json.dumps(config.to_json()), settings],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(log, count):
    """Until so many evaluations have begun."""
    deadline = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_waits_for_the_next_trial_and_its_death_costs_none(run, tmp_path, monkeypatch):
    taken, waiting = [], []

    class Watched(children.ForkServer):
        def begin(self, task):
            waiting.append(len(self.waiting))
            if len(waiting) == 3:
                # Killed while it waits: a child that has had no trial.
                (killed,) = self.waiting
                while killed.pid is None:
                    self.hear()
                os.kill(killed.pid, signal.SIGKILL)
                # Until that is known: a task that a dead child was given is an attempt.
                while killed.status is None:
                    self.hear()
                taken.append(killed.number)
            child = super().begin(task)
            taken.append(child.number)
            return child

    monkeypatch.setattr("lab.tune.supervisor.ForkServer", Watched)
    report = run(n_trials=5, work={"parallel": 1}, base={"reports": 1})
    # The first trial has nothing to wait for; behind the last one nobody waits.
    assert waiting == [0, 1, 1, 1, 1]
    assert (report.counts()["complete"], report.counts()["attempts"]) == (5, 5)
    assert len(set(taken)) == 6


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_supervisor_that_ends_loses_no_trial(number, toys, tmp_path, study):
    log = tmp_path / "log"
    config = study(base={"log": str(log), "reports": 3, "pause": 0.1}, sampler="tpe")
    with begin(config, toys, tmp_path, n_trials=8) as process:
        wait_for(log, 4)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number if number == signal.SIGKILL else "KeyboardInterrupt" in errors
    before = trials_in(tmp_path)
    finished = {trial.number for trial in before if trial.state.is_finished() and trial.state.name != "FAIL"}
    report = run_study(config, work_of(tmp_path, n_trials=8))
    counts = report.counts()
    assert (counts["complete"], counts["logical"], counts["running"]) == (8, 8, 0)
    again = Counter(number for number, _ in evaluations(log))
    assert all(again[number] == 1 for number in finished)
    after = trials_in(tmp_path)
    # What the storage knew and the dead supervisor had not told any more, the next one tells.
    assert {trial["number"]: trial["state"] for trial in report.trials} == {
        trial.number: ENDED[trial.state.name] for trial in after
    }
    causes = {trial.user_attrs.get("cause") for trial in after if trial.state.name == "FAIL"}
    assert causes <= {"supervisor died" if number == signal.SIGKILL else "interrupted"}
    roots = {trial.number: trial.params for trial in after}
    assert all(trial.params == roots[trial.user_attrs.get("root", trial.number)] for trial in after)


def work_of(tmp_path, **fields):
    from lab.tune import WorkConfig

    return WorkConfig(outdir=tmp_path / "studies", parallel=2, resume=True, **fields)


def test_children_end_with_a_killed_supervisor(toys, tmp_path, study):
    log = tmp_path / "log"
    config = study(base={"log": str(log), "always": "sleep"})
    with begin(config, toys, tmp_path, n_trials=2) as process:
        wait_for(log, 2)
        children = descendants(process.pid)
        assert len(children) == 3
        process.kill()
        process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(pid):
    import psutil

    return psutil.Process(pid).children(recursive=True)


def test_a_fork_server_that_is_killed_is_replaced(toys, tmp_path, study):
    log = tmp_path / "log"
    config = study(base={"log": str(log), "reports": 2, "pause": 0.1})
    with begin(config, toys, tmp_path, n_trials=6) as process:
        wait_for(log, 2)
        server = next(child for child in descendants(process.pid) if "lab.tune.server" in child.cmdline())
        server.kill()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(output)["logical"] == 6
    report = StudyReport.read(folder_of(tmp_path))
    assert any(text.startswith("Fork server") for text in report.alerts)
    assert report.counts()["complete"] == 6
