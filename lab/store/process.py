"""Which process writes a run and whether it still exists; the end of one that was started."""

import os
import socket
import subprocess
from dataclasses import dataclass

import psutil

STALE_SECONDS = 10.0
"""A heartbeat older than this says that the writer has stopped."""

# The operating system counts a start from a boot time that it corrects when the clock is set.
_START_TOLERANCE = 5.0


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process, told from a later one that was given the same number."""

    pid: int
    created: float
    """Start of the process, seconds since 1970 as the operating system gives it."""
    host: str

    @classmethod
    def current(cls) -> "ProcessIdentity":
        """The calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """The process `pid` of this host; a child that has ended has one until its parent asks how."""
        return cls(pid=pid, created=psutil.Process(pid).create_time(), host=socket.gethostname())

    def alive(self) -> bool | None:
        """Whether the process exists; None where it ran on another host, which cannot be asked."""
        if self.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _START_TOLERANCE
            # A zombie has ended; its parent has not yet asked how.
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def end_process(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """End a child by SIGTERM, after `seconds` by SIGKILL; nothing happens where it has ended."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
