"""Ctrl-C and a termination request as a word to the supervisor, which answers between two writes to the storage."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[int]:
    """Ctrl-C and a termination request call `interrupt`; a second one ends the process as usual.

    Outside the main thread no signal arrives, and none is handled.

    Args:
        interrupt: called from the handler of the signal, between any two instructions of Python.

    Returns:
        In the block, the reading end of a pipe that gets a byte with each signal: a wait on it does not sleep on.
    """
    reader, writer = os.pipe()
    try:
        if threading.current_thread() is not threading.main_thread():
            yield reader
            return
        with _handled(interrupt, writer):
            yield reader
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def _handled(interrupt: Callable[[], None], writer: int) -> Iterator[None]:
    os.set_blocking(writer, False)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt()
        signal.signal(number, before[int(number)])

    old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number in numbers:
            signal.signal(number, before[int(number)])
