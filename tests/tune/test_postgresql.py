"""Several supervisors on one PostgreSQL: a private cluster, made and ended by the tests."""

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
from sqlalchemy.pool import NullPool

from lab.base import StudyError

SUPERVISOR = """
    import json, sys
    from pathlib import Path
    from lab.tune import StudyConfig, WorkConfig, run_study
    study, work = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    report = run_study(StudyConfig.from_json(study), WorkConfig(**{**work, "outdir": Path(work["outdir"])}))
"""


def begin(config, toys, folder, url, *, resume):
    """A supervisor in a process of its own, as if on a machine of its own."""
    work = {"outdir": str(folder), "parallel": 2, "n_trials": 8, "storage": url, "resume": resume, "heartbeat": 0.2}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SUPERVISOR), json.dumps(config.to_json()), json.dumps(work)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(toys), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    )


def trials_of(url, name="parabola"):
    storage = optuna.storages.RDBStorage(url.replace(":", "+psycopg:", 1), engine_kwargs={"poolclass": NullPool})
    try:
        return optuna.load_study(study_name=name, storage=storage).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def owners(url):
    return {trial.user_attrs["owner"] for trial in trials_of(url)}


def test_of_two_supervisors_one_is_killed_and_the_other_finishes(postgresql, toys, tmp_path, study):
    # No trial ends before both supervisors have some.
    gate, log = tmp_path / "gate", tmp_path / "log"
    config = study(base={"gate": str(gate), "log": str(log)})
    with begin(config, toys, tmp_path / "one", postgresql, resume=False) as one:
        wait_until(log.exists)
        with begin(config, toys, tmp_path / "two", postgresql, resume=True) as two:
            wait_until(lambda: len(owners(postgresql)) == 2)
            one.send_signal(signal.SIGKILL)
            one.communicate(timeout=60)
            gate.touch()
            _, errors = two.communicate(timeout=300)
    assert two.returncode == 0, errors
    trials = trials_of(postgresql)
    roots = Counter(trial.user_attrs.get("root", trial.number) for trial in trials if trial.state.name == "COMPLETE")
    assert len(roots) == 8
    assert set(roots.values()) == {1}
    assert len({trial.user_attrs.get("root", trial.number) for trial in trials}) == 8
    params = {trial.number: trial.params for trial in trials}
    assert all(trial.params == params[trial.user_attrs.get("root", trial.number)] for trial in trials)
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert {trial.user_attrs["cause"] for trial in failed} <= {"supervisor died"}
    # Two supervisors with one seed draw different points.
    first = [trial.params["x"] for trial in trials if "root" not in trial.user_attrs]
    assert len(set(first)) == 8


def test_a_database_that_is_not_there_is_told_in_one_line(postgresql, run):
    with pytest.raises(StudyError, match='database "gone" does not exist'):
        run(work={"storage": postgresql.replace("/postgres", "/gone")})
