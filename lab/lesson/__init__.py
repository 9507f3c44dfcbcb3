"""What the notebooks stand on: expected errors, live checks, exercises, a run that trains in another process."""

from lab.lesson.check import CheckResult, check
from lab.lesson.dial import Dial
from lab.lesson.errors import LessonError
from lab.lesson.exercise import Attempt, Exercise, Hints
from lab.lesson.expect import Expectation, expect
from lab.lesson.feed import RunFeed, RunSnapshot
from lab.lesson.follow import Follower, follow
from lab.lesson.memory import MemoryBars, memory_bars
from lab.lesson.parameters import ParameterRow, ParameterTable, parameter_table
from lab.lesson.picture import Picture
from lab.lesson.run import RunHandle, start_run
from lab.lesson.session import Session, set_up
from lab.lesson.shares import Shares, share_bars

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
