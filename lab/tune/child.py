"""What a child does: one trial, told over a pipe, the storage untouched.

A child is a fork of the fork server. It reads its task from the pipe, evaluates, and writes reports and the outcome as
JSON. A thread listens for the other direction: `stop` (the trial is pruned or out of time), or the end of the pipe,
which says that the supervisor is gone; then the child ends at once, and nobody is left who trains for a dead study.
"""

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.base import LabError, StudyError

ORPHANED = 3
"""Exit status of a child whose supervisor is gone."""
_DEVICE_FAULTS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "device-side assert")


class TrialStopped(BaseException):
    """The supervisor stopped the trial: no error of the evaluation, which must not take it for one."""


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What a child evaluates: data alone."""

    number: int
    """Of the attempt in the study."""
    name: str
    """Of its run's folder."""
    folder: str
    """Folder of the trials' runs."""
    target: str
    """MODULE:FUNCTION that evaluates it."""
    base: Mapping[str, Any]
    """Settings as JSON data."""
    params: Mapping[str, Any]
    """Values of the searched fields."""
    objectives: tuple[str, ...]
    log: str = ""
    """File to which its output goes; empty for nowhere."""

    def evaluate(self, link: "TrialLink") -> dict[str, float]:
        """Call the target.

        Raises:
            StudyError: there is no such function.
        """
        return dict(load_target(self.target)(self, link))


def load_target(text: str) -> Callable[..., Mapping[str, float]]:
    """The function MODULE:FUNCTION.

    Raises:
        StudyError: there is none.
    """
    module, _, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StudyError("a target MODULE:FUNCTION that can be imported", f"{text} ({error})", "correct it") from error
    target: Callable[..., Mapping[str, float]] = found
    return target


class TrialLink:
    """A trial's side of the pipe to the supervisor.

    Args:
        pipe: to the supervisor.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stop = threading.Event()
        self._on_stop: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether the supervisor wants the trial to end."""
        return self._stop.is_set()

    def report(self, step: int, value: float) -> None:
        """Tell the value of the objective after `step`, counted from 0.

        Raises:
            TrialStopped: the supervisor wants the trial to end.
        """
        self.tell(step, value)
        if self.stopped:
            raise TrialStopped

    def tell(self, step: int, value: float) -> None:
        """As `report`, for an evaluation that ends by itself once `stopped` holds."""
        self.send({"kind": "report", "step": step, "value": float(value)})

    def on_stop(self, call: Callable[[], object]) -> None:
        """Call `call` when the supervisor wants the trial to end, at once where it does already."""
        self._on_stop = call
        if self.stopped:
            call()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message; a supervisor that is gone ends the child."""
        try:
            with self._lock:
                self._pipe.send_bytes(json.dumps(message).encode())
        except OSError:
            os._exit(ORPHANED)

    def listen(self) -> None:
        """Wait for the supervisor's word, in a thread of its own."""
        while True:
            try:
                word = self._pipe.recv_bytes()
            except (EOFError, OSError):
                os._exit(ORPHANED)
            if word == b"stop":
                self._stop.set()
                self._on_stop()


class TrialOutcome:
    """Tells how the evaluation inside it ended; nothing leaves it.

    It is no handler that hides an error: the error's text goes to the supervisor, its traceback to the trial's log.
    """

    def __init__(self, link: TrialLink) -> None:
        self._link = link

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, TrialStopped):
            self._link.send({"kind": "stopped"})
        elif error is not None:
            traceback.print_exception(error)
            self._link.send({"kind": "failed", "cause": cause_of(error), "reason": _reason(error, trace)})
        return True


def cause_of(error: BaseException) -> str:
    """The row of the retry policy that an error of an evaluation belongs to."""
    if _is_oom(error):
        return "out of memory"
    if isinstance(error, LabError):
        return "refused"
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _DEVICE_FAULTS):
        return "device fault"
    return "exception"


def _is_oom(error: BaseException) -> bool:
    # An evaluation without torch is not made to import it, seconds long, to be asked about its allocator.
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from lab.device import is_oom

    return is_oom(error)


def _reason(error: BaseException, trace: TracebackType | None) -> str:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, LabError):
        return text
    frames = traceback.extract_tb(trace)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {text}{where}"


def serve_trial(pipe: Connection) -> None:
    """Read one task from `pipe`, evaluate it, tell the outcome; the caller ends the process."""
    task = EvaluationTask(**{**(data := json.loads(pipe.recv_bytes())), "objectives": tuple(data["objectives"])})
    if task.log:
        Path(task.log).parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for stream in (1, 2):
            os.dup2(handle, stream)
    link = TrialLink(pipe)
    threading.Thread(target=link.listen, daemon=True).start()
    with TrialOutcome(link):
        link.send({"kind": "done", "values": task.evaluate(link)})
    sys.stdout.flush()
    sys.stderr.flush()
