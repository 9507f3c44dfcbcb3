"""The fork server: a process that has made one real, guarded load, and forks a child for each trial.

A child by spawn pays the imports and the first load anew, seconds each time; a fork of this process pays neither.
Nothing else runs here: no thread, no CUDA, one CPU thread, so that a fork is whole. The supervisor talks to it over one
pipe (JSON, and for each child the end of a pipe of its own) and to the children directly.

It ends with all its children when the supervisor is gone.
"""

import gc
import json
import os
import select
import signal
import sys
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from lab.base import LabError
from lab.tune.child import load_target, serve_trial

ENVIRONMENT = {
    # Threads of a pool do not survive a fork, and what waits for them hangs.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Asks the driver without a context: a process that has one cannot be forked.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(handle: int) -> None:
    """Serve the supervisor behind the pipe `handle` until it is gone."""
    # Ctrl-C in a terminal reaches every process of it; the supervisor decides what becomes of the children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(handle) as control:
        if _warm_up(control):
            _serve(control)


def _warm_up(control: Connection) -> bool:
    """Make the load that every child would have to make; whether it could be made."""
    request = json.loads(control.recv_bytes())
    try:
        target = load_target(request["target"])
        prepare = getattr(target, "prepare", None)
        if prepare is not None:
            prepare(request["base"])
    except LabError as error:
        fault = {"error": type(error).__name__, "expected": error.expected, "got": error.got, "hint": error.hint}
        control.send_bytes(json.dumps(fault).encode())
        return False
    gc.collect()
    # What is there now is shared with the children until somebody writes to it; the collector would, to every object.
    gc.freeze()
    control.send_bytes(b"{}")
    return True


def _serve(control: Connection) -> None:
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    # A handler of Python's, which writes into the pipe; by default the signal is dropped.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    children: dict[int, int] = {}
    while True:
        sources: list[Any] = [control, wake]
        ready, _, _ = select.select(sources, [], [])
        if wake in ready:
            os.read(wake, 4096)
            _tell_ended(control, children)
        if control in ready:
            try:
                request = json.loads(control.recv_bytes())
                handle = recv_handle(control)
            except (EOFError, OSError):
                _end(children)
                return
            pid = _fork(control, handle, (wake, waker))
            children[pid] = int(request["child"])
            control.send_bytes(json.dumps({"kind": "forked", "child": request["child"], "pid": pid}).encode())


def _fork(control: Connection, handle: int, own: tuple[int, ...]) -> int:
    """A child that serves the pipe `handle`; its number in the parent, no return in the child."""
    pid = os.fork()
    if pid:
        os.close(handle)
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in own:
            os.close(each)
        control.close()
        serve_trial(Connection(handle))
        status = 0
    finally:
        # Not the end of the server: none of its clean-up may run here.
        os._exit(status)


def _tell_ended(control: Connection, children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        message: dict[str, Any] = {"kind": "ended", "child": children.pop(pid, -1)}
        control.send_bytes(json.dumps({**message, "status": os.waitstatus_to_exitcode(status)}).encode())


def _end(children: dict[int, int]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
