"""An exercise with hints in steps and a check that says how far off an answer is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.base import ConfigError, ReportTable
from lab.lesson.check import CheckResult
from lab.lesson.report import LessonReport

Answer = Callable[..., Any]


class _NotTriedError(Exception):
    """The answer has no body yet."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Attempt(LessonReport):
    """What a check found about one answer."""

    name: str
    """The exercise."""
    status: str
    """`not tried yet`, `not yet` or `ok`."""
    results: tuple[CheckResult, ...] = ()
    """One for each thing that was compared."""

    @property
    def ok(self) -> bool:
        """Every comparison passed."""
        return self.status == "ok"

    def to_dict(self) -> dict[str, Any]:
        """`name`, `status`, `ok` and every result."""
        results = [result.to_dict() for result in self.results]
        return {"name": self.name, "status": self.status, "ok": self.ok, "results": results}

    def tables(self) -> tuple[ReportTable, ...]:
        """The status, then each comparison."""
        sentence = {
            "not tried yet": "○ not tried yet: the function returns nothing. Write its body and end it with `return`.",
            "not yet": "✗ not yet: see below how far off it is. `.hint()` helps.",
            "ok": "✓ ok: every check is green.",
        }[self.status]
        head = ReportTable(title=f"Exercise: {self.name}", columns=(), rows=(), notes=(sentence,))
        return (head, *(table for result in self.results for table in result.tables()))


@dataclass(frozen=True, kw_only=True, repr=False)
class Hints(LessonReport):
    """The hints that have been asked for so far."""

    shown: tuple[str, ...]
    total: int

    def to_dict(self) -> dict[str, Any]:
        """`shown` and `total`."""
        return {"shown": list(self.shown), "total": self.total}

    def tables(self) -> tuple[ReportTable, ...]:
        """One numbered line for each hint, and how many are left."""
        lines = [f"{number}. {hint}" for number, hint in enumerate(self.shown, start=1)]
        left = self.total - len(self.shown)
        lines.append(f"{left} more: ask again." if left else "That was the last hint; the solution is folded below.")
        return (ReportTable(title="Hints", columns=(), rows=(), notes=tuple(lines)),)


class Exercise:
    """A task whose answer is a function.

    `compare` gets the answer, calls it on inputs of its own choice and gives the comparisons back; it should use inputs
    that typical wrong answers fail on.
    """

    def __init__(self, name: str, *, hints: Sequence[str], compare: Callable[[Answer], Sequence[CheckResult]]) -> None:
        """Raises `ConfigError` without a hint: a learner who is stuck needs one."""
        if not hints:
            raise ConfigError(f"hints for the exercise {name!r}", "none", "write at least one")
        self.name = name
        self._hints = tuple(hints)
        self._compare = compare
        self._shown = 0

    def hint(self) -> Hints:
        """One more hint than the last time, until all are shown."""
        self._shown = min(self._shown + 1, len(self._hints))
        return Hints(shown=self._hints[: self._shown], total=len(self._hints))

    def check(self, answer: Answer) -> Attempt:
        """Run the comparisons on `answer`; an error inside the answer is raised as it is.

        An answer that raises `NotImplementedError` without a text, or returns `None` or `...`, is not tried yet.
        """
        if not callable(answer):
            raise ConfigError("a function", f"{type(answer).__name__}", "pass the function itself, without calling it")

        def tried(*args: Any, **kwargs: Any) -> Any:
            try:
                value = answer(*args, **kwargs)
            except NotImplementedError as error:
                if error.args:  # torch raises one with a text, for instance for a meta tensor without values
                    raise
                raise _NotTriedError from error
            if value is None or value is Ellipsis:
                raise _NotTriedError
            return value

        try:
            results = tuple(self._compare(tried))
        except _NotTriedError:
            return Attempt(name=self.name, status="not tried yet")
        if not results:
            raise ConfigError(f"a comparison in the exercise {self.name!r}", "none", "return at least one check(...)")
        status = "ok" if all(result.ok for result in results) else "not yet"
        return Attempt(name=self.name, status=status, results=results)
