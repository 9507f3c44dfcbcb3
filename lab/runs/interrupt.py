"""Ctrl-C and a termination request as the end of a training at its next step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from lab.train import TrainingLoop


@contextlib.contextmanager
def interruptible(loop: TrainingLoop) -> Iterator[None]:
    """Ctrl-C and a termination request end the loop at the next step; a second one ends the process as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.interrupt()
        signal.signal(number, before[int(number)])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            # Who has decided otherwise meanwhile is not overruled.
            if signal.getsignal(number) is handle:
                signal.signal(number, before[int(number)])


def end_undisturbed() -> None:
    """Ignore termination requests from now on: this process ends by itself, its error told and its rows written.

    torchrun asks the other ranks to end as soon as one is gone, which would cut both off.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
