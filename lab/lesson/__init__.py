"""What the notebooks stand on: expected errors, live checks, exercises, a run that trains in another process."""

from lab.lesson.check import CheckResult, check
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

__all__ = [
    "Attempt",
    "CheckResult",
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
    "check",
    "expect",
    "follow",
    "memory_bars",
    "parameter_table",
    "set_up",
    "start_run",
]
