"""Reports that show their text in a console too, where HTML cannot be shown."""

from lab.base import Report


class LessonReport(Report):
    """A `Report` whose text, and not its field list, is what a console shows as a value.

    A dataclass below it says `repr=False`, or it would bring a field list of its own.
    """

    def __repr__(self) -> str:
        return str(self)
