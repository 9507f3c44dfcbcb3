"""The exception tree of the lab.

    LabError
    |-- ConfigError        a setting outside its legal range, or two settings that exclude each other
    |-- DataError          a data set that is missing, damaged or of another form
    |-- PlacementError     a device that is absent, or data that cannot be moved
    |-- MaterializeError   a meta tensor without a source for its values
    |-- MorphError         surgery that cannot be exact
    |-- CheckpointError    a file that is damaged, foreign or of another architecture
    |-- StoreError         a run folder that cannot be read or written
    |-- TrainingError      a run that cannot go on
    `-- StudyError         a tuning study that cannot go on

Each says three things: what was expected, what it got, what to do.
"""


class LabError(Exception):
    """An error that a person can act on: `expected`, `got` and `hint` in one line.

    Arguments are phrases without a final full stop, `expected` and `got` readable after those words.
    """

    def __init__(self, expected: str, got: str, hint: str) -> None:
        super().__init__(expected, got, hint)
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        got = self.got.removesuffix(".")
        verb = "found" if got.split(" ")[0].rstrip(",") in ("none", "no", "nothing") else "got"
        return f"expected {self.expected}, {verb} {got}. {_sentence(self.hint)}"


def _sentence(text: str) -> str:
    """`text` with a capital and a full stop; a name of code, such as a flag or a call, stays as it is."""
    word = text.split(" ")[0].rstrip(",:;")
    plain = word.isalpha() and word.islower() and word != "lab"
    text = text[0].upper() + text[1:] if plain else text
    return text if text.endswith((".", "?", "!")) else f"{text}."


class ConfigError(LabError):
    """A setting outside its legal range, or two settings that exclude each other."""


class DataError(LabError):
    """A data set that is missing, damaged or of another form."""


class PlacementError(LabError):
    """A device that is absent, or data that cannot be moved to it."""


class MaterializeError(LabError):
    """A meta tensor without a source for its values."""


class MorphError(LabError):
    """Surgery that cannot be exact; the model is untouched."""


class CheckpointError(LabError):
    """A checkpoint file that is damaged, foreign or of another architecture."""


class StoreError(LabError):
    """A run folder that cannot be read or written."""


class TrainingError(LabError):
    """A training run that cannot go on."""


class StudyError(LabError):
    """A tuning study that cannot go on."""
