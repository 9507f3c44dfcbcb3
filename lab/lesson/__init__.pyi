"""What the notebooks stand on: expected errors, live checks, exercises, a run that trains in another process."""

from .check import CheckResult, check
from .dial import Dial
from .errors import LessonError
from .exercise import Attempt, Exercise, Hints
from .expect import Expectation, expect
from .feed import RunFeed, RunSnapshot
from .follow import Follower, follow
from .memory import MemoryBars, memory_bars
from .parameters import ParameterRow, ParameterTable, parameter_table
from .picture import Picture
from .run import RunHandle, start_run
from .session import Session, set_up
from .shares import Shares, share_bars

__all__ = [
    "Attempt",
    "CheckResult",
    "Dial",
    "Exercise",
    "Expectation",
    "Follower",
    "Hints",
    "LessonError",
    "MemoryBars",
    "ParameterRow",
    "ParameterTable",
    "Picture",
    "RunFeed",
    "RunHandle",
    "RunSnapshot",
    "Session",
    "Shares",
    "check",
    "expect",
    "follow",
    "memory_bars",
    "parameter_table",
    "set_up",
    "share_bars",
    "start_run",
]
