"""How often a run may be rolled back before it has failed."""

from lab.base import TrainingError


class RollbackLimit:
    """Counts roll-backs in a row.

    Args:
        most: roll-backs in a row that are borne, >= 1.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.now = False

    def add(self, reason: str) -> None:
        """One more roll-back.

        Raises:
            TrainingError: it is one too many.
        """
        self.count += 1
        self.now = True
        if self.count > self.most:
            raise TrainingError(
                f"a run that goes on after {self.most} roll-backs in a row",
                f"another one: {reason}",
                "lower --weight-lr or look at the data",
            )

    def end_epoch(self) -> bool:
        """Whether this epoch was rolled back; one that was not ends the row."""
        rolled_back, self.now = self.now, False
        if not rolled_back:
            self.count = 0
        return rolled_back
