"""What a study costs beside its trials: over a bare loop of Optuna, over the ideal, at opening, at a trial's start."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count as numbers
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from lab.bench.encoders import write_encoders
from lab.bench.settings import TuneBench
from lab.bench.tune_study import begun, environment, finish, forget, settings, sqlalchemy_url
from lab.bench.tune_trials import sleep_to_the_end
from lab.tune import EvaluationTask
from lab.tune.children import ForkServer
from lab.tune.storage import OpenStorage, StorageAddress, open_storage

REPORTS = 10
BARE = "bare"
STARTS = 5
"""Forks that are timed; processes that are spawned are three."""


class BareLink:
    """What a trial of the bare loop reports to: Optuna's own trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def tell(self, step: int, value: float) -> None:
        """Keep the value and ask the pruner, whose verdict ends nothing here."""
        self.trial.report(value, step)
        self.trial.should_prune()


def overhead(config: TuneBench, storage: str) -> dict[str, Any]:
    """Seconds a trial costs beside its evaluation: by a supervisor, and by a loop of Optuna in one process.

    Both run one trial after another, each of `config.length` seconds with ten reports, and write the same: a trial, two
    parameters, ten values of which each is shown to Hyperband, one result; the supervisor its owner and attempt too.
    Both open the storage by `open_storage`; `optuna` is the same loop on the storage as Optuna opens it by itself.
    Rounds take turns; what was slept is taken off as it was measured. `empty` is without any sleep, on four children.
    """
    rounds: dict[str, list[float]] = {"lab": [], "bare": [], "optuna": [], "empty": [], "empty_bare": []}
    for _ in range(config.rounds):
        rounds["lab"].append(_supervised(config, storage, config.length, parallel=1))
        rounds["bare"].append(_bare(config, storage, config.length, plain=False))
        rounds["optuna"].append(_bare(config, storage, config.length, plain=True))
        rounds["empty"].append(_supervised(config, storage, 0.0, parallel=4))
        rounds["empty_bare"].append(_bare(config, storage, 0.0, plain=False))
    found: dict[str, Any] = {name: median(seconds) for name, seconds in rounds.items()}
    return {
        **found,
        "ratio": _ratio(rounds["lab"], rounds["bare"]),
        "ratio_optuna": _ratio(rounds["lab"], rounds["optuna"]),
        "ratio_empty": _ratio(rounds["empty"], rounds["empty_bare"]),
        "rounds": rounds,
    }


def _ratio(one: list[float], two: list[float]) -> float:
    """The median of the ratios of each round: a machine that slows down slows both."""
    return median(a / b for a, b in zip(one, two, strict=True))


def _base(folder: Path, seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "reports": REPORTS, "slept": str(folder / "slept")}


def _supervised(config: TuneBench, storage: str, seconds: float, parallel: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storage = storage.format(folder=folder)
        forget(storage)
        study = {"pruner": "hyperband", "epochs": REPORTS, "target": "lab.bench.tune_trials:sleep_to_the_end"}
        given = settings(folder, storage, config.trials, parallel=parallel, base=_base(folder, seconds), **study)
        with begun(given) as process:
            found = finish(process)["seconds"]
        return float(found - _slept(folder)) / config.trials


def _bare(config: TuneBench, storage: str, seconds: float, *, plain: bool) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storage = storage.format(folder=folder)
        forget(storage, BARE)
        with _opened(storage, folder, plain=plain) as opened:
            study = optuna.create_study(
                study_name=BARE,
                storage=opened,
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=REPORTS),
            )
            found = _loop(study, config.trials, _base(folder, seconds))
        return (found - _slept(folder)) / config.trials


@contextmanager
def _opened(storage: str, folder: Path, *, plain: bool) -> Iterator[Any]:
    """The storage of a bare loop, as `lab tune` opens it or as Optuna does."""
    if not plain:
        with open_storage(StorageAddress.parse(storage, folder / "bare.log")) as place:
            yield _storage(place)
    elif storage:
        opened = optuna.storages.RDBStorage(sqlalchemy_url(storage))
        yield opened
        opened.remove_session()
        opened.engine.dispose()
    else:
        yield optuna.storages.JournalStorage(JournalFileBackend(str(folder / "bare.log")))


