"""A bench's study in a process of its own, as a person's is, and what Optuna's own reader finds of it."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.pool import NullPool

from lab.base import StudyError

NAME = "bench"
_STUDY = """
import json, sys, time
from pathlib import Path
from lab.tune import Dimension, StudyConfig, WorkConfig, run_study
from lab.tune import engine
# What matters is worked out once at the end, which is no part of what is measured; its imports take seconds.
engine.FEWEST = 10**9
given = json.loads(sys.argv[1])
study = StudyConfig.from_json(given["study"])
work = WorkConfig(**{**given["work"], "outdir": Path(given["work"]["outdir"])})
class Told:
    began = ended = 0.0
    def on_trials(self, ended, total, running, best):
        self.began = self.began or time.monotonic()
        self.ended = time.monotonic()
    def on_text(self, text):
        pass
told = Told()
report = run_study(study, work, told)
print(json.dumps({"seconds": told.ended - told.began, "counts": report.counts(), "trials": report.trials}))
"""


def settings(folder: Path, storage: str, trials: int, *, parallel: int = 4, **study: Any) -> dict[str, Any]:
    """A study of a parabola with `lab.bench.tune_trials`, as JSON data; `study` are fields of `StudyConfig`."""
    from lab.tune import Dimension, StudyConfig

    plain: dict[str, Any] = {
        "dimensions": tuple(Dimension(field=name, low=-5.0, high=5.0) for name in ("x", "y")),
        "objectives": ("score",),
        "directions": ("minimize",),
        "sampler": "random",
        "pruner": "none",
        "retries": 3,
        "target": "lab.bench.tune_trials:sleep",
    }
    work = {"outdir": str(folder), "storage": storage, "n_trials": trials, "parallel": parallel, "resume": False}
    return {"study": StudyConfig(**{"name": NAME, **plain, **study}).to_json(), "work": work}


@contextlib.contextmanager
def begun(given: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own; ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _STUDY, json.dumps(given)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment() -> dict[str, str]:
    """That of this process, with its path of modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a supervisor; seconds from its first trial to its last, counts and trials.

    Raises:
        StudyError: it failed.
    """
    output, errors = process.communicate(timeout=600)
    if process.returncode:
        words = errors.strip().splitlines() or [f"status {process.returncode}"]
        raise StudyError("a study that runs to its end", words[-1], "report it")
    found: dict[str, Any] = json.loads(output)
    return found


def evaluating(process: subprocess.Popen[str]) -> list[tuple[psutil.Process, str]]:
    """The children of a supervisor that evaluate a trial, each with the trial's name."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for server in psutil.Process(process.pid).children():
            for child in server.children():
                # A child that still waits for a trial writes nowhere; one that has just ended has no files.
                with contextlib.suppress(OSError):
                    log = Path(os.readlink(f"/proc/{child.pid}/fd/1"))
                    if log.suffix == ".log":
                        found.append((child, log.stem))
    return found


def trials_of(storage: str, folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The study's trials as Optuna reads them."""
    if not storage:
        opened: Any = optuna.storages.JournalStorage(JournalFileBackend(str(folder / NAME / "journal.log")))
        return optuna.load_study(study_name=NAME, storage=opened).get_trials()
    opened = optuna.storages.RDBStorage(sqlalchemy_url(storage), engine_kwargs={"poolclass": NullPool})
    try:
        return optuna.load_study(study_name=NAME, storage=opened).get_trials()
    finally:
        opened.remove_session()
        opened.engine.dispose()


def forget(storage: str, name: str = NAME) -> None:
    """Delete the study on a server, which outlives the folders of a bench."""
    if storage.startswith("postgresql:"):
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=sqlalchemy_url(storage))


def sqlalchemy_url(storage: str) -> str:
    """The address of a database in SQLAlchemy's spelling."""
    if storage.startswith("sqlite:"):
        return f"sqlite:///{storage.removeprefix('sqlite:')}"
    return storage.replace("postgresql:", "postgresql+psycopg:")


def count(trials: list[optuna.trial.FrozenTrial], wanted: int) -> dict[str, int]:
    """What is wrong with the trials of a study of `wanted` logical ones.

    `unequal` counts values that an earlier attempt of the chain has otherwise. `unbegun` are attempts whose supervisor
    died before it had written all of their parameters: none was evaluated, and a later attempt has the rest.
    """
    chains: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in trials:
        chains.setdefault(int(trial.user_attrs.get("root", trial.number)), []).append(trial)
    complete = [[trial for trial in chain if trial.state.name == "COMPLETE"] for chain in chains.values()]
    unequal = sum(
        later.params[name] != earlier.params[name]
        for chain in chains.values()
        for earlier, later in itertools.combinations(chain, 2)
        for name in earlier.params.keys() & later.params.keys()
    )
    return {
        "lost": abs(wanted - len(chains)) + sum(not found for found in complete),
        "twice": sum(len(found) > 1 for found in complete),
        "unequal": unequal,
        "unbegun": sum(len(each.params) < len(chain[-1].params) for chain in chains.values() for each in chain),
        "retries": len(trials) - len(chains),
    }
