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
    """

    def __init__(self, budget: float | None, epochs: int, ranks: int) -> None:
        self.budget = budget
        self.epochs = epochs
        self.ranks = ranks
        self.spent = 0.0
        """Operations so far: training, readings, and what decides about changes."""
        self.readings = 0.0
        """Operations of the readings among them."""
        self.forward = 0.0
        """Operations of one forward on one image of what is trained now."""
        self._measured = ""

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
        self.spent += FORWARDS_OF_STEP * self.forward * len(y_B) * self.ranks

    def read(self, images: int) -> None:
        """Add a reading of so many images."""
        self.spent += self.forward * images
        self.readings += self.forward * images

    def affords_reading(self, data: EpochData, share: float) -> bool:
        """Whether with one more reading of the selection split all of them take at most `share` of what was spent."""
        images = sum(len(y_B) for _, y_B in data.selection())
        return self.readings + self.forward * images <= share * self.spent

    def epoch(self, data: EpochData, split: Split = Split.TRAIN) -> float:
        """Operations of an epoch on `split`."""
        rows = len(next(iter(data.batches(split, 0)))[1])
        return FORWARDS_OF_STEP * self.forward * data.length(split) * rows * self.ranks

    def planned(self, data: EpochData) -> float:
        """Operations of the whole run: its budget, or all its epochs of the network as it is."""
        return self.epoch(data) * self.epochs if self.budget is None else self.budget

    def share(self, epoch: int) -> float:
        """Share of the run that is done, by its epochs or by what it has spent of its budget, whichever is more."""
        share = epoch / max(self.epochs, 1)
        return share if self.budget is None else max(share, min(self.spent / self.budget, 1.0))

    def share_after(self, epoch: int, data: EpochData, split: Split) -> float:
        """Share of the run that will be done after an epoch on `split`."""
        share = (epoch + 1) / max(self.epochs, 1)
        if self.budget is None:
            return share
        return max(share, min((self.spent + self.epoch(data, split)) / self.budget, 1.0))

    def set_rate(self, rate: LearningRate, phases: Phases, epoch: int, data: EpochData, split: Split) -> None:
        """Set the learning rate of an epoch on `split`, and how each of its steps moves it."""
        steps = data.length(split)
        begins, ends = self.share(epoch), self.share_after(epoch, data, split)
        rate.begin(
            begins * self.epochs,
            phases.share,
            step=(ends - begins) * self.epochs / steps,
            phase_step=phases.epoch_share / steps,
        )

    def has_epoch_left(self, data: EpochData) -> bool:
        """Whether the budget pays for another epoch."""
        return self.budget is None or self.spent + self.epoch(data) <= self.budget

    def state_dict(self) -> dict[str, float]:
        """What was counted."""
        # Stored runs without a budget never ask for it: their state stays what it was.
        readings = {} if self.budget is None else {"readings": self.readings}
        return {"spent": self.spent, "forward": self.forward, **readings}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where `state_dict` was taken."""
        self.spent, self.forward = state["spent"], state["forward"]
        self.readings = state.get("readings", 0.0)
