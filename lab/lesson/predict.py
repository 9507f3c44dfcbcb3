"""Predict first: choose what a cell will show, then run it; the score stands at the end of the lesson."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.base import ConfigError, ReportTable, require
from lab.lesson.report import LessonReport
from lab.lesson.widgets import HTML, Layout, RadioButtons, VBox, mime_bundle


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictionResult(LessonReport):
    """What was predicted and what came."""

    question: str
    chosen: str | None
    """None where nothing was chosen."""
    came: str

    @property
    def ok(self) -> bool:
        """The prediction came true."""
        return self.chosen == self.came

    def to_dict(self) -> dict[str, Any]:
        """Every field and `ok`."""
        return {"question": self.question, "chosen": self.chosen, "came": self.came, "ok": self.ok}

    def tables(self) -> tuple[ReportTable, ...]:
        """One sentence."""
        if self.chosen is None:
            said = f"○ no prediction; what came: {self.came}"
        else:
            said = f"✓ as predicted: {self.came}" if self.ok else f"✗ predicted: {self.chosen}; what came: {self.came}"
        return (ReportTable(title=self.question, columns=(), rows=(), notes=(said,)),)


@dataclass(repr=False)
class PredictionScore(LessonReport):
    """The predictions of a lesson; a cell that is run again replaces its own."""

    predictions: "dict[str, Prediction]" = field(default_factory=dict)
    """Question -> prediction, in the order in which they were asked."""

    @property
    def outcomes(self) -> tuple[PredictionResult, ...]:
        """Those that have been revealed."""
        return tuple(each.outcome for each in self.predictions.values() if each.outcome is not None)

    def to_dict(self) -> dict[str, Any]:
        """Number of questions asked, predicted and right, and each outcome."""
        found = self.outcomes
        return {
            "asked": len(self.predictions),
            "predicted": sum(each.chosen is not None for each in found),
            "right": sum(each.ok for each in found),
            "outcomes": [each.to_dict() for each in found],
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each question, the score below."""
        rows = tuple(
            ("✓" if each.ok else "○" if each.chosen is None else "✗", each.question, each.chosen or "-", each.came)
            for each in self.outcomes
        )
        data = self.to_dict()
        said = f"{data['right']} of {data['asked']} predicted rightly"
        if left := data["asked"] - data["predicted"]:
            said += f"; {left} without a prediction"
        columns = ("", "question", "predicted", "came")
        return (ReportTable(title="Your predictions", columns=columns, rows=rows, notes=(said,)),)


class Prediction:
    """A question with its options: choose one, run the next cell, which reveals what came."""

    def __init__(self, question: str, options: Sequence[str]) -> None:
        self.question = question
        self.options = tuple(options)
        self.outcome: PredictionResult | None = None
        """None until `reveal`."""
        self._radio = RadioButtons(options=self.options, value=None, layout=Layout(width="max-content"))
        self._box = VBox([HTML(f"<b>Predict first:</b> {question}"), self._radio])

    @property
    def chosen(self) -> str | None:
        """The option that is chosen now."""
        choice: str | None = self._radio.value
        return choice

    def choose(self, option: str) -> None:
        """Choose an option, as a reader does with the mouse.

        Raises:
            ConfigError: no such option, or what came has been revealed.
        """
        self._require_option(option)
        require(
            self.outcome is None,
            expected="a choice before the answer is shown",
            got="one after it",
            hint="run the cell that asks again",
        )
        self._radio.value = option

    def reveal(self, came: str) -> PredictionResult:
        """Say what came; the choice counts as it was at the first call.

        Raises:
            ConfigError: `came` is no option.
        """
        self._require_option(came)
        if self.outcome is None:
            self.outcome = PredictionResult(question=self.question, chosen=self.chosen, came=came)
            self._radio.disabled = True
        return self.outcome

    def _require_option(self, option: str) -> None:
        if option not in self.options:
            raise ConfigError(f"one of {', '.join(map(repr, self.options))}", repr(option), "choose among them")

    def __str__(self) -> str:
        lines = [f"{'●' if option == self.chosen else '○'} {option}" for option in self.options]
        return "\n".join([f"Predict first: {self.question}", *lines])

    __repr__ = __str__

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The buttons, and the same as HTML and text where a page cannot show widgets."""
        notes = tuple(str(self).splitlines()[1:])
        table = ReportTable(title=f"Predict first: {self.question}", columns=(), rows=(), notes=notes)
        return mime_bundle(self._box, table._repr_html_(), str(self), **options)


def predict(question: str, *options: str, score: PredictionScore) -> Prediction:
    """Ask what will come, before the cell that shows it.

    Args:
        question: one sentence.
        *options: at least two; exactly one comes true.
        score: collects the lesson's predictions.

    Returns:
        A `Prediction`: as the last line of a cell it shows the options. `.reveal(option)` says which one came true.

    Raises:
        ConfigError: fewer than two options, or one twice.
    """
    require(
        len(set(options)) == len(options) >= 2,
        expected="two or more options, each once",
        got=", ".join(map(repr, options)) or "none",
        hint="write what may come, in a few words each",
    )
    prediction = Prediction(question, options)
    score.predictions[question] = prediction
    return prediction
