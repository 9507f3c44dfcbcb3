"""Studies under SIGKILL, and what their supervisor costs: seen from outside, by processes and by Optuna's own reader.

Each study runs in a process of its own. Children, and in a second round supervisors, are killed at moments that follow
from the seed. What is left is counted by Optuna, not by the lab.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import psutil
from optuna.storages.journal import JournalFileBackend

from lab.base import ReportTable, StudyError
from lab.bench.settings import TUNE_PARTS, TuneBench
from lab.results import machine
from lab.store import RunReader

_STUDY = """
import json, sys, time
from pathlib import Path
from lab.tune import Dimension, StudyConfig, WorkConfig, run_study
from lab.tune import engine
# What matters is worked out once at the end, which is no part of what is measured; its imports take seconds.
engine.FEWEST = 10**9
given = json.loads(sys.argv[1])
space = tuple(Dimension(field=name, low=-5.0, high=5.0) for name in ("x", "y"))
study = StudyConfig(name="bench", dimensions=space, objectives=("score",), directions=("minimize",), sampler="random",
    target="lab.bench.tune_trials:sleep", **given["study"])
work = WorkConfig(**{**given["work"], "outdir": Path(given["work"]["outdir"])})
class Told:
    began = ended = 0.0
    def on_trials(self, ended, total, running, best):
        self.began = self.began or time.monotonic()
        self.ended = time.monotonic()
    def on_text(self, text):
        pass
told = Told()
run_study(study, work, told)
print(json.dumps({"seconds": told.ended - told.began}))
"""
# A process that would be spawned for a trial: what it imports and loads before its first step.
_SPAWN = """
import json, sys
from lab.tune.evaluate import prepare
prepare(json.loads(sys.argv[1]))
"""
_FORK = """
import json, os, sys, time
from lab.tune.evaluate import prepare
base = json.loads(sys.argv[1])
prepare(base)
seconds = []
for _ in range(5):
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        prepare(base)
        os._exit(0)
    os.waitpid(pid, 0)
    seconds.append(time.monotonic() - began)
print(json.dumps(seconds))
"""


def run(config: TuneBench) -> dict[str, Any]:
    """Measure what `config.parts` name; storages are journal, sqlite, and postgresql where a URL is given."""
    parts: dict[str, Any] = {}
    places = ["journal", "sqlite", *(["postgresql"] if config.postgresql else [])]
    if "kills" in config.parts:
        parts["kills"] = {place: _kills(config, place) for place in places}
    if "supervisors" in config.parts:
        parts["supervisors"] = _supervisors(config)
    if "overhead" in config.parts:
        parts["overhead"] = {place: _overhead(config, place) for place in places}
    if "parallel" in config.parts:
        parts["parallel"] = _parallel(config)
    if "opening" in config.parts:
        parts["opening"] = _opening()
    if "start" in config.parts:
        parts["start"] = _start()
    return {"bench": "tune", **machine(), "optuna": optuna.__version__, **parts}


def result_name(config: TuneBench) -> str:
    """Name of the result's file: that of the whole measurement, or of the parts that were measured."""
    return "tune" if config.parts == TUNE_PARTS else f"tune-{'-'.join(config.parts)}"


def summary(result: dict[str, Any]) -> ReportTable:
    """The result as one table."""
    rows: list[tuple[str, str]] = []
    for place, each in result.get("kills", {}).items():
        text = f"{each['lost']} lost, {each['twice']} counted twice, {each['unequal']} retries with other parameters"
        rows.append(
            (f"{each['kills']} killed children, {place}", f"{text}; noticed after {each['noticed']:.3f} s at most")
        )
    if each := result.get("supervisors"):
        text = f"{each['lost']} trials lost, {each['again']} finished ones run again"
        rows.append((f"{each['kills']} killed supervisors", text))
    for place, each in result.get("overhead", {}).items():
        rows.append((f"a trial over bare Optuna, {place}", f"{each['ratio']:.2f} times ({each['lab'] * 1e3:.1f} ms)"))
    if each := result.get("parallel"):
        rows.append(("24 trials of 1 s on 4 children", f"{each['ratio']:.2f} times the ideal of {each['ideal']:.0f} s"))
    if each := result.get("opening"):
        rows.append(("opening with a torn tail and a dead lock", f"{each['seconds']:.2f} s"))
    if each := result.get("start"):
        rows.append(
            ("start of a trial by spawn over fork", f"{each['ratio']:.1f} times ({each['fork']:.2f} s by fork)")
        )
    return ReportTable(title="studies", columns=("what", "measured"), rows=tuple(rows))


