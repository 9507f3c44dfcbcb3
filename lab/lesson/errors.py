"""The error of a lesson whose claim did not come true."""

from lab.base import LabError


class LessonError(LabError, AssertionError):
    """A lesson claimed something that did not happen; an `AssertionError` too, so a test fails on it."""
