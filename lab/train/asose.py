"""ASO-SE: alternating training of weights and architecture with a live network that mutates.

warmup -> arch_training -> mutation -> weight_retraining -> arch_training -> ..., `total_cycles` times; a mutation takes
no epoch. The first mutation phase takes the live network from the supernet; each later one changes it.
B batch, C channels, H height, W width, E edges, K primitives.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import TrainingError
from lab.nn import SuperNet, train_mode
from lab.space import Table
from lab.store import AlertEvent, PhaseEvent, Record, RollbackEvent, TemperatureEvent
from lab.train.architecture import ArchitectureTrainer
from lab.train.describe import describe_search
from lab.train.evaluate import evaluate
from lab.train.growth import Growth
from lab.train.live import LiveNetwork
from lab.train.mutation import Mutator
from lab.train.optimizer import LearningRate, weight_step
from lab.train.restore import RollbackLimit
from lab.train.search import ASOSEConfig
from lab.train.strategy import EpochData, Evaluation, StepReport
from lab.train.trees import clone_tree

STRENGTH_FLOOR = 1 / 8


class ASOSEStrategy:
    """The four phases, as a strategy of the training loop.

    Args:
        supernet: on the device that the batches come on.
        config: phases, exploration, mutation, optimizers.
        seed: run seed.
        epochs: epochs of the run, over which the learning rate falls.
        table: true accuracies of the space's cells; only shown, never used.
    """

    def __init__(
        self, supernet: SuperNet, config: ASOSEConfig, *, seed: int, epochs: int, table: Table | None = None
    ) -> None:
        self.config = config
        self.epochs = epochs
        self.table = table
        self.space = supernet.space
        self.live = LiveNetwork(
            supernet, lr=config.weight_lr, momentum=config.weight_momentum, weight_decay=config.weight_decay
        )
        self.architecture = ArchitectureTrainer(supernet, config, seed=seed)
        self.explorer = self.architecture.explorer
        self.mutator = Mutator(self.live, kind=config.mutation_kind, seed=seed, reject_sigmas=config.reject_sigmas)
        self.growth = Growth(supernet, kinds=config.growth_kinds, factor=config.growth_factor, seed=seed)
        self.records: list[Record] = []
        self._phase = "warmup"
        self._left = config.warmup_epochs
        self._fresh = True
        self.cycle = 0
        self.rate = LearningRate(self.live.optimizer, config.weight_lr, epochs)
        self.rollbacks = RollbackLimit(config.max_rollbacks)
        self.strength_scale = 1.0
        self.best_loss = math.inf
        self.waited = 0
        self.restore_point: dict[str, Any] | None = None

    @property
    def phase(self) -> str:
        """warmup, arch_training, mutation, weight_retraining or finished."""
        return self._phase

    @property
    def segment(self) -> str:
        """Phase and cycle."""
        return f"{self._phase} {self.cycle}"

    @property
    def network(self) -> nn.Module | None:
        """The child; None before the first mutation phase."""
        return self.live.child

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> str:
        """Prepare `epoch`; a mutation phase is passed through here."""
        if self._phase == "mutation":
            self._announce(epoch, 0)
            self._mutation_phase(epoch, step, data)
            self._enter("weight_retraining", self.config.weight_training_epochs)
        if self._fresh:
            self._fresh = False
            self._announce(epoch, self._left)
            if not self.mutator.pending:
                self._set_restore_point(step)
            if self._phase == "arch_training":
                self._tell_temperature(self.config.temperature_schedule)
        self.rate.begin(epoch)
        self.architecture.scores = []
        return "architecture" if self._phase == "arch_training" else "weights"

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> StepReport:
        """One step of the phase: supernet weights, architecture parameters, or the live network's weights."""
        beta = None
        if self._phase == "arch_training":
            numbers = self.architecture.step(x_BCHW, y_B)
        elif self._phase == "warmup":
            sample = self.explorer.ask_uniform()
            train_mode(self.live.supernet)
            numbers = self._weight_step(lambda x: self.live.supernet(x, sample), x_BCHW, y_B)
        else:
            child = self.live.child
            assert child is not None
            grown, beta = self.growth.advance(child), self.mutator.advance()
            beta = grown if beta is None else beta
            train_mode(child)
            numbers = self._weight_step(child, x_BCHW, y_B)
        loss, accuracy, norm = numbers
        return StepReport(
            loss=loss,
            accuracy=accuracy,
            grad_norm=norm,
            lr=self.config.arch_lr if self._phase == "arch_training" else self.rate.value,
            temperature=self.explorer.temperature,
            beta=beta,
        )

    def _weight_step(self, forward: Any, x_BCHW: Tensor, y_B: Tensor) -> tuple[float, float, float]:
        return weight_step(forward, x_BCHW, y_B, self.live.optimizer, grad_clip=self.config.grad_clip)

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation | None:
        """Count the epoch, unless it was rolled back, and change phase where it was the last one."""
        if self.rollbacks.end_epoch():
            return None
        self._left -= 1
        evaluation = None
        if self._phase == "arch_training":
            self.architecture.end_epoch()
            self._tell_temperature(self.config.temperature_schedule)
            self._tell_genotype("epoch")
        elif self._phase == "weight_retraining":
            assert self.live.child is not None
            evaluation = evaluate(self.live.child, data.decisions())
            if self._left <= 0 and self._decide(evaluation) == "rejected":
                evaluation = evaluate(self.live.child, data.decisions())
            self._watch(evaluation)
        if self._left <= 0 and self._phase != "finished":
            self._next_phase()
        return evaluation

    def _next_phase(self) -> None:
        if self._phase == "warmup":
            self._enter("arch_training", self.config.arch_training_epochs)
        elif self._phase == "arch_training" and not self.mutator.pending:
            self._enter("mutation", 0)
        elif self._phase == "arch_training":
            # A mutation that a person asked for is under way; it takes this cycle's place.
            self._enter("weight_retraining", self.config.weight_training_epochs)
        else:
            self.cycle += 1
            if self.cycle == self.config.total_cycles:
                self._enter("finished", 0)
            else:
                self._enter("arch_training", self.config.arch_training_epochs)

    def _enter(self, phase: str, epochs: int) -> None:
        self._phase, self._left, self._fresh = phase, epochs, True

    def _announce(self, epoch: int, epochs: int) -> None:
        self.records.append(PhaseEvent(phase=self._phase, epoch=epoch, epochs=epochs, cycle=self.cycle))

    def _mutation_phase(self, epoch: int, step: int, data: EpochData) -> None:
        # Before the restore point: a mutation that is taken back leaves the network as large as it is.
        if self.live.child is not None:
            self.records += self.growth.grow(
                self.live.child,
                self.live.optimizer,
                probe_BCHW=next(data.decisions())[0],
                statistics=data.statistics(epoch),
                steps=self._hand_over_steps(data),
            )
        self._set_restore_point(step)
        if self.live.child is None:
            self._take(epoch, data)
        elif not self._mutate(epoch, data, requested="schedule"):
            text = f"no cell to go to: {len(self.mutator.barred)} are barred"
            self.records.append(AlertEvent(level="warning", title="No mutation", text=text))

    def _take(self, epoch: int, data: EpochData) -> None:
        probe_BCHW = next(data.decisions())[0]
        difference = self.live.take(self.explorer.likeliest, data.statistics(epoch), probe_BCHW)
        text = f"taken from the supernet; relative output difference to the supernet's own path {difference:.1e}"
        self.records.append(AlertEvent(level="info", title="Live network", text=text))
        self._tell_genotype("taken")

    def _mutate(self, epoch: int, data: EpochData, *, requested: str) -> bool:
        child = self.live.child
        assert child is not None
        strength = self.config.mutation_strength * self.strength_scale
        target = self.mutator.propose(child.genotype, strength, self.explorer.probabilities().tolist())
        if target is None:
            return False
        before = evaluate(child, data.decisions())
        event = self.mutator.apply(
            target,
            requested=requested,
            steps=self._hand_over_steps(data),
            before=before,
            statistics=data.statistics(epoch),
            probe_BCHW=next(data.decisions())[0],
        )
        self.records.append(event)
        self._tell_genotype("mutation")
        return True

    def _hand_over_steps(self, data: EpochData) -> int:
        return math.ceil(self.config.weight_training_epochs * data.length("weights") / 2)

    def _decide(self, evaluation: Evaluation) -> str:
        if not self.mutator.pending:
            return "nothing pending"
        worse, text = self.mutator.worse(evaluation)
        if not worse and self.mutator.complete:
            self.records += self.mutator.accept(evaluation, f"kept: {text}")
            return "accepted"
        reason = f"taken back: {text}" if worse else "taken back: the hand-over was not complete"
        self.records += self.mutator.reject(evaluation, reason)
        self._restore(reason)
        return "rejected"

    def _watch(self, evaluation: Evaluation) -> None:
        if evaluation.loss < self.best_loss * (1.0 - self.config.performance_threshold):
            self.best_loss, self.waited = evaluation.loss, 0
            return
        self.waited += 1
        patience = self.config.early_stopping_patience
        if patience and self.waited >= patience and not self.mutator.pending and self._phase != "finished":
            text = f"no better decision loss than {self.best_loss:.4f} for {self.waited} epochs"
            self.records.append(AlertEvent(level="info", title="Stopped early", text=text))
            self._enter("finished", 0)

    def finish(self, epoch: int, data: EpochData) -> None:
        """Leave a live network that is no mixture: an unfinished hand-over is taken back."""
        if self.live.child is None:
            self._take(epoch, data)
        assert self.live.child is not None
        if self.mutator.pending:
            self._decide(evaluate(self.live.child, data.decisions()))
        self.growth.settle(self.live.child)
        self._phase = "finished"
        self._announce(epoch, 0)

    def lower_rate(self, factor: float) -> tuple[float, float] | None:
        """Multiply the weights' learning rate by `factor`."""
        return self.rate.lower(factor)

    def gentler_mutation(self, factor: float) -> tuple[float, float] | None:
        """Multiply the mutation strength by `factor`."""
        if self.strength_scale * factor < STRENGTH_FLOOR:
            return None
        before = self.config.mutation_strength * self.strength_scale
        self.strength_scale *= factor
        return before, before * factor

    def rollback(self, reason: str) -> None:
        """Restore the last restore point; pending mutations are rejected and their genotypes barred.

        Raises:
            TrainingError: `max_rollbacks` in a row.
        """
        self.rollbacks.add(reason)
        pending = bool(self.mutator.pending)
        self.records += self.mutator.reject(None, f"taken back: {reason}")
        self._restore(reason)
        self.rate.lower(0.5)
        if pending:
            self._next_phase()

    def _set_restore_point(self, step: int) -> None:
        self.restore_point = clone_tree(
            {
                "live": self.live.state_dict(),
                "growth": self.growth.state_dict(),
                "architecture": self.architecture.values(),
                "torch_rng": torch.get_rng_state(),
                "step": step,
            }
        )

    def _restore(self, reason: str) -> None:
        assert self.restore_point is not None
        point = clone_tree(self.restore_point)
        self.live.load_state_dict(point["live"])
        self.growth.load_state_dict(point["growth"])
        self.architecture.restore(point["architecture"])
        torch.set_rng_state(point["torch_rng"])
        barred = self.mutator.barred[-1].to_json() if self.mutator.barred else None
        self.records.append(RollbackEvent(reason=reason, to_step=point["step"], barred=barred))
        self._tell_genotype("rollback")

    def mutate_now(self, epoch: int, step: int, data: EpochData) -> str:
        """Mutate the live network at once.

        Raises:
            TrainingError: there is no live network yet, or every edge is under hand-over.
        """
        if self.live.child is None:
            raise TrainingError("a live network", f"phase {self._phase}", "wait until the first mutation phase")
        if self._phase == "finished":
            raise TrainingError("a run that goes on", "its end", "start another run")
        if not self.mutator.pending:
            self._set_restore_point(step)
        if not self._mutate(epoch, data, requested="control"):
            raise TrainingError(
                "a cell that is neither barred nor under hand-over", "none", "wait until the hand-over has ended"
            )
        if self._phase == "weight_retraining":
            self._left = max(self._left, self.config.weight_training_epochs)
        return f"mutation {self.mutator.number} applied"

    def set_temperature(self, temperature: float) -> None:
        """Set the Gumbel temperature until the schedule's next step."""
        self.explorer.set_temperature(temperature)
        self._tell_temperature("control")

    def _tell_temperature(self, schedule: str) -> None:
        self.records.append(TemperatureEvent(temperature=self.explorer.temperature, schedule=schedule))

    def _tell_genotype(self, reason: str) -> None:
        live = self.explorer.likeliest if self.live.child is None else self.live.child.genotype
        self.records.append(describe_search(self.explorer, live, self.table, reason))

    @property
    def morphs(self) -> tuple[dict[str, Any], ...]:
        """Every growth so far, in order."""
        return self.growth.steps

    def rebuild(self, morphs: tuple[dict[str, Any], ...]) -> None:
        """Give the fresh supernet the structure of a checkpoint.

        Raises:
            MorphError: these are no growths of this network.
        """
        self.growth.replay(morphs, self.live.optimizer)

    def modules(self) -> tuple[object, ...]:
        """Supernet, child, explorer and both optimizers."""
        parts = (self.live.supernet, self.live.child, self.explorer, self.live.optimizer, self.architecture.optimizer)
        return tuple(part for part in parts if part is not None)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "live": self.live.state_dict(),
            "growth": self.growth.state_dict(),
            "architecture": self.architecture.state_dict(),
            "mutator": self.mutator.state_dict(),
            "rate": self.rate.state_dict(),
            "rollbacks": self.rollbacks.count,
            "restore_point": self.restore_point,
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
        """
        state = clone_tree(state)
        self.live.load_state_dict(state["live"])
        self.growth.load_state_dict(state["growth"])
        self.architecture.load_state_dict(state["architecture"])
        self.mutator.load_state_dict(state["mutator"])
        self.restore_point = state["restore_point"]
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        self.rate.load_state_dict(state["rate"])
        self.rollbacks.count = state["rollbacks"]

    def summary(self) -> dict[str, Any]:
        """Genotype, parameters and mutations."""
        child = self.live.child
        return {
            "genotype": None if child is None else child.genotype.to_json(),
            "parameters": 0 if child is None else sum(p.numel() for p in child.parameters()),
            "supernet_parameters": sum(p.numel() for p in self.live.supernet.parameters()),
            "mutations": self.mutator.counts,
            "largest_difference": self.mutator.largest_difference,
        }


_NUMBERS = ("_phase", "_left", "_fresh", "cycle", "strength_scale", "best_loss", "waited")
