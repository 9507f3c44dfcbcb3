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

Each says three things: what was expected, what came, what to do.
"""


class LabError(Exception):
    """An error that a person can act on: `expected`, `came` and `todo` in one line.

    Arguments are phrases without a final full stop, `expected` and `came` readable after those words.
    """

    def __init__(self, expected: str, came: str, todo: str) -> None:
        super().__init__(expected, came, todo)
        self.expected = expected
        self.came = came
        self.todo = todo

    def __str__(self) -> str:
        return f"expected {self.expected}; came {self.came}; {self.todo}"


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