def _storage(config: TuneBench, place: str, folder: Path) -> str:
    return {"journal": "", "sqlite": f"sqlite:{folder / 'study.db'}", "postgresql": config.postgresql}[place]


def _settings(folder: Path, storage: str, seed: int, trials: int, **study: Any) -> dict[str, Any]:
    base = {"seconds": study.pop("seconds"), "reports": study.pop("reports", 0)}
    work = {"outdir": str(folder), "storage": storage, "n_trials": trials, "parallel": study.pop("parallel", 4)}
    work["resume"] = study.pop("resume", False)
    return {"study": {"seed": seed, "base": base, "pruner": "none", "retries": 3, **study}, "work": work}


@contextlib.contextmanager
def _begun(settings: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own; ended with the block."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", _STUDY, json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=600)
    if process.returncode:
        raise StudyError("a study that runs to its end", errors.strip().splitlines()[-1], "report it")
    found: dict[str, Any] = json.loads(output)
    return found


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that evaluate trials: the forks of the fork server."""
    with contextlib.suppress(psutil.NoSuchProcess):
        servers = psutil.Process(process.pid).children()
        return [child for server in servers for child in server.children()]
    return []


def _trials(storage: str, folder: Path) -> list[optuna.trial.FrozenTrial]:
    journal = folder / "bench" / "journal.log"
    if not storage:
        opened: Any = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    elif storage.startswith("sqlite:"):
        opened = f"sqlite:///{storage.removeprefix('sqlite:')}"
    else:
        opened = storage.replace("postgresql:", "postgresql+psycopg:")
    return optuna.load_study(study_name="bench", storage=opened).get_trials()


def _count(trials: list[optuna.trial.FrozenTrial], wanted: int) -> dict[str, int]:
    """What is wrong with the trials of a study of `wanted` logical ones."""
    chains: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in trials:
        chains.setdefault(int(trial.user_attrs.get("root", trial.number)), []).append(trial)
    complete = [[trial for trial in chain if trial.state.name == "COMPLETE"] for chain in chains.values()]
    first = {trial.number: trial.params for trial in trials}
    unequal = [t for t in trials if t.params != first[int(t.user_attrs.get("root", t.number))]]
    return {
        "lost": abs(wanted - len(chains)) + sum(not found for found in complete),
        "twice": sum(len(found) > 1 for found in complete),
        "unequal": len(unequal),
        "retries": len(trials) - len(chains),
    }


def _kills(config: TuneBench, place: str) -> dict[str, Any]:
    found = []
    for seed in range(config.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found.append(_killed(config, place, folder, seed))
    total = {key: sum(each[key] for each in found) for key in ("kills", "lost", "twice", "unequal", "retries")}
    noticed = [second for each in found for second in each["noticed"]]
    return {**total, "seeds": config.seeds, "noticed": max(noticed), "noticed_median": median(noticed)}


def _killed(config: TuneBench, place: str, folder: Path, seed: int) -> dict[str, Any]:
    """One study of 40 trials whose children are killed eight times."""
    rng, storage = random.Random(seed), _storage(config, place, folder)
    if place == "postgresql":
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name="bench", storage=storage.replace("postgresql:", "postgresql+psycopg:"))
    moments: list[tuple[str, float]] = []
    with _begun(_settings(folder, storage, seed, config.trials, seconds=config.seconds)) as process:
        while process.poll() is None and len(moments) < config.kills:
            time.sleep(rng.uniform(0.1, 2 * config.seconds))
            children = _children(process)
            if children:
                # Between the look and the kill it may have ended by itself.
                with contextlib.suppress(psutil.NoSuchProcess, OSError):
                    child = rng.choice(children)
                    log = os.readlink(f"/proc/{child.pid}/fd/1")
                    child.kill()
                    moments.append((Path(log).stem, time.time()))
        _finish(process)
    told = RunReader(folder / "bench").events(kinds=("trial",), limit=100_000).events
    deaths = {Path(row.payload["run"]).name: row.time for row in told if row.payload["cause"] == "killed"}
    # One that was killed between its result and its end has no failure.
    noticed = [deaths[name] - moment for name, moment in moments if name in deaths]
    return {**_count(_trials(storage, folder), config.trials), "kills": len(moments), "noticed": noticed}


def _supervisors(config: TuneBench) -> dict[str, Any]:
    """One study whose supervisor is killed at random moments and resumed, until it is complete."""
    rng, kills = random.Random(0), 0
    done: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _settings(folder, "", 0, config.trials, seconds=config.seconds)
        for _ in range(config.supervisor_kills):
            with _begun(settings) as process:
                _wait_for_trial(process)
                time.sleep(rng.uniform(0.0, 3 * config.seconds))
                kills += process.poll() is None
                process.kill()
                process.wait()
            settings["work"]["resume"] = True
            complete = {t.number: t.datetime_complete for t in _trials("", folder) if t.state.name == "COMPLETE"}
            done = {**complete, **done}
        with _begun(settings) as process:
            _finish(process)
        trials = _trials("", folder)
        ended = {trial.number: trial.datetime_complete for trial in trials}
        chained = {int(trial.user_attrs["root"]) for trial in trials if "root" in trial.user_attrs}
        again = sum(ended[number] != moment or number in chained for number, moment in done.items())
        return {**_count(trials, config.trials), "kills": kills, "again": again}


def _wait_for_trial(process: subprocess.Popen[str]) -> None:
    """Until the supervisor has begun a trial."""
    while process.poll() is None and not _children(process):
        time.sleep(0.02)


def _overhead(config: TuneBench, place: str) -> dict[str, Any]:
    """Seconds of a trial that does nothing, four children, against ask, suggest, report and tell in a bare loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storage = _storage(config, place, folder)
        if place == "postgresql":
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name="bench", storage=storage.replace("postgresql:", "postgresql+psycopg:"))
        settings = _settings(folder, storage, 0, config.trials, seconds=0.0, reports=10)
        settings["study"] |= {"pruner": "hyperband", "epochs": 10}
        with _begun(settings) as process:
            own = _finish(process)["seconds"] / config.trials
        bare = _bare(place, folder, storage, config.trials)
    return {"lab": own, "bare": bare, "ratio": own / bare}


