"""One trial: a run of a few steps on which one thing goes wrong, and what became of it. Run as a program.

The program reads one task a line and writes one answer a line, both JSON. For each it forks twice: in the first process
the run is disturbed, in the second one it is looked at and taken up again. `faulty_files.c` must be loaded before the
C library where a task asks for a fault in a call.
"""

import contextlib
import ctypes
import errno
import faulthandler
import fnmatch
import gc
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

RECIPES = ("fixed", "aso-se", "agent", "multitask")
FAULTS = {
    "no room": (1, "ENOSPC"),
    "no room from then on": (2, "ENOSPC"),
    "input/output error": (1, "EIO"),
    "no permission": (1, "EACCES"),
    "killed before": (3, "0"),
    "killed after": (4, "0"),
}
"""Name of a fault -> mode of `fault_arm`, error number."""
KINDS = {
    "database at its beginning": "a|a/.events.db.*",
    "database": "a/events.db|a/events.db-*",
    "settings": "a/config.json|a/.config.json.*",
    "tensors": "a/checkpoints|a/checkpoints/*.pt|a/checkpoints/*.pt.tmp",
    "head": "a/checkpoints/*.json|a/checkpoints/*.json.tmp",
    "report": "a/report.json|a/.report.json.*",
    "command": "a/control|a/control/*|a/.command-*|a/refused*",
}
"""Kind of file -> patterns of its path below the folder of runs."""
PER_ATTEMPT = ("memory", "checkpoint", "control")
"""Events about the process, its files and what people asked of it, which differ from attempt to attempt."""
TOLD = ("The run store could not write", "No write-ahead log")
"""Titles of alerts in which a store tells of what failed; nothing is lost by a write that was tried again."""
LONGEST = 120
"""Seconds after which a run hangs."""


def kind_of(path):
    """The kind of file at `path`, below the folder of runs."""
    return next(
        kind for kind, patterns in KINDS.items() if any(fnmatch.fnmatchcase(path, one) for one in patterns.split("|"))
    )


