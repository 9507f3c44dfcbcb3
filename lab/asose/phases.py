"""The order of ASO-SE's phases, and how much of the one that runs is left."""

from typing import Any

from lab.asose.config import ASOSEConfig
from lab.asose.mutator import Mutator
from lab.asose.remedies import Remedies
from lab.store import PhaseEvent, Record


class Phases:
    """Which phase runs, for how many epochs more, and which comes after it.

    warmup -> arch_training -> mutation -> weight_retraining -> arch_training -> ..., `total_cycles` times, then the
    last weight_retraining, then finished. A phase of no epochs is passed over.

    Args:
        config: epochs of each phase, and the number of cycles.
        mutator: a mutation in transition takes the place of its cycle's own.
        remedies: a stop rule that they hold ends exploration for good.
        records: where the begin of each phase is told.
    """

    def __init__(self, config: ASOSEConfig, *, mutator: Mutator, remedies: Remedies, records: list[Record]) -> None:
        self.config = config
        self.mutator = mutator
        self.remedies = remedies
        self.records = records
        self.name = "mutation" if config.begins_with_cell else "warmup"
        self.left = config.warmup_epochs
        self.fresh = True
        """Whether none of its epochs has begun."""
        self.cycle = 0
        self.extended = False
        """Whether further cycles were asked for after the last."""
        self.pass_empty()

    @property
    def structure_is_final(self) -> bool:
        """Whether all cycles are over: what comes trains the network as it is."""
        return self.cycle >= self.config.total_cycles and not self.extended

    @property
    def share(self) -> float:
        """The part of the phase that is over, 0 to 1."""
        return min(max(1.0 - self.left / self._whole, 0.0), 1.0)

    @property
    def epoch_share(self) -> float:
        """What an epoch is of the phase, in (0, 1]."""
        return 1.0 / self._whole

    @property
    def _whole(self) -> int:
        if self.structure_is_final:
            return max(self.config.final_epochs, 1)
        return max(self.config.warmup_epochs if self.name == "warmup" else self.config.weight_training_epochs, 1)

    def enter(self, name: str, epochs: int) -> None:
        """Begin a phase; exploration that a stop rule has ended gets no epochs."""
        if name == "arch_training" and self.remedies.stopped:
            epochs = 0
        self.name, self.left, self.fresh = name, epochs, True

    def next(self) -> None:
        """Begin the phase after this one, passing over those of no epochs."""
        if self.name == "warmup":
            self.enter("arch_training", self.config.arch_training_epochs)
        elif self.name == "arch_training" and not self.mutator.pending:
            self.enter("mutation", 0)
        elif self.name == "arch_training":
            # A mutation that a person asked for is under way; it takes this cycle's place.
            self.enter("weight_retraining", self.config.weight_training_epochs)
        elif self.structure_is_final:
            self.enter("finished", 0)
        else:
            self.cycle += 1
            if not self.structure_is_final:
                self.enter("arch_training", self.config.arch_training_epochs)
            elif self.config.final_epochs:
                self.enter("weight_retraining", self.config.final_epochs)
            else:
                self.enter("finished", 0)
        self.pass_empty()

    def pass_empty(self) -> None:
        """Pass over a phase that has no epoch left; a mutation phase takes none."""
        if self.left <= 0 and self.name not in ("mutation", "finished"):
            self.next()

    def extend(self) -> None:
        """Go on in further cycles after the last one."""
        self.extended = True
        self.enter("arch_training", self.config.arch_training_epochs)
        self.pass_empty()

    def announce(self, epoch: int, epochs: int) -> None:
        """Tell that the phase begins at `epoch` and takes `epochs`."""
        self.records.append(PhaseEvent(phase=self.name, epoch=epoch, epochs=epochs, cycle=self.cycle))

    def state_dict(self) -> dict[str, Any]:
        """Phase, epochs left, cycle, under the names that stored runs have."""
        return {
            "_phase": self.name,
            "_left": self.left,
            "_fresh": self.fresh,
            "cycle": self.cycle,
            "extended": self.extended,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.name, self.left, self.fresh = state["_phase"], state["_left"], state["_fresh"]
        self.cycle = state["cycle"]
        # Earlier versions could not be extended.
        self.extended = state.get("extended", False)
