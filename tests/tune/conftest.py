"""Studies whose trials need no torch: a module of small evaluations that the fork server imports."""

from importlib.util import find_spec

import pytest

from lab.bench.postgresql import private_server, server_programs
from lab.tune import Dimension, StudyConfig, WorkConfig, run_study

# Every test of this folder needs the extra `tune`; pytest names the folder as empty where it is not installed.
collect_ignore_glob = [] if find_spec("optuna") and find_spec("psycopg") else ["test_*.py"]

TOYS = '''
import math, os, signal, time
from pathlib import Path

def quad(task, link):
    """A parabola; `base` says what goes wrong with which attempt."""
    x, base = task.params["x"], task.base
    value = (x - 2.0) ** 2
    log = Path(base["log"]) if "log" in base else None
    if log:
        with log.open("a") as handle:
            handle.write(f"{task.number} {x!r}\\n")
    for step in range(base.get("reports", 0)):
        time.sleep(base.get("pause", 0.0))
        link.report(step, value)
    while "gate" in base and not Path(base["gate"]).exists():
        time.sleep(0.02)
    while base.get("endless") and x > 0:
        link.report(0, value)
        time.sleep(0.01)
    fault = base.get("faults", {}).get(str(task.number), base.get("always", ""))
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exit":
        os._exit(7)
    if fault == "raise":
        raise ZeroDivisionError("no such number")
    if fault == "memory":
        raise MemoryError("none left")
    if fault == "sleep":
        time.sleep(60)
    if fault in ("nan", "inf"):
        value = float(fault)
    return {name: value for name in task.objectives}
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The folder of the module `toys`, on the path of this process and of every fork server."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "toys.py").write_text(TOYS)
    monkeypatch.syspath_prepend(folder)
    return folder


def make_study(**fields):
    """A parabola in x."""
    settings = {
        "name": "parabola",
        "dimensions": (Dimension(field="x", low=-5.0, high=5.0),),
        "objectives": ("score",),
        "directions": ("minimize",),
        "sampler": "random",
        "pruner": "none",
        "target": "toys:quad",
    }
    return StudyConfig(**(settings | fields))


@pytest.fixture
def study():
    return make_study


@pytest.fixture
def run(toys, tmp_path):
    """Runs a study of the parabola in `tmp_path`."""

    def run_one(n_trials=6, work=None, observer=None, **fields):
        settings = {"outdir": tmp_path / "studies", "n_trials": n_trials, "parallel": 3}
        return run_study(make_study(**fields), WorkConfig(**(settings | (work or {}))), observer)

    return run_one


@pytest.fixture(scope="session")
def postgresql():
    """URL of a private server in a temporary folder; it ends with the tests."""
    if server_programs() is None:
        pytest.skip("no PostgreSQL server is installed: no initdb on PATH")
    with private_server() as url:
        yield url
