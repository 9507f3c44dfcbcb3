"""`LiveNetworkController`: extracts, grows and mutates the live network, then accepts or rolls back each mutation.

B batch, C channels, H height, W width.
"""

import math
from typing import Any

from torch import Tensor

from lab.asose.architecture import ArchitectureTrainer
from lab.asose.config import ASOSEConfig
from lab.asose.events import describe_edits, describe_search
from lab.asose.growth import Growth
from lab.asose.live_network import LiveNetwork
from lab.asose.mutation_trial import MutationTrials
from lab.asose.mutator import Mutator
from lab.nn import EvolvableNetwork, SuperNet
from lab.probe import ProofSamples
from lab.space import Genotype, Table
from lab.state import clone_state, rng_state, set_rng_state, state_digest
from lab.store import AlertEvent, Record, RollbackEvent
from lab.train import Criterion, EpochData, Evaluation, OptimizerConfig, Split, StepOptions, WeightStep, evaluate
from lab.trial import TrialConfig

ONE_EDGE = 1e-6
"""Mutation strength that changes one edge of any cell."""
STRENGTH_FLOOR = 1 / 8
"""Smallest scale of the mutation strength."""


class LiveNetworkController:
    """The live network and everything that changes its structure. Rank 0 decides; every rank does the same.

    Args:
        supernet: on the device that the batches come on.
        architecture: gives the most probable cell and the probabilities of a guided mutation.
        config: mutation, growth.
        weights: optimizer of the weights.
        seed: run seed.
        options: how a step on the weights is taken; its group are the processes that train together.
        table: true accuracies of the space's cells; only shown, never used.
    """

    def __init__(
        self,
        supernet: SuperNet,
        architecture: ArchitectureTrainer,
        config: ASOSEConfig,
        weights: OptimizerConfig,
        *,
        seed: int,
        options: StepOptions,
        table: Table | None,
    ) -> None:
        self.config = config
        self.group = options.group
        self.table = table
        self.architecture = architecture
        self.explorer = architecture.explorer
        self.live = LiveNetwork(
            supernet,
            lr=weights.weight_lr,
            momentum=weights.weight_momentum,
            weight_decay=weights.weight_decay,
            average=weights.weight_average,
        )
        self.mutator = Mutator(self.live, kind=config.mutation_kind, seed=seed, reject_z=config.reject_z)
        self.growth = Growth(
            supernet,
            kinds=config.growth_kinds,
            factor=config.growth_factor,
            seed=seed,
            units=config.growth_units,
            average=self.live.average,
        )
        self.trials = MutationTrials(
            self.live,
            TrialConfig(steps=config.trial_steps, share=config.trial_share),
            options=options,
            grad_clip=weights.grad_clip,
            seed=seed,
        )
        self.proof = ProofSamples()
        self.records: list[Record] = []
        self.criterion = Criterion()
        self.strength_scale = 1.0
        self.images_read = 0
        self.restore_point: dict[str, Any] | None = None
        self.origin: dict[str, Any] | None = None
        """For mutation_test restart: the weights that exploration left, from which every cell's training starts."""

    @property
    def child(self) -> EvolvableNetwork:
        """The live network, which must be there."""
        assert self.live.child is not None
        return self.live.child

    def read(self, data: EpochData) -> Evaluation:
        """The live network on the selection split."""
        evaluation = self.group.broadcast(evaluate(self.child, data.selection(), self.criterion))
        self.images_read += len(evaluation.losses_N)
        return evaluation

    def told(self, evaluation: Evaluation | None, data: EpochData) -> Evaluation | None:
        """What a run tells where its network was read: of the average where one is kept, which decides nothing."""
        if evaluation is None or self.live.averaged is None:
            return evaluation
        read: Evaluation = self.group.broadcast(evaluate(self.live.averaged, data.selection(), self.criterion))
        return read

    def take_images_read(self) -> int:
        """Images on which the live network was read since this was last asked."""
        count, self.images_read = self.images_read, 0
        return count

    def mutation_phase(self, epoch: int, step: int, cycle: int, data: EpochData) -> None:
        """Take the live network in the first cycle (0); grow and mutate it in later ones, where they are due."""
        # Before the restore point: a mutation that is rolled back leaves the network as large as it is.
        if self.live.child is not None and self._grows(cycle):
            self._grow(epoch, data)
        self.set_restore_point(step)
        if self.live.child is None:
            self.extract_child(epoch, data)
        elif cycle % self.config.mutation_frequency:
            text = f"the cell changes every {self.config.mutation_frequency} cycles; this one trains it unchanged"
            self.records.append(AlertEvent(level="info", title="No mutation", text=text))
        elif self.config.mutation_test != "trial" and not self.mutate(epoch, data, requested="schedule"):
            self._tell_no_candidate()
        self._broadcast_buffers()
        self._check_ranks("network after the mutation phase")

    def _grow(self, epoch: int, data: EpochData) -> None:
        """Make the next growth, with its proof."""
        before_PK = self._ask(data)
        for event in self.growth.grow(
            self.child,
            self.live.optimizer,
            probe_BCHW=next(data.selection())[0],
            statistics=data.statistics(epoch),
            steps=self._transition_steps(data),
        ):
            self.records.append(event)
            title = (
                f"{event.what} at {event.where}: {event.parameters_before:,} -> {event.parameters_after:,} parameters"
            )
            self._prove(before_PK, self._ask(data), what="growth", number=len(self.growth.grown), title=title)

    def _ask(self, data: EpochData) -> Tensor:
        """What the live network says of the proof's samples (P, K)."""
        self.proof.take(data.selection)
        return self.proof.ask(self.child)

    def _prove(
        self, before_PK: Tensor, after_PK: Tensor, *, what: str, number: int, title: str, exact: bool = True
    ) -> None:
        self.records.append(self.proof.event(before_PK, after_PK, what=what, number=number, title=title, exact=exact))

    def try_mutation(self, epoch: int, data: EpochData, own_step: WeightStep, remaining: float) -> float:
        """Try a cell that differs in one edge, and keep it where it is better; operations that this took.

        Args:
            epoch: of the run.
            data: batches to train on and the selection split.
            own_step: the run's own step: the network that was not changed trains on meanwhile.
            remaining: operations that the run has left.
        """
        old = self.child.genotype
        proposed = self.mutator.propose(old, ONE_EDGE, self.architecture.guide())
        serialized = self.group.broadcast(None if proposed is None else proposed.to_json())
        if serialized is None:
            self._tell_no_candidate()
            return 0.0
        target = Genotype.from_json(serialized)
        paid = self.trials.ledger.spent
        self.proof.take(data.selection)
        tried = self.trials.run(
            target,
            epoch=epoch,
            data=data,
            own_step=own_step,
            criterion=self.criterion,
            remaining=remaining,
            proof=self.proof,
        )
        if tried.result.made:
            self.records += self.mutator.tried(target, tried, old, "schedule")
            self._prove(*tried.asked, what="mutation", number=self.mutator.number, title=describe_edits(old, target))
            self.tell_genotype("mutation")
        else:
            self.records.append(AlertEvent(level="info", title="No trial", text=tried.result.reason))
        self._broadcast_buffers()
        self._check_ranks("network after the trial")
        return tried.trained + self.trials.ledger.spent - paid

    def _tell_no_candidate(self) -> None:
        text = f"no candidate cell left, {len(self.mutator.excluded)} are excluded"
        self.records.append(AlertEvent(level="warning", title="No mutation", text=text))

    def _grows(self, cycle: int) -> bool:
        return not self.config.growth_schedule or cycle + 1 in self.config.growth_schedule

    def extract_child(self, epoch: int, data: EpochData) -> None:
        """Make the live network from the supernet."""
        probe_BCHW = next(data.selection())[0]
        chosen = Genotype.from_json(self.group.broadcast(self.architecture.select(data).to_json()))
        if self.config.mutation_test == "restart":
            self.origin = clone_state(self.live.state_dict())
        asked: list[Tensor] = []
        self.proof.take(data.selection)
        difference = self.live.extract(
            chosen, data.statistics(epoch), probe_BCHW, lambda *both: asked.extend(map(self.proof.ask, both))
        )
        text = f"extracted from the supernet; relative output difference to the supernet's own path {difference:.1e}"
        self.records.append(AlertEvent(level="info", title="Live network", text=text))
        if self.live.average is not None:
            self.records.append(self.live.average.event())
        self.tell_genotype("extracted")
        self._prove(*asked, what="extraction", number=1, title="the live network, taken out of the supernet")

    def mutate(self, epoch: int, data: EpochData, *, requested: str) -> bool:
        """Propose a cell and begin the transition to it; whether there was one to go to."""
        strength = self.config.mutation_strength * self.strength_scale
        proposed = self.mutator.propose(self.child.genotype, strength, self.architecture.guide())
        serialized = self.group.broadcast(None if proposed is None else proposed.to_json())
        if serialized is None:
            return False
        before = self.read(data)
        gradual = self.config.preserve_function and self.origin is None
        if self.origin is not None:
            old = self.child.genotype
            self.live.load_state_dict(clone_state(self.origin))
            self.live.extract(old, data.statistics(epoch), next(data.selection())[0])
        old, target, before_PK = self.child.genotype, Genotype.from_json(serialized), self._ask(data)
        event = self.mutator.apply(
            target,
            requested=requested,
            steps=self._transition_steps(data) if gradual else 0,
            before=before,
            statistics=data.statistics(epoch),
            probe_BCHW=next(data.selection())[0],
        )
        self.records.append(event)
        title = describe_edits(old, target)
        self._prove(before_PK, self._ask(data), what="mutation", number=event.number, title=title, exact=gradual)
        self.tell_genotype("mutation")
        return True

    def _transition_steps(self, data: EpochData) -> int:
        return math.ceil(self.config.weight_training_epochs * data.length(Split.TRAIN) / 2)

    def advance(self) -> float | None:
        """Move every transition on by one training step; the latest one's beta, None where none is live."""
        grown, beta = self.growth.advance(self.child), self.mutator.advance()
        return grown if beta is None else beta

    def decide(self, evaluation: Evaluation) -> str:
        """Keep the pending mutations or take them back: nothing pending, accepted or rejected."""
        if not self.mutator.pending:
            return "nothing pending"
        worse, text = self.group.broadcast(self.mutator.worse(evaluation))
        accepted = not worse and self.mutator.complete
        if accepted:
            self.records += self.mutator.accept(evaluation, f"kept: {text}")
        else:
            reason = f"rolled back: {text}" if worse else "rolled back: the transition was not complete"
            self.records += self.mutator.reject(evaluation, reason)
            self.restore(reason)
        self._check_ranks("network after the decision")
        return "accepted" if accepted else "rejected"

    def reduce_strength(self, factor: float) -> tuple[float, float] | None:
        """Multiply the mutation strength by `factor`; before and after, None where it is at its floor."""
        if self.strength_scale * factor < STRENGTH_FLOOR:
            return None
        before = self.config.mutation_strength * self.strength_scale
        self.strength_scale *= factor
        return before, before * factor

    def set_restore_point(self, step: int) -> None:
        """Keep the present state for `restore`; the search's own draws are not part of it."""
        self.restore_point = clone_state(
            {
                "live": self.live.state_dict(),
                "growth": self.growth.state_dict(),
                "architecture": self.architecture.values(),
                "rng": rng_state(),
                "step": step,
            }
        )

    def restore(self, reason: str) -> None:
        """Go back to the restore point, bit for bit."""
        assert self.restore_point is not None
        point = clone_state(self.restore_point)
        self.live.load_state_dict(point["live"])
        self.growth.load_state_dict(point["growth"])
        self.architecture.restore(point["architecture"])
        set_rng_state(point["rng"] if "rng" in point else {"torch": point["torch_rng"]})
        excluded = self.mutator.excluded[-1].to_json() if self.mutator.excluded else None
        self.records.append(RollbackEvent(reason=reason, to_step=point["step"], excluded=excluded))
        self.tell_genotype("rollback")

    def tell_genotype(self, reason: str) -> None:
        """What the search believes now, as an event."""
        live = self.explorer.argmax_genotype if self.live.child is None else self.live.child.genotype
        self.records.append(describe_search(self.explorer, live, self.table, reason))

    def _broadcast_buffers(self) -> None:
        for network in (self.child, self.live.averaged):
            if network is not None:
                self.group.broadcast_buffers(network)

    def _check_ranks(self, what: str) -> None:
        if self.group.size > 1:
            digest = state_digest(self.live.state_dict())
            self.group.check_equal(digest, what)
            text = f"{what}: digest {digest[:16]} on each of {self.group.size} ranks"
            self.records.append(AlertEvent(level="info", title="Ranks agree", text=text))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next change depends on."""
        return {
            "live": self.live.state_dict(),
            "growth": self.growth.state_dict(),
            "mutator": self.mutator.state_dict(),
            "restore_point": self.restore_point,
            "origin": self.origin,
            "strength_scale": self.strength_scale,
            "images_read": self.images_read,
            "trials": self.trials.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
        """
        self.live.load_state_dict(state["live"])
        self.growth.load_state_dict(state["growth"])
        self.mutator.load_state_dict(state["mutator"])
        self.restore_point = state["restore_point"]
        self.origin = state["origin"]
        self.strength_scale = state["strength_scale"]
        self.images_read = state.get("images_read", 0)
        # Earlier versions made no trials.
        if "trials" in state:
            self.trials.load_state_dict(state["trials"])
