"""Show an error on purpose, and fail where it stays away.

Covers one error inside a `with` block. Does not keep the exception: it would keep the frames, and with them the tensors
that a lesson about memory wants to see freed.
"""

import re
import traceback
from types import TracebackType
from typing import Any

from lab.base import ConfigError, ReportTable
from lab.lesson.errors import LessonError
from lab.lesson.report import LessonReport

MESSAGE_LINES = 5
"""Lines of the message that the short form shows; `.message` holds all of it."""
LINE_WIDTH = 160
"""Characters of each such line."""


def _shorten(text: str, width: int = LINE_WIDTH) -> str:
    """`text`, cut to `width` characters with dots at the end."""
    return text if len(text) <= width else text[: width - 4] + " ..."


def _place(frame: traceback.FrameSummary) -> str:
    """`file:line, in function`, the file without the folder that a library happens to be installed in."""
    parts = frame.filename.replace("\\", "/").split("/")
    if frame.filename.startswith("<") or "ipykernel_" in frame.filename:
        file = "this cell"
    elif "site-packages" in parts:
        file = "/".join(parts[parts.index("site-packages") + 1 :])
    else:
        file = "/".join(parts[-2:])
    return f"{file}:{frame.lineno}, in {frame.name}"


class Expectation(LessonReport):
    """The error that a `with` block was expected to raise: what it said and where, once it has been raised."""

    def __init__(self, error_type: type[Exception], match: str) -> None:
        self._error_type = error_type
        self._pattern = match
        self.raised: str | None = None
        """Name of the error's type; None while nothing has been raised."""
        self.message = ""
        """The whole message."""
        self.line = ""
        """The source line of the `with` block that raised."""
        self.origin = ""
        """`file:line, in function` of the line that raised, which may lie deep in a library."""

    def __enter__(self) -> "Expectation":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        wanted = f"{self._error_type.__name__} with a message that matches {self._pattern!r}"
        if error is None:
            raise LessonError(wanted, "no error at all", "the block no longer fails: look at what changed in it")
        if not isinstance(error, Exception):
            return False
        got = f"{type(error).__name__}: {self._short(str(error))}"
        if not isinstance(error, self._error_type):
            raise LessonError(wanted, got, "read that error first: it is another one") from error
        if re.search(self._pattern, str(error)) is None:
            raise LessonError(wanted, got, "the type is right, the cause may be another one") from error
        frames = traceback.extract_tb(trace)
        self.raised = type(error).__name__
        self.message = str(error)
        self.line = (frames[0].line or "").strip()
        self.origin = _place(frames[-1])
        traceback.clear_frames(trace)
        return True

    @staticmethod
    def _short(message: str) -> str:
        return _shorten(" ".join(message.split()), 300)

    def to_dict(self) -> dict[str, Any]:
        """`raised`, `message`, `line` and `origin`."""
        return {"raised": self.raised, "message": self.message, "line": self.line, "origin": self.origin}

    def tables(self) -> tuple[ReportTable, ...]:
        """One table: the message's first lines, the line of the block, the place that raised."""
        if self.raised is None:
            return (ReportTable(title="Nothing was raised yet", columns=(), rows=()),)
        lines = [_shorten(line.strip()) for line in self.message.splitlines() if line.strip()]
        more = [f"... {len(lines) - MESSAGE_LINES} more lines"] if len(lines) > MESSAGE_LINES else []
        rows = (("your line", self.line), ("raised in", self.origin))
        title = f"Expected error, and it came: {self.raised}"
        return (
            ReportTable(title=title, columns=(), rows=(), notes=(*lines[:MESSAGE_LINES], *more)),
            ReportTable(title="", columns=("where", "what"), rows=rows),
        )


def expect(error_type: type[Exception], *, match: str) -> Expectation:
    """Context manager that swallows the error which the block must raise, and fails where it does not.

    Args:
        error_type: the error's type or a base of it.
        match: regular expression searched for in the message; required, because a type alone hides the wrong cause.

    Returns:
        An `Expectation`: after the block it holds the error's message and place and shows them as text and as a table.

    Raises:
        LessonError: nothing was raised, another type came, or the message does not match. An exit (`KeyboardInterrupt`,
            `SystemExit`) passes through.
        ConfigError: `match` is empty or no regular expression, or `error_type` is no subclass of `Exception`.
    """
    if not (isinstance(error_type, type) and issubclass(error_type, Exception)):
        raise ConfigError("a subclass of Exception", repr(error_type), "name the error that the block raises")
    if not match:
        raise ConfigError("a pattern for the message", "an empty one", "name words that only this error says")
    try:
        re.compile(match)
    except re.error as error:
        raise ConfigError("a regular expression", f"{match!r} ({error})", "escape it with re.escape") from error
    return Expectation(error_type, match)