def config_of(recipe):
    """A run of half a second: two epochs of a few steps."""
    from lab.datasets import DataConfig
    from lab.runs import RunConfig

    own = {
        "fixed": {"epochs": 2},
        "aso-se": {
            **{"prior": "none", "retraining_epochs": 0, "mutation_test": "before", "total_cycles": 1, "layers": 2},
            **{"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1},
        },
        "agent": {"epochs": 2, "evolve_from": 1, "evolve_every": 1, "evolve_actions": 1, "probe_steps": 1},
        "multitask": {"epochs": 2, "batch_size": 128, "data": DataConfig(name="multitask")},
    }[recipe]
    usual = {"data": DataConfig(train_limit=60), "batch_size": 8, "init_channels": 2, "layers": 1}
    fields = {"threads": 1, "device": "cpu", "checkpoint_frequency": 1} | usual | own
    return RunConfig.from_fields(recipe=recipe, **fields)


def rows(folder):
    """What the store tells of a training, but for times, memory and places of files."""
    from lab.store import RunReader

    reader = RunReader(folder)
    found = reader.scalars()
    scalars = zip(found.step, found.name, found.value, strict=True)
    events = [
        [event.step, event.kind, event.payload]
        for event in reader.events().events
        if event.kind not in PER_ATTEMPT and event.payload.get("title") not in TOLD
    ]
    return json.loads(json.dumps([sorted(row for row in scalars if not row[1].startswith("memory/")), events]))


class Sender:
    """Asks the run for a checkpoint at its third step, as a person would; kills it at a drawn moment."""

    def __init__(self, folder, kill):
        from lab.store import control

        self.folder, self.kill, self.told = folder, kill, ""
        # What is sent is taken before the next step: which calls a run makes is then the same each time.
        control.ASK_SECONDS = 0.0

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        from lab.base import StoreError
        from lab.store import control

        if (epoch, batch) == (0, 3) and not self.kill:
            try:
                control.send(self.folder, "checkpoint")
            except StoreError as error:
                self.told = str(error)

    def on_text(self, text):
        pass


def disturb(folder, task, place):
    """Run with the fault that the task asks for; what the process has to say of its end goes to `place`."""
    from lab.base import LabError
    from lab.runs import Run

    faulthandler.enable()
    count = [0]
    if task["fault"] == "aimed":
        task["process"] = os.getpid()
        count = aim(task, place)
    elif task["fault"]:
        calls = ctypes.CDLL(None)
        mode, code = FAULTS[task["fault"]]
        calls.fault_watch(os.fsencode(folder), os.open(place.with_suffix(".calls"), os.O_WRONLY | os.O_CREAT))
        texts = (task["operation"].encode(), KINDS[task["kind"]].encode())
        calls.fault_arm(*texts, ctypes.c_long(task["at"]), getattr(errno, code, 0), mode)
    answer = {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sender = Sender(folder / "a", task["fault"] == "aimed")
        try:
            report = Run(config_of(task["recipe"]), save_dir=folder, name="a", observer=sender).execute()
            answer = {"end": report.state, "digest": report.digest}
        except LabError as error:
            answer = {"end": "error", "text": f"{type(error).__name__}: {error}"}
        except BaseException:  # noqa: BLE001 - what is no LabError is what the trial looks for
            answer = {"end": "foreign", "text": traceback.format_exc()}
    answer["writes"] = count[0]
    answer["warned"] = [str(warning.message) for warning in told] + ([sender.told] if sender.told else [])
    place.write_text(json.dumps(answer))


def aim(task, place):
    """Have the process killed within 50 ms of the beginning of the flush or checkpoint with number `at`.

    Returns:
        A list of one number: the flushes and checkpoints that have begun.
    """
    import lab.runs.run as module
    from lab.store.flusher import Flusher

    count, delay = [0], random.Random(task["seed"]).uniform(0.0, 0.05)
    inner_flush, inner_save = Flusher.flush, module.save_checkpoint
    hears, tells = os.pipe()
    if os.fork() == 0:
        os.close(tells)
        if os.read(hears, 1):
            began = time.monotonic()
            time.sleep(delay)
            # Not where the run has ended meanwhile: its number may be another process's by now.
            if os.getppid() == task["process"]:
                place.with_suffix(".delay").write_text(str(time.monotonic() - began))
                os.kill(task["process"], signal.SIGKILL)
        os._exit(0)
    os.close(hears)

    def counted(inner):
        def call(*arguments, **fields):
            count[0] += 1
            if count[0] == task["at"]:
                os.write(tells, b"!")
            return inner(*arguments, **fields)

        return call

    Flusher.flush, module.save_checkpoint = counted(inner_flush), counted(inner_save)
    return count


def look(folder, task, answer, whole):
    """What the disturbed run left, and what comes of it: the outcome in one word, or in what it goes against."""
    from lab.base import CheckpointError, LabError, StoreError
    from lab.checkpoint import examine_checkpoints
    from lab.runs import Run, find_checkpoint, saved_config
    from lab.store import RunReader

    if answer["end"] in ("foreign", "hangs"):
        return f"{answer['end']}: {answer.get('text', '')}"
    run_dir, wrong = folder / "a", []
    verdict = {"finished": "goes on", "error": "fails", "killed": "killed"}[answer["end"]]
    if answer["end"] != "killed":
        wrong += [f"left {path.name}" for path in run_dir.rglob("*.tmp")] if run_dir.exists() else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            path = find_checkpoint(str(run_dir), folder)
        except CheckpointError:
            path = None
        if answer["end"] == "finished" and answer["digest"] != whole["digest"]:
            wrong.append("other bits in a run that finished")
        if answer["end"] != "killed":
            found = {fault for _, _, fault in examine_checkpoints(run_dir / "checkpoints") if fault}
            wrong += [f"damaged: {fault}" for fault in found if "without its .json" not in fault]
        try:
            if answer["end"] == "finished":
                name, reader = "a", RunReader(run_dir)
                alerts = [e for e in reader.events(kinds=("alert",)).events if e.payload["title"] in TOLD]
                if alerts or answer["warned"]:
                    verdict = "goes on, told"
                if (state := reader.state()) != "finished" and not answer["warned"]:
                    wrong.append(f"finished, and its store says {state}")
            elif path is not None:
                name, verdict = "a", f"{verdict}, resumed"
                report = Run(saved_config(path), save_dir=folder, resume=path).execute()
                if report.digest != whole["digest"]:
                    wrong.append("other bits once resumed")
            else:
                name, verdict = "a", f"{verdict}, begun anew"
                try:
                    report = Run(config_of(task["recipe"]), save_dir=folder, name="a").execute()
                except StoreError:
                    name = "b"
                    report = Run(config_of(task["recipe"]), save_dir=folder, name="b").execute()
                if report.digest != whole["digest"]:
                    wrong.append("other bits once begun anew")
            if (found_rows := rows(folder / name)) != whole["rows"]:
                wrong.append(f"other rows: {difference(found_rows, whole['rows'])}")
        except LabError as error:
            wrong.append(f"no way on: {type(error).__name__}: {error}")
    return "; ".join(wrong) or verdict


def difference(found, wanted):
    """The first rows that are missing or too many."""
    parts = []
    for have, want in zip(found, wanted, strict=True):
        parts += [f"missing {row}" for row in want if row not in have][:2]
        parts += [f"too many {row}" for row in have if row not in want][:2]
    return "; ".join(parts)[:600] or "another order or number"


def in_fork(work, place):
    """Do `work` in a fork, which writes to `place`; the status of its end, None where it hangs."""
    child = os.fork()
    if child == 0:
        try:
            # In a group of its own, so that nothing outlives it.
            work()
        except BaseException:  # noqa: BLE001 - told to who asked
            text = f"foreign: {traceback.format_exc()}"
            place.write_text(json.dumps({"end": "foreign", "text": text, "outcome": text}))
        os._exit(0)
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def attempt(task):
    """Disturb, look, answer."""
    folder = Path(task["folder"])
    folder.mkdir(parents=True)
    place = folder.with_name(folder.name + ".answer")
    status = in_fork(lambda: disturb(folder, task, place), place)
    if status is None:
        answer = {"end": "hangs", "text": f"longer than {LONGEST} s"}
    elif os.WIFSIGNALED(status):
        answer = {"end": "killed", "signal": os.WTERMSIG(status)}
    else:
        answer = json.loads(place.read_text())
    if (delay := place.with_suffix(".delay")).exists():
        answer["delay"] = float(delay.read_text())
    answer["calls"] = read_calls(place.with_suffix(".calls"))
    if task["whole"] is None:
        answer["rows"] = None
        in_fork(lambda: place.write_text(json.dumps(rows(folder / "a"))), place)
        answer["rows"] = json.loads(place.read_text())
        return answer
    in_fork(lambda: place.write_text(json.dumps({"outcome": look(folder, task, answer, task["whole"])})), place)
    return {**answer, "outcome": json.loads(place.read_text())["outcome"]}


def read_calls(path):
    """(operation, kind of file) of each watched call, in order; those of a process that was killed as well."""
    found = []
    if path.exists():
        for line in path.read_text().splitlines():
            operation, name = line.split(" ", 1)
            found.append((operation, kind_of(name)))
    return found


def main():
    import torch

    # What a run imports when it needs it: else each fork would import it again.
    for module in ("sklearn.datasets", "sklearn.feature_extraction.text", "torch._dynamo", "lab.runs.build"):
        importlib.import_module(module)
    torch.set_num_threads(1)
    # Out of the collector's way: each fork would walk all that was imported, and copy it by that.
    gc.collect()
    gc.freeze()
    wholes = {}
    for line in sys.stdin:
        task = json.loads(line)
        task["whole"] = wholes.get(task["recipe"])
        answer = attempt(task)
        if task["whole"] is None:
            wholes[task["recipe"]] = dict(answer)
        answer.pop("rows", None)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    assert threading.active_count() == 1
    main()