def _storage(place: OpenStorage) -> optuna.storages.BaseStorage:
    return place.storage


def _loop(study: optuna.Study, trials: int, base: Mapping[str, Any]) -> float:
    """Seconds of a study in a loop; as in a supervisor, from the moment when the first trial has its parameters."""
    began = 0.0
    for number in range(trials):
        trial = study.ask()
        params = {name: trial.suggest_float(name, -5, 5) for name in ("x", "y")}
        began = began or time.monotonic()
        task = EvaluationTask(
            number=number, name="", folder="", target="", base=base, params=params, objectives=("score",)
        )
        study.tell(trial, sleep_to_the_end(task, BareLink(trial))["score"])
    return time.monotonic() - began


def _slept(folder: Path) -> float:
    return sum(map(float, (folder / "slept").read_text().split()))


def parallel(config: TuneBench) -> dict[str, float]:
    """24 trials of one second with ten reports each on four children."""
    with tempfile.TemporaryDirectory() as name:
        given = settings(Path(name), "", 24, base={"seconds": 1.0, "reports": REPORTS})
        with begun(given) as process:
            seconds = finish(process)["seconds"]
    return {"seconds": seconds, "ideal": 6.0, "ratio": seconds / 6.0}


def opening() -> dict[str, float]:
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
            study_name="a", storage=optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        )
        for _ in range(100):
            study.tell(study.ask(), 1.0)
        with path.open("ab") as handle:
            handle.write(b'{"op_code": 4, "wor')
        Path(f"{path}.lock").symlink_to(path)
        command = [sys.executable, "-c", script, str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return {"seconds": float(run.stdout), "records": 201}


# A process that would be spawned for a trial: what it imports and loads before its first step.
_SPAWN = """
import json, sys
from lab.tune.evaluate import prepare
prepare(json.loads(sys.argv[1]))
"""


def start(config: TuneBench) -> dict[str, Any]:
    """From a trial's parameters to a composed run of a text model, ready for its first step: by spawn and by fork.

    The encoder is a RoBERTa in a folder, whose load is proven each time. Both ways do the same in the end; the process
    that is spawned must import everything for it, the fork's parent has done so, and made one load.
    """
    from lab.runs import RunConfig
    from lab.text import TextConfig

    with tempfile.TemporaryDirectory() as name:
        encoder = write_encoders(Path(name))["roberta"]
        text = TextConfig(encoder=str(encoder), max_length=38)
        run = RunConfig.from_fields(recipe="text", name="sentences", text=text, weight_lr=5e-4)
        base = run.to_json()
        command = [sys.executable, "-c", _SPAWN, json.dumps(base)]
        spawned = []
        for _ in range(3):
            began = time.monotonic()
            subprocess.run(command, check=True, env=environment())
            spawned.append(time.monotonic() - began)
        forked = _fork_starts(base, Path(name))
    return {
        "spawn": median(spawned),
        "fork": median(forked),
        "ratio": median(spawned) / median(forked),
        "spawns": spawned,
        "forks": forked,
    }


def _fork_starts(base: dict[str, Any], folder: Path) -> list[float]:
    """Seconds from handing a trial to a waiting child until it has composed the run."""
    target = "lab.bench.tune_loads:compose"
    server = ForkServer(target, base, numbers(1))
    seconds = []
    try:
        for number in range(STARTS):
            server.keep_ready(1)
            # The fork goes on beside the trials before; here there are none.
            while not any(child.pid for child in server.waiting):
                time.sleep(0.01)
                server.hear()
            task = EvaluationTask(
                number=number,
                name="start",
                folder=str(folder),
                target=target,
                base=base,
                params={},
                objectives=("score",),
            )
            began = time.monotonic()
            child = server.begin(task)
            message = json.loads(child.pipe.recv_bytes())
            seconds.append(time.monotonic() - began)
            assert message["kind"] == "done", message
            child.close()
    finally:
        server.close()
    return seconds
