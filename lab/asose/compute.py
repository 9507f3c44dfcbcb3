"""`ComputeMeter`: floating-point operations that a search has spent, and what they leave of its budget."""

from torch import Tensor, nn

from lab.asose.phases import Phases
from lab.nn import measure_flops
from lab.nn.flops import FORWARDS_OF_STEP
from lab.train import EpochData, Split
from lab.train.optimizer import LearningRate


class ComputeMeter:
    """Counts training as 3 x forward x images and readings as 1 x forward x images.

    Args:
        budget: operations after which the run ends, > 0; None for a run of so many epochs.
        epochs: of the run.
        ranks: processes that share each batch.
        whole_epochs: whether the run ends with the last epoch that the budget pays for, not with the last step.
    """

    def __init__(self, budget: float | None, epochs: int, ranks: int, *, whole_epochs: bool = False) -> None:
        self.budget = budget
        self.epochs = epochs
        self.ranks = ranks
        self.whole_epochs = whole_epochs
        self.spent = 0.0
        """Operations so far: training, readings, and what decides about changes."""
        self.readings = 0.0
        """Operations of the readings among them."""
        self.forward = 0.0
        """Operations of one forward on one image of what is trained now."""
        self._measured = ""
        self._batch = 0
        """Images of the largest batch so far, of all ranks."""
        self._selection = 0
        """Images of the selection split."""

    def measure(self, network: nn.Module, data: EpochData) -> None:
        """Count one forward of `network`, which is trained from now on; what looks the same is not counted again."""
        # Text of the tree of modules: their kinds, places and sizes. A count takes as long as several training steps.
        text = repr(network)
        if text == self._measured:
            return
        self.forward = float(measure_flops(network, next(iter(data.selection()))[0][:1]))
        self._measured = text

    def step(self, y_B: Tensor) -> None:
        """Add a training step on this rank's rows of a batch."""
        images = len(y_B) * self.ranks
        self._batch = max(self._batch, images)
        self.spent += FORWARDS_OF_STEP * self.forward * images

    def read(self, images: int) -> None:
        """Add a reading of so many images."""
        self.spent += self.forward * images
        self.readings += self.forward * images

    def affords_reading(self, data: EpochData, share: float) -> bool:
        """Whether with one more reading of the selection split all of them take at most `share` of what was spent."""
        return self.readings + self.forward * _held_out(data) <= share * self.spent

    def epoch(self, data: EpochData, split: Split = Split.TRAIN) -> float:
        """Operations of an epoch on `split`."""
        rows = len(next(iter(data.batches(split, 0)))[1])
        return FORWARDS_OF_STEP * self.forward * data.length(split) * rows * self.ranks

    def planned(self, data: EpochData) -> float:
        """Operations of the whole run: its budget, or all its epochs of the network as it is."""
        return self.epoch(data) * self.epochs if self.budget is None else self.budget

    def share(self, epoch: int, data: EpochData, more: float = 0.0) -> float:
        """Share of the run that is done after `epoch` epochs and, beside what was spent, `more` operations.

        By what it has spent of its budget where that ends it; else by its epochs, or by both, whichever is more.
        """
        by_epochs = epoch / max(self.epochs, 1)
        if self.budget is None:
            return by_epochs
        spent = min((self.spent + more) / self.budget, 1.0)
        budget_ends = not self.whole_epochs and self.budget <= self.epochs * self.epoch(data)
        return spent if budget_ends else max(by_epochs, spent)

    def set_rate(self, rate: LearningRate, phases: Phases, epoch: int, data: EpochData, split: Split) -> None:
        """Set the learning rate of an epoch on `split`, and how each of its steps moves it."""
        steps = data.length(split)
        # Without a budget no batch is drawn to see its size.
        costs = 0.0 if self.budget is None else self.epoch(data, split)
        begins, ends = self.share(epoch, data), self.share(epoch + 1, data, costs)
        self._selection = _held_out(data)
        rate.begin(
            begins * self.epochs,
            phases.share,
            step=(ends - begins) * self.epochs / steps,
            phase_step=phases.epoch_share / steps,
        )

    def has_epoch_left(self, data: EpochData) -> bool:
        """Whether the budget pays for another epoch, or for the first step of one."""
        if self.budget is None:
            return True
        return self.spent + self.epoch(data) <= self.budget if self.whole_epochs else not self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether the budget does not pay for another step and the reading behind it."""
        if self.budget is None or self.whole_epochs:
            return False
        return self.spent + self.forward * (FORWARDS_OF_STEP * self._batch + self._selection) > self.budget

    def state_dict(self) -> dict[str, float]:
        """What was counted."""
        # Stored runs without a budget never ask for it: their state stays what it was.
        more = {"readings": self.readings, "batch": self._batch, "selection": self._selection}
        return {"spent": self.spent, "forward": self.forward, **({} if self.budget is None else more)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where `state_dict` was taken."""
        self.spent, self.forward = state["spent"], state["forward"]
        # Earlier versions read after every epoch, and ended with a whole one.
        self.readings = state.get("readings", 0.0)
        self._batch, self._selection = int(state.get("batch", 0)), int(state.get("selection", 0))


def _held_out(data: EpochData) -> int:
    return sum(len(y_B) for _, y_B in data.selection())
