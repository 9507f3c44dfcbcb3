"""Studies under SIGKILL: of their children, and of the supervisor itself; what is left is counted by Optuna."""

import contextlib
import random
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from lab.base import StudyError
from lab.bench.settings import TuneBench
from lab.bench.tune_study import begun, count, evaluating, finish, forget, settings, trials_of
from lab.store import RunReader


def kill_children(config: TuneBench, storage: str) -> dict[str, Any]:
    """`config.seeds` studies on one kind of storage, in each of which children are killed.

    Raises:
        StudyError: no child was killed while it evaluated a trial.
    """
    found = []
    for seed in range(config.seeds):
        with tempfile.TemporaryDirectory() as name:
            found.append(_killed(config, storage, Path(name), seed))
    total = {key: sum(each[key] for each in found) for key in ("kills", "lost", "twice", "unequal", "retries")}
    noticed = [second for each in found for second in each["noticed"]]
    if not noticed:
        got = f"{total['kills']} kills, none of them during a trial"
        raise StudyError("a child that is killed while it evaluates a trial", got, "give --trials or --seconds more")
    return {**total, "seeds": config.seeds, "noticed": max(noticed), "noticed_median": median(noticed)}


def _killed(config: TuneBench, storage: str, folder: Path, seed: int) -> dict[str, Any]:
    """One study whose children are killed `config.kills` times."""
    rng, storage = random.Random(seed), storage.format(folder=folder)
    forget(storage)
    moments: list[tuple[str, float]] = []
    base = {"seconds": config.seconds, "reports": 0}
    # A trial may be the one that is killed each time: given up by the policy, it would count as lost here.
    study = settings(folder, storage, config.trials, seed=seed, base=base, retries=config.kills)
    with begun(study) as process:
        while process.poll() is None and len(moments) < config.kills:
            _wait_for_trial(process)
            time.sleep(rng.uniform(0.0, config.seconds))
            children = evaluating(process)
            if children:
                child, trial = rng.choice(children)
                # Between the look and the kill it may have ended by itself.
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    moments.append((trial, time.time()))
        finish(process)
    told = RunReader(folder / "bench").events(kinds=("trial",), limit=100_000).events
    deaths = {Path(row.payload["run"]).name: row.time for row in told if row.payload["cause"] == "killed"}
    # One that was killed between its result and its end has no failure.
    noticed = [deaths[name] - moment for name, moment in moments if name in deaths]
    return {**count(trials_of(storage, folder), config.trials), "kills": len(moments), "noticed": noticed}


def kill_supervisors(config: TuneBench) -> dict[str, Any]:
    """One study on a journal whose supervisor is killed at random moments and resumed, until it is complete.

    Each life is cut at a moment from its start on, or from its first trial on; a trial takes twice `config.seconds`, so
    that few of them end in one life.
    """
    rng, kills, early = random.Random(0), 0, 0
    done: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = settings(folder, "", config.trials, base={"seconds": 2 * config.seconds, "reports": 0})
        for life in range(config.supervisor_kills):
            with begun(given) as process:
                # Every third is killed while it opens the study; the first one must make it.
                opening = life % 3 == 1
                if not opening:
                    _wait_for_trial(process)
                time.sleep(rng.uniform(0.0, 3 * config.seconds))
                early += opening and not evaluating(process)
                kills += process.poll() is None
                process.kill()
                process.wait()
            given["work"]["resume"] = True
            complete = {t.number: t.datetime_complete for t in trials_of("", folder) if t.state.name == "COMPLETE"}
            done = {**complete, **done}
        with begun(given) as process:
            finish(process)
        trials = trials_of("", folder)
    ended = {trial.number: trial.datetime_complete for trial in trials}
    chained = {int(trial.user_attrs["root"]) for trial in trials if "root" in trial.user_attrs}
    again = sum(ended[number] != moment or number in chained for number, moment in done.items())
    return {**count(trials, config.trials), "kills": kills, "before_a_trial": early, "again": again}


def _wait_for_trial(process: subprocess.Popen[str]) -> None:
    """Until the supervisor has begun a trial."""
    while process.poll() is None and not evaluating(process):
        time.sleep(0.02)
