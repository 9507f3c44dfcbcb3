"""What the notebooks stand on: expected errors, live checks, exercises."""

from lab.lesson.check import CheckResult, check
from lab.lesson.errors import LessonError
from lab.lesson.exercise import Attempt, Exercise, Hints
from lab.lesson.expect import Expectation, expect
from lab.lesson.memory import MemoryBars, memory_bars
from lab.lesson.parameters import ParameterRow, ParameterTable, parameter_table

__all__ = [
    "Attempt",
    "CheckResult",
    "Exercise",
    "Expectation",
    "Hints",
    "LessonError",
    "MemoryBars",
    "ParameterRow",
    "ParameterTable",
    "check",
    "expect",
    "memory_bars",
    "parameter_table",
]
