"""Mutations of the live network: proposed, applied, handed over, then kept or rolled back."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from torch import Tensor

from lab.asose.live_network import LiveNetwork
from lab.asose.mutation_trial import TriedMutation
from lab.base import derive_seed
from lab.probe import outputs, relative_difference
from lab.space import Edge, Edit, Genotype, mutate
from lab.store import MutationEvent, Record
from lab.train import Evaluation, compare

DRAWS = 100
"""Samples after which no new genotype is looked for."""


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A mutation that was applied and not yet decided."""

    number: int
    old: Genotype
    new: Genotype
    requested: str
    difference: float
    loss_before: float
    losses_N: Tensor
    steps_done: int
    steps_total: int

    @property
    def beta(self) -> float:
        """Share of the new primitives: 0 at the mutation, 1 after `steps_total` training steps."""
        return min(self.steps_done / self.steps_total, 1.0) if self.steps_total else 1.0

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The changed edges."""
        return tuple(edit.edge for edit in self.old.diff(self.new))


class Mutator:
    """Proposes, applies and decides mutations of a `LiveNetwork`.

    Every draw is seeded by (run seed, number of the draw), so that it depends on nothing else that is random; numbers
    are not rolled back by a rollback, so a rejected draw is not repeated.
    """

    def __init__(self, live: LiveNetwork, *, kind: str, seed: int, reject_z: float) -> None:
        self.live = live
        self.kind = kind
        self.seed = seed
        self.reject_z = reject_z
        self.number = 0
        self.accepted = 0
        self.rejected = 0
        self.largest_difference = 0.0
        self.pending: tuple[Pending, ...] = ()
        self.excluded: tuple[Genotype, ...] = ()

    def propose(self, current: Genotype, strength: float, probabilities: list[list[float]]) -> Genotype | None:
        """Another genotype that is not excluded and changes no edge in transition; None after `DRAWS` draws."""
        busy = {edge for pending in self.pending for edge in pending.edges if pending.beta < 1.0}
        for draw in range(DRAWS):
            rng = Random(derive_seed(self.seed, "mutation", self.number + 1, draw))
            target = mutate(current, strength, self.kind, rng, probabilities)
            if target not in self.excluded and not busy & {edit.edge for edit in current.diff(target)}:
                return target
        return None

    def apply(
        self,
        target: Genotype,
        *,
        requested: str,
        steps: int,
        before: Evaluation,
        statistics: Iterable[Tensor],
        probe_BCHW: Tensor,
    ) -> MutationEvent:
        """Begin the transition to `target` over `steps` training steps; the event that says what was measured.

        With 0 steps there is none: the new primitives are put in at once, and the event holds the difference that
        this made.

        Raises:
            TrainingError: the output would move; nothing has then changed.
        """
        child = self.live.child
        assert child is not None
        old = child.genotype
        expected = None if steps else outputs(child, probe_BCHW)
        difference = self.live.mutate(target, statistics, probe_BCHW)
        if expected is not None:
            changed = [edit.edge for edit in old.diff(target)]
            self.live.set_beta(1.0, changed)
            self.live.finalize(changed)
            difference = relative_difference(outputs(child, probe_BCHW), expected)
        self.number += 1
        self.largest_difference = max(self.largest_difference, difference)
        pending = Pending(
            number=self.number,
            old=old,
            new=target,
            requested=requested,
            difference=difference,
            loss_before=before.loss,
            losses_N=before.losses_N,
            steps_done=0,
            steps_total=steps,
        )
        self.pending = (*self.pending, pending)
        reason = f"transition over {steps} steps begins" if steps else "inserted at once, without a transition"
        return self._event(pending, "applied", reason, None)

    def advance(self) -> float | None:
        """Advance every transition by one step before the child runs; the latest one's beta, None without one."""
        child = self.live.child
        if child is None or not child.transitions:
            return None
        moved = []
        for pending in self.pending:
            stepped = replace(pending, steps_done=pending.steps_done + 1)
            live = [edge for edge in pending.edges if edge in child.transitions]
            if live:
                self.live.set_beta(stepped.beta, live)
                if stepped.beta == 1.0:
                    self.live.finalize(live)
            moved.append(stepped)
        self.pending = tuple(moved)
        return self.pending[-1].beta if self.pending else None

    @property
    def complete(self) -> bool:
        """Whether no transition is under way."""
        return all(pending.beta == 1.0 for pending in self.pending)

    def worse(self, after: Evaluation) -> tuple[bool, str]:
        """Whether the pending mutations made the decision loss significantly worse, and the figures in words."""
        first = self.pending[0]
        comparison = compare(first.losses_N, after.losses_N)
        text = (
            f"decision loss {first.loss_before:.4f} -> {after.loss:.4f}, paired difference "
            f"{comparison.mean:+.4f} +- {comparison.error:.4f}"
        )
        return comparison.worse(self.reject_z), text

    def accept(self, after: Evaluation, reason: str) -> list[Record]:
        """Keep the pending mutations; earlier rejected genotypes may be proposed again."""
        events: list[Record] = [self._event(pending, "accepted", reason, after.loss) for pending in self.pending]
        self.accepted += len(self.pending)
        self.pending, self.excluded = (), ()
        return events

    def reject(self, after: Evaluation | None, reason: str) -> list[Record]:
        """Give the pending mutations up and bar their genotypes; the caller restores the network."""
        loss = None if after is None else after.loss
        events: list[Record] = [self._event(pending, "rejected", reason, loss) for pending in self.pending]
        self.rejected += len(self.pending)
        self.excluded = (*self.excluded, *(pending.new for pending in self.pending))
        self.pending = ()
        return events

    def tried(self, target: Genotype, tried: TriedMutation, old: Genotype, requested: str) -> list[Record]:
        """The events of a mutation that a trial has decided; a cell that was no better is excluded from now on."""
        estimate, kept = tried.result.estimate, tried.result.verdict == "better"
        assert estimate is not None
        self.number += 1
        self.largest_difference = max(self.largest_difference, tried.difference)
        before, after = (
            statistics.fmean(float(each.losses_N.mean()) for each in side)
            for side in (tried.result.control, tried.result.changed)
        )
        pending = Pending(
            number=self.number,
            old=old,
            new=target,
            requested=requested,
            difference=tried.difference,
            loss_before=before,
            losses_N=tried.result.control[0].losses_N,
            steps_done=tried.result.steps,
            steps_total=tried.result.steps,
        )
        text = f"{tried.result.verdict}: {tried.result.reason}"
        begun = self._event(pending, "applied", f"on trial over {tried.result.steps} steps", None)
        if kept:
            self.accepted, self.excluded = self.accepted + 1, ()
            return [begun, self._event(pending, "accepted", f"kept: {text}", after)]
        self.rejected, self.excluded = self.rejected + 1, (*self.excluded, target)
        return [begun, self._event(pending, "rejected", f"not kept: {text}", after)]

    @property
    def counts(self) -> dict[str, int]:
        """Mutations applied, accepted and rejected so far."""
        return {"applied": self.number, "accepted": self.accepted, "rejected": self.rejected}

    def state_dict(self) -> dict[str, Any]:
        """Counters, pending mutations and excluded genotypes."""
        return {
            "number": self.number,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "largest_difference": self.largest_difference,
            "excluded": [genotype.to_json() for genotype in self.excluded],
            "pending": [
                {**vars(pending), "old": pending.old.to_json(), "new": pending.new.to_json()}
                for pending in self.pending
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.number, self.accepted, self.rejected = state["number"], state["accepted"], state["rejected"]
        self.largest_difference = state["largest_difference"]
        self.excluded = tuple(Genotype.from_json(item) for item in state["excluded"])
        self.pending = tuple(
            Pending(**{**item, "old": Genotype.from_json(item["old"]), "new": Genotype.from_json(item["new"])})
            for item in state["pending"]
        )

    def _event(self, pending: Pending, status: str, reason: str, loss_after: float | None) -> MutationEvent:
        edits: tuple[Edit, ...] = pending.old.diff(pending.new)
        return MutationEvent(
            number=pending.number,
            status=status,
            old=pending.old.to_json(),
            new=pending.new.to_json(),
            edits=[[*edit.edge, edit.old, edit.new] for edit in edits],
            difference=pending.difference,
            requested=pending.requested,
            reason=reason,
            loss_before=pending.loss_before,
            loss_after=loss_after,
        )
