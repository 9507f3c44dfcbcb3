"""An exercise with hints in steps and a check that says what is wrong with an answer and how far off it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.base import ConfigError, ReportTable, require_range
from lab.lesson.check import CheckResult
from lab.lesson.drawn import DrawnReport
from lab.lesson.report import LessonReport

if TYPE_CHECKING:
    from lab.lesson.widgets import go

Answer = Callable[..., Any]


class _NotTriedError(Exception):
    """The answer has no body yet."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Attempt(DrawnReport):
    """What a check found about one answer."""

    name: str
    """The exercise."""
    status: str
    """`not tried yet`, `not yet` or `ok`."""
    results: tuple[CheckResult, ...] = ()
    """One for each thing that was compared."""
    mistake: str = ""
    """The typical mistake whose results are those of the answer; empty where it is none of the known ones."""

    @property
    def ok(self) -> bool:
        """Every comparison passed."""
        return self.status == "ok"

    def to_dict(self) -> dict[str, Any]:
        """`name`, `status`, `ok` and every result."""
        results = [result.to_dict() for result in self.results]
        return {
            "name": self.name,
            "status": self.status,
            "ok": self.ok,
            "what_is_wrong": list(self.what_is_wrong),
            "results": results,
        }

    @property
    def what_is_wrong(self) -> tuple[str, ...]:
        """The mistake, else what each check that is off means, else what it found; empty where every check passed."""
        if self.mistake:
            return (self.mistake,)
        off = [result for result in self.results if not result.ok]
        return tuple(dict.fromkeys(result.meaning or f"{result.name}: {result.problems[0]}" for result in off))

    def tables(self) -> tuple[ReportTable, ...]:
        """The status, then a row for each comparison."""
        sentence = {
            "not tried yet": "○ not tried yet: the function returns nothing. Write its body and end it with `return`.",
            "not yet": "✗ not yet: see below how far off it is. `.hint()` helps.",
            "ok": "✓ ok: every check is green.",
        }[self.status]
        said = (f"what is wrong: {self.mistake}",) if self.mistake else ()
        head = ReportTable(title=f"Exercise: {self.name}", columns=(), rows=(), notes=(sentence, *said))
        return (head, self._comparisons()) if self.results else (head,)

    def _comparisons(self) -> ReportTable:
        """The tables of all comparisons as one, what each says below."""
        tables = [(result.name, table) for result in self.results for table in result.tables()]
        columns = ("check", *tables[0][1].columns)
        rows = tuple((name, *row) for name, table in tables for row in table.rows)
        notes = tuple(f"{name}: {note}" for name, table in tables for note in table.notes)
        return ReportTable(title="", columns=columns, rows=rows, notes=notes)

    def figure(self) -> "go.Figure | None":
        """What came beside what was wanted, of the first check that is off, else of the one with the most numbers."""
        drawn = [(result, result.pair) for result in self.results if result.pair is not None]
        if not drawn:
            return None
        most = max(drawn, key=lambda each: each[1][0].size)
        shown, pair = next((each for each in drawn if not each[0].ok), most)
        # Plotly takes longer to import than most answers to check.
        from lab.charts import comparison_figure

        return comparison_figure(*pair, title=f"{shown.verdict}: {shown.name}")


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
        lines.append(
            f"{left} more: ask for .hint({len(self.shown) + 1})."
            if left
            else "That was the last hint; the solution is folded below."
        )
        return (ReportTable(title="Hints", columns=(), rows=(), notes=tuple(lines)),)


class Exercise:
    """A task whose answer is a function.

    `compare` gets the answer, calls it on inputs of its own choice, the same each time, and gives the comparisons back;
    it should use inputs that typical wrong answers fail on.
    """

    def __init__(
        self,
        name: str,
        *,
        hints: Sequence[str],
        compare: Callable[[Answer], Sequence[CheckResult]],
        mistakes: Mapping[str, Answer] = MappingProxyType({}),
    ) -> None:
        """Describe the task.

        Args:
            name: what is to be written.
            hints: in steps, from a nudge to nearly the answer.
            compare: the comparisons of an answer.
            mistakes: what is wrong, as a sentence for the learner -> an answer with this mistake. An answer whose
                results are the same has the same mistake.

        Raises:
            ConfigError: no hint; a learner who is stuck needs one.
        """
        if not hints:
            raise ConfigError(f"hints for the exercise {name!r}", "none", "write at least one")
        self.name = name
        self.mistakes = mistakes
        self._hints = tuple(hints)
        self._compare = compare

    def hint(self, steps: int = 1) -> Hints:
        """The first `steps` hints, >= 1; all of them where there are fewer."""
        require_range("steps", steps, 1)
        return Hints(shown=self._hints[:steps], total=len(self._hints))

    def check(self, answer: Answer) -> Attempt:
        """Run the comparisons on `answer`; an error inside the answer is raised as it is.

        An answer that raises `NotImplementedError` without a text, or returns `None` or `...`, is not tried yet.
        """
        if not callable(answer):
            raise ConfigError("a function", f"{type(answer).__name__}", "pass the function itself, without calling it")
        try:
            results = tuple(self._compare(_tried(answer)))
        except _NotTriedError:
            return Attempt(name=self.name, status="not tried yet")
        if not results:
            raise ConfigError(f"a comparison in the exercise {self.name!r}", "none", "return at least one check(...)")
        if all(result.ok for result in results):
            return Attempt(name=self.name, status="ok", results=results)
        return Attempt(name=self.name, status="not yet", results=results, mistake=self._recognise(results))

    def _recognise(self, results: tuple[CheckResult, ...]) -> str:
        """What is wrong according to the first known mistake that has the same results; empty where none has."""
        for text, mistake in self.mistakes.items():
            if _same(results, tuple(self._compare(mistake))):
                return text
        return ""


def _tried(answer: Answer) -> Answer:
    """`answer`, which says so where it has no body yet."""

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

    return tried


def _same(these: tuple[CheckResult, ...], those: tuple[CheckResult, ...]) -> bool:
    """Whether two answers came out alike, apart from rounding."""
    if [each.ok for each in these] != [each.ok for each in those]:
        return False
    for a, b in zip(these, those, strict=True):
        if a.pair is None or b.pair is None:
            if a.problems != b.problems:
                return False
        elif a.pair[0].shape != b.pair[0].shape or not np.allclose(a.pair[0], b.pair[0], rtol=1e-4, equal_nan=True):
            return False
    return True
