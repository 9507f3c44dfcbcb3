"""Studies under SIGKILL, and what their supervisor costs: seen from outside, by processes and by Optuna's own reader.

Each study runs in a process of its own. Children, and in a second round supervisors, are killed at moments that follow
from the seed. What is left is counted by Optuna, not by the lab.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import optuna

from lab.base import ReportTable
from lab.bench import tune_kills, tune_speed
from lab.bench.postgresql import private_server, server_programs
from lab.bench.settings import TUNE_PARTS, TuneBench
from lab.results import machine

_EACH_STORAGE = ("kills", "overhead")


def run(config: TuneBench) -> dict[str, Any]:
    """Measure what `config.parts` name.

    Kills and overhead are measured on a journal, on SQLite and on PostgreSQL: the database that is given, or a server
    of the bench's own where its programs are installed.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parts: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        # {folder} is that of one study.
        storages = {"journal": "", "sqlite": "sqlite:{folder}/study.db"}
        if set(config.parts) & set(_EACH_STORAGE):
            url = stack.enter_context(_postgresql(config))
            storages |= {"postgresql": url} if url else {}
        if "kills" in config.parts:
            parts["kills"] = {place: tune_kills.kill_children(config, url) for place, url in storages.items()}
        if "supervisors" in config.parts:
            parts["supervisors"] = tune_kills.kill_supervisors(config)
        if "overhead" in config.parts:
            parts["overhead"] = {place: tune_speed.overhead(config, url) for place, url in storages.items()}
        if "parallel" in config.parts:
            parts["parallel"] = tune_speed.parallel(config)
        if "opening" in config.parts:
            parts["opening"] = tune_speed.opening()
        if "start" in config.parts:
            parts["start"] = tune_speed.start(config)
        if "loads" in config.parts:
            # Only here: it needs the extra text.
            from lab.bench import tune_loads

            parts["loads"] = tune_loads.loads(config)
    return {"bench": "tune", **machine(), "optuna": optuna.__version__, **parts}


@contextlib.contextmanager
def _postgresql(config: TuneBench) -> Iterator[str]:
    """The URL of a database, empty where there is no server."""
    if config.postgresql or server_programs() is None:
        yield config.postgresql
        return
    with private_server() as url:
        yield url


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
        text = f"{each['ratio']:.2f} times ({each['lab'] * 1e3:.1f} and {each['bare'] * 1e3:.1f} ms)"
        empty = f"{each['ratio_empty']:.2f} times ({each['empty'] * 1e3:.1f} and {each['empty_bare'] * 1e3:.1f} ms)"
        rows += [
            (f"a trial beside its evaluation, over bare Optuna, {place}", text),
            (f"empty trials on 4 children, over bare Optuna, {place}", empty),
        ]
    if each := result.get("parallel"):
        rows.append(("24 trials of 1 s on 4 children", f"{each['ratio']:.2f} times the ideal of {each['ideal']:.0f} s"))
    if each := result.get("opening"):
        rows.append(("opening with a torn tail and a dead lock", f"{each['seconds']:.2f} s"))
    if each := result.get("start"):
        rows.append(
            ("start of a text model's trial by spawn over fork", f"{each['ratio']:.1f} times ({each['fork']:.2f} s)")
        )
    if each := result.get("loads"):
        text = f"{each['complete']} complete, {each['equal']} with every tensor's hash, {each['meta']} meta tensors"
        threads = each["threads_unguarded"]
        rows.append((f"{each['trials']} trials that load models on 4 children", text))
        spoilt = f"{threads['loads'] - threads['good']} spoilt"
        rows.append((f"{threads['loads']} loads by 4 threads without the guard", spoilt))
    return ReportTable(title="studies", columns=("what", "measured"), rows=tuple(rows))
