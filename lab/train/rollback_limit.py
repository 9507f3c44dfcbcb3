"""How often a run may be rolled back before it has failed."""

from lab.base import TrainingError


class RollbackLimit:
    """Counts rollbacks in a row.

    Args:
        most: rollbacks in a row that are allowed, >= 1.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.now = False

    def add(self, reason: str) -> None:
        """Count one more rollback.

        Raises:
            TrainingError: more than `most` in a row.
        """
        self.count += 1
        self.now = True
        if self.count > self.most:
            raise TrainingError(
                f"at most {self.most} rollbacks in a row",
                f"a run that was rolled back more than {self.most} times in a row: {reason}",
                "lower --weight-lr or look at the data",
            )

    def end_epoch(self) -> bool:
        """Whether this epoch was rolled back; an epoch that was not resets the count."""
        rolled_back, self.now = self.now, False
        if not rolled_back:
            self.count = 0
        return rolled_back
