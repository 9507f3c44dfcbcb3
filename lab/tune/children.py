"""The supervisor's side of its children: the fork server, and a handle for each child.

Children are forked before their trials are asked for, so that a trial does not wait for its fork. A child evaluates one
trial and ends: nothing of it is left to the next one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import IO, Any

from lab import base
from lab.base import LabError, StudyError
from lab.tune.child import EvaluationTask
from lab.tune.server import ENVIRONMENT

GONE = "no fork server"


@dataclass(kw_only=True)
class Child:
    """One child process and what is known of it."""

    number: int
    """Given by the supervisor, not the operating system."""
    pipe: Connection
    began: float = field(default_factory=time.monotonic)
    """When it was given its task, seconds of the monotonic clock."""
    pid: int | None = None
    """None until the fork server has told it."""
    status: int | None = None
    """Exit status, minus a signal that ended it; None until the fork server has told it."""
    reports: dict[int, float] = field(default_factory=dict)
    """Step -> value."""
    stopping: str = ""
    """Why it was asked to end: pruned or time-out."""
    lost: float | None = None
    """When its pipe ended without an outcome, seconds of the monotonic clock."""

    def begin(self, task: EvaluationTask) -> bool:
        """Give it the trial that it has waited for; False where it has died in the meantime."""
        self.began = time.monotonic()
        try:
            # The pipe's buffer holds the task until the child reads it.
            self.pipe.send_bytes(json.dumps(asdict(task)).encode())
        except OSError:
            return False
        return True

    def stop(self, why: str) -> None:
        """Ask it to end by itself."""
        self.stopping = self.stopping or why
        # Where it has just ended, its pipe tells the rest.
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(b"stop")

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None and self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave its pipe; a child that still runs ends itself then."""
        self.pipe.close()


class ForkServer:
    """The process whose forks evaluate trials; it has made one real load.

    Args:
        target: MODULE:FUNCTION of the trials.
        settings: base of their settings, which it loads once.
        numbers: of its children; a server that takes the place of another goes on with them.

    Raises:
        LabError: what the load raised; no trial could be begun.
    """

    def __init__(self, target: str, settings: Mapping[str, Any], numbers: Iterator[int]) -> None:
        if not hasattr(os, "fork"):
            raise StudyError("a system with fork, for the children of a study", sys.platform, "use Linux or macOS")
        self.numbers = numbers
        self._ready: deque[Child] = deque()
        self._living: dict[int, Child] = {}
        # Closed with the server.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.control, theirs = Pipe()
        paths = [path or os.getcwd() for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.tune.server", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is the supervisor's alone to answer.
            start_new_session=True,
        )
        theirs.close()
        try:
            self.control.send_bytes(json.dumps({"target": target, "base": dict(settings)}).encode())
            answer = json.loads(self.control.recv_bytes())
        except (EOFError, OSError) as error:
            words = self._last_words()
            self.close()
            raise StudyError("a fork server that has loaded what trials need", words, "correct it") from error
        except KeyboardInterrupt:
            self.close()
            raise
        if answer:
            self.close()
            kind: type[LabError] = getattr(base, answer["error"])
            raise kind(answer["expected"], answer["got"], answer["hint"])

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def begin(self, task: EvaluationTask) -> Child:
        """A child that evaluates `task`: one that waits already, or a new one.

        Raises:
            BrokenPipeError: the server is gone.
        """
        while self._ready:
            child = self._ready.popleft()
            if child.status is None and child.begin(task):
                return child
            # Killed while it waited: no trial has lost anything.
            child.close()
        child = self._fork()
        child.begin(task)
        return child

    @property
    def waiting(self) -> tuple[Child, ...]:
        """The children without a task."""
        return tuple(self._ready)

    def keep_ready(self, count: int) -> None:
        """Let so many children wait for a task.

        Raises:
            BrokenPipeError: the server is gone.
        """
        while len(self._ready) < count:
            self._ready.append(self._fork())

    def _fork(self) -> Child:
        """A child without a task; its process number is told later, to `hear`."""
        number = next(self.numbers)
        ours, theirs = Pipe()
        try:
            self.control.send_bytes(json.dumps({"child": number}).encode())
            send_handle(self.control, theirs.fileno(), self.pid)
        except OSError as error:
            ours.close()
            raise BrokenPipeError(GONE) from error
        finally:
            theirs.close()
        self._living[number] = Child(number=number, pipe=ours)
        return self._living[number]

    def hear(self) -> None:
        """Note in the children what the server tells of them: process numbers, and how each has ended.

        Raises:
            BrokenPipeError: the server is gone.
        """
        try:
            while self.control.poll():
                message = json.loads(self.control.recv_bytes())
                if message["kind"] == "forked":
                    self._living[message["child"]].pid = message["pid"]
                else:
                    self._living.pop(message["child"]).status = message["status"]
        except (EOFError, OSError) as error:
            raise BrokenPipeError(GONE) from error

    def close(self) -> None:
        """End the server, and with it every child that is left."""
        for child in self._ready:
            child.close()
        self._ready.clear()
        self.control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        # Python takes its time to end after a large import.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"its end with status {self._process.returncode}"