def _bare(place: str, folder: Path, storage: str, trials: int) -> float:
    opened: Any
    if place == "journal":
        opened = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "bare.log")))
    else:
        opened = (
            f"sqlite:///{folder / 'bare.db'}"
            if place == "sqlite"
            else storage.replace("postgresql:", "postgresql+psycopg:")
        )
    study = optuna.create_study(
        storage=opened,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=10),
    )
    began = time.monotonic()
    for _ in range(trials):
        trial = study.ask()
        value = (trial.suggest_float("x", -5, 5) - 1.0) ** 2 + (trial.suggest_float("y", -5, 5) + 2.0) ** 2
        pruned = False
        for step in range(10):
            trial.report(value, step)
            if trial.should_prune():
                pruned = True
                break
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if pruned else value, state=state)
    return (time.monotonic() - began) / trials


def _parallel(config: TuneBench) -> dict[str, float]:
    """24 trials of one second with ten reports each on four children."""
    with tempfile.TemporaryDirectory() as name:
        settings = _settings(Path(name), "", 0, 24, seconds=1.0, reports=10)
        with _begun(settings) as process:
            seconds = _finish(process)["seconds"]
    return {"seconds": seconds, "ideal": 6.0, "ratio": seconds / 6.0}


def _opening() -> dict[str, float]:
    """Opening a journal that a killed supervisor left with half a line and its lock."""
    script = (
        "import sys, time; from pathlib import Path; from lab.tune.storage import StorageAddress, open_storage\n"
        "began = time.monotonic()\n"
        "with open_storage(StorageAddress.parse('', Path(sys.argv[1]))) as place: print(time.monotonic() - began)\n"
        "assert len(place.repairs) == 2\n"
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.log"
        study = optuna.create_study(
            study_name="a",
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(path))),
        )
        for _ in range(100):
            study.tell(study.ask(), 1.0)
        with path.open("ab") as handle:
            handle.write(b'{"op_code": 4, "wor')
        Path(f"{path}.lock").symlink_to(path)
        command = [sys.executable, "-c", script, str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"seconds": float(run.stdout), "records": 201}


def _start() -> dict[str, float]:
    """The first load of a run by a process of its own, and by forks of one that has made it."""
    from lab.runs import RunConfig

    base = json.dumps(RunConfig(recipe="fixed", init_channels=4, epochs=1).to_json())
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", _SPAWN, base], check=True)
    spawn = time.monotonic() - began
    forks = subprocess.run([sys.executable, "-c", _FORK, base], check=True, capture_output=True, text=True)
    fork = median(json.loads(forks.stdout))
    return {"spawn": spawn, "fork": fork, "ratio": spawn / fork}
