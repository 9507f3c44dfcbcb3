"""`AgentStrategy`: the evolution agent works on a live network inside the one training loop.

B batch, C channels, H height, W width.
"""

import math
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lab.agent.batch import Labelled
from lab.agent.dynamic import AgentConfig, DynamicArchitecture
from lab.agent.evolution import StructuralEvolution
from lab.agent.fit import fit_agent
from lab.agent.learner import LearnerConfig
from lab.agent.round import ActionProof, ProbeLoader
from lab.agent.run_config import EvolveConfig
from lab.agent.trial import GainTest, PairedTest
from lab.base import CheckpointError, ConfigError, TrainingError, derive_seed
from lab.morph import MorphPlan
from lab.nn import measure_flops, train_mode
from lab.nn.flops import FORWARDS_OF_STEP
from lab.state import state_digest
from lab.store import ActionEvent, AlertEvent, Record
from lab.train import (
    EpochData,
    EpochPlan,
    Evaluation,
    Mutate,
    Offers,
    OptimizerConfig,
    Outcome,
    RequestContext,
    Split,
    StepOptions,
    StepReport,
    StrategyState,
    WeightStep,
    WeightTrainer,
)
from lab.trial import TrialConfig, TrialLedger

FEW_ACTIONS = LearnerConfig(batch_size=8, n_step=2, epsilon_decay=15.0)
"""How the policy learns where a run has a few dozen actions."""


class AgentStrategy:
    """Trains `network` as `SupervisedStrategy` does; every few epochs the agent, or a baseline policy, changes it.

    Args:
        network: any network (B, C, H, W) -> logits; surgery is in place.
        config: optimizer of the weights.
        evolve: when the agent acts, and what it may spend.
        seed: run seed.
        epochs: of the run.
        options: how a step is taken; among several processes rank 0 chooses and decides.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        evolve: EvolveConfig,
        *,
        seed: int,
        epochs: int,
        options: StepOptions | None = None,
    ) -> None:
        options = options or StepOptions()
        self.group = options.group
        self.evolve = evolve
        self.seed = seed
        self.epochs = epochs
        self.options = options
        self.trainer = WeightTrainer(network, config, epochs=epochs, options=options)
        self.records: list[Record] = self.trainer.records
        self.probe_loader = ProbeLoader()
        self.trials = TrialLedger(
            TrialConfig(
                steps=max(evolve.probe_steps, 1),
                share=evolve.trial_share,
                # Of 10 % for all trials 1 % of what is left for one reading.
                reading_share=min(max(evolve.trial_share / 10.0, 1e-9), 1.0),
                patience=evolve.trial_patience,
                least_effect=evolve.least_effect,
            ),
            evolve.compute or math.inf,
        )
        """What trials have cost and shown; what a run of epochs plans is known once its data are there."""
        self._copy_steps: dict[int, WeightStep] = {}
        self._told = ""
        self.proof = ActionProof()
        self.agent = DynamicArchitecture(
            network,
            StructuralEvolution(
                max_parameters=evolve.max_parameters, max_flops=evolve.max_flops, max_latency=evolve.max_latency
            ),
            optimizer=self.trainer.optimizer,
            train_loader=self.probe_loader,
            config=AgentConfig(probe_steps=0 if evolve.policy == "schedule" else evolve.probe_steps),
            learner=FEW_ACTIONS,
            acceptance_test=(GainTest if evolve.keep == "gain" else PairedTest)(
                z=evolve.reject_z, threshold=evolve.least_reward
            ),
            seed=derive_seed(seed, "agent"),
            train_step=self._train_step,
            trials=self.trials,
            ranks=self.group.size,
            agree=self.group.broadcast,
            around=self.proof.around,
            average=self.trainer.average,
        )
        self.counts = {"tried": 0, "kept": 0, "refused": 0}
        self.regret = 0.0
        self.largest_difference = 0.0
        self.spent = 0.0
        """Floating-point operations so far."""
        self._flops, self._rounds = 0.0, 0

    @property
    def phase(self) -> str:
        """training, then finished."""
        return self.trainer.phase

    @property
    def network(self) -> nn.Module:
        """The live network."""
        return self.agent.model

    def _train_step(self, model: nn.Module, optimizer: Optimizer, batch: Labelled) -> None:
        assert isinstance(batch.inputs, Tensor)
        train_mode(model)
        step = self.trainer.weight_step
        if optimizer is not self.trainer.optimizer:
            # A copy's overflow or shortage of memory must not move the run's own loss scale and parts.
            if id(optimizer) not in self._copy_steps:
                options = replace(self.options, precision=deepcopy(self.options.precision))
                self._copy_steps[id(optimizer)] = options.weight_step(
                    optimizer, grad_clip=self.trainer.config.grad_clip, records=[]
                )
            step = self._copy_steps[id(optimizer)]
        step(model, batch.inputs, batch.labels_B)

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan | None:
        """Let the agent act where a round is due, then prepare the epoch; None where the compute is spent."""
        self.measure_flops(data)
        share = None
        if self.evolve.compute is not None:
            if not self.spent:
                self.records += fit_agent(self.agent, data, self.evolve, ranks=self.group.size)
                self.measure_flops(data)
            self.spent = self.group.broadcast(self.spent)
            share = min(self.spent / self.evolve.compute, 1.0)
            if self.spent >= self.evolve.compute:
                self.finish(epoch, data)
                return None
        elif math.isinf(self.trials.planned):
            # Were the network never changed.
            self.trials.planned = self._step_cost(data) * data.length(Split.TRAIN) * max(self.epochs, 1)
        due = epoch >= self.evolve.evolve_from and (epoch - self.evolve.evolve_from) % self.evolve.evolve_every == 0
        if due and self.evolve.policy != "none":
            self._round(data, self.evolve.evolve_actions)
        step_share = None if self.evolve.compute is None else self._step_cost(data) / self.evolve.compute
        # A trial trains the network: losses before and after a round are different quantities.
        return replace(self.trainer.begin_epoch(epoch, data, share, step_share), segment=f"{self.phase} {self._rounds}")

    def _step_cost(self, data: EpochData) -> float:
        """Compute of a training step of all ranks."""
        rows = len(next(data.batches(Split.TRAIN, 0))[1]) * self.group.size
        return FORWARDS_OF_STEP * self._flops * rows

    def _reading(self, samples: int) -> float:
        """Cost of reading the network and its layers before an action and after it."""
        measured = FORWARDS_OF_STEP * min(samples, self.agent.config.measure_samples)
        return self._flops * (3 * samples + 2 * measured)

    def _tell_none(self, reason: str) -> None:
        """Say once why no trial is made."""
        if reason != self._told:
            self._told = reason
            self.records.append(AlertEvent(level="info", title="No trial", text=reason))

    def _closed(self, samples: int) -> str:
        """Why nothing is tried any more; the readings of an action that is are paid for. A schedule tries nothing."""
        cost = self._reading(samples)
        if self.agent.config.probe_steps:
            reason = self.trials.closed()
            # An action may make the network larger, and what is read afterwards with it.
            if not reason and cost * self.agent.evolution.max_growth > self.trials.left:
                most = cost * self.agent.evolution.max_growth
                reason = f"the readings of one may cost {most:.3g} FLOPs, trials have {self.trials.left:.3g} left"
            if reason:
                return reason
            self.trials.spent += cost
        self.spent += cost
        return ""

    def _round(self, data: EpochData, actions: int) -> list[ActionEvent]:
        """So many actions, each a transaction; what happened."""
        self.probe_loader.data, self.probe_loader.round = data, self._rounds
        self.agent.begin_round()
        self._rounds += 1
        held_out = list(data.selection())
        self.proof.samples.take(lambda: held_out)
        samples = sum(len(y_B) for _, y_B in held_out)
        events: list[ActionEvent] = []
        metrics: dict[str, float] = {}
        for number in range(actions):
            closed = self._closed(samples)
            if closed:
                self._tell_none(closed)
                break
            if not number:
                metrics = self.agent.evaluate(held_out)
            state = self.agent.get_state(metrics)
            if not bool(self.agent.mask().any()):
                text = "; ".join(f"{name}: {reason}" for name, reason in self.agent.refusals().items())
                self.records.append(AlertEvent(level="info", title="No action is possible", text=text))
                break
            if self.evolve.compute is not None:
                self.agent.attempts.remaining = max(self.evolve.compute - self.spent, 0.0)
            trained, paid = self.agent.tracked.own_samples, self.trials.spent
            self._copy_steps = {}
            _, info = self.agent.apply_tentative(self._choose(state), state, held_out)
            self.spent += self.trials.spent - paid
            self.spent += FORWARDS_OF_STEP * self._flops * (self.agent.tracked.own_samples - trained) * self.group.size
            if info.get("cannot_tell"):
                self._tell_none(info["error"])
            events.append(self._account(info))
            self.records += self.proof.events(info, self.counts["tried"] + self.counts["refused"])
            # Empty: the state is then read from the agent's latest reading, of the network as the trial left it.
            metrics = {}
            self.measure_flops(data)
        self._copy_steps = {}
        self.records += events
        if self.group.size > 1:
            for network in (self.network, self.trainer.averaged):
                if network is not None:
                    self.group.broadcast_buffers(network)
            self.group.check_equal(state_digest(self.network.state_dict()), "network after the agent's round")
        return events

    def _choose(self, state: Tensor) -> int:
        if self.evolve.policy == "agent":
            return self.agent.select_action(state)
        possible = self.agent.mask().nonzero().flatten().tolist()
        if self.evolve.policy == "schedule":
            expand = self.agent.actions.index("expand")
            return expand if expand in possible else int(possible[0])
        drawn = Random(derive_seed(self.seed, "agent", "random policy", self._rounds, self.agent.taken))
        return int(self.group.broadcast(drawn.choice(possible)))

    def _account(self, info: dict[str, Any]) -> ActionEvent:
        """Count an action and what it lost; its event."""
        if not info["applied"]:
            self.counts["refused"] += 1
        else:
            self.counts["tried"] += 1
            self.counts["kept"] += info["accepted"]
            self.regret += info["regret"]
            if info["accepted"] and info["exact"]:
                self.largest_difference = max(self.largest_difference, info["max_difference"])
        payload = {
            **info,
            "state": self.agent.get_stats(),
            "regret_so_far": self.regret,
            "masked": self.agent.refusals(),
        }
        return ActionEvent(
            action=info["action"],
            applied=info["applied"],
            accepted=info["accepted"],
            reward=info.get("reward"),
            info=payload,
        )

    def measure_flops(self, data: EpochData) -> float:
        """Floating-point operations of a forward of one image by the network as it is now."""
        x_BCHW, _ = next(data.selection())
        self._flops = float(measure_flops(self.network, x_BCHW[:1]))
        return self._flops

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> StepReport:
        """One clipped step on the weights."""
        report = self.trainer.step(x_BCHW, y_B)
        self.spent += FORWARDS_OF_STEP * self._flops * len(y_B) * self.group.size
        stats = self.agent.get_stats()
        more = {
            "agent/parameters": float(stats["parameters"]),
            "agent/accept_rate": stats["accept_rate"],
            "agent/epsilon": stats["epsilon"],
            "agent/regret": self.regret,
            "compute": self.spent,
        }
        return replace(report, more=more)

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation:
        """Evaluate on the selection split; where its samples are too few for a trial, none is begun."""
        evaluation = self.trainer.end_epoch(data)
        self.trials.look(self.trainer.own_losses_N)
        return evaluation

    def finish(self, epoch: int, data: EpochData) -> None:
        """The network is what it is."""
        self.trainer.finish(epoch)

    @property
    def offers(self) -> Offers:
        """A lower rate, a rollback, and an action of the agent where its policy acts."""
        offered = dict(self.trainer.offers())
        if self.evolve.policy != "none":
            offered[Mutate] = self.mutate
        return offered

    def mutate(self, request: Mutate, moment: RequestContext) -> Outcome:
        """One action of the agent now.

        Raises:
            TrainingError: none is possible.
        """
        self.trials.cannot_tell = ""  # What a person asks for is tried, or says itself why it cannot be.
        events = self._round(moment.data, 1)
        if not events:
            raise TrainingError("a possible action", self._told or "none", "raise the limits")
        # A restore point of the old structure no longer fits the network.
        self.trainer.set_restore_point()
        event = events[0]
        state = "kept" if event.accepted else "rolled back" if event.applied else "refused"
        return Outcome(text=f"{event.action}: {state}: {event.info.get('reason', event.info.get('error', ''))}")

    def state(self) -> StrategyState:
        """Network and plans of the changes that stand, optimizer, what the agent has learnt, the compute spent."""
        return StrategyState(
            plans=tuple({"kind": "plan", "plan": plan.to_json()} for plan in self.agent.plans),
            read_tensors=self._tensors,
            read_summary=self.summary,
            roots=(*self.trainer.roots, *self.agent.modules()),
            averaged=self.trainer.averaged,
        )

    def _tensors(self) -> dict[str, Any]:
        return {
            **self.trainer.state_dict(),
            "agent": self.agent.state_dict(),
            "counts": dict(self.counts),
            "planned": self.trials.planned,
            "told": self._told,
            "numbers": [self.regret, self.largest_difference, self.spent, self._flops, float(self._rounds)],
        }

    def restore(self, state: StrategyState) -> None:
        """Replay the plans on the fresh network, and go on exactly where `state` was taken.

        Raises:
            CheckpointError: the state belongs to another recipe or architecture.
            MorphError: a plan of another network.
        """
        if "agent" not in state.tensors or any(plan.get("kind") != "plan" for plan in state.plans):
            raise CheckpointError("a checkpoint of recipe agent", "one of another recipe", "resume with its recipe")
        # First the structure: the tensors have the shapes of the changed network.
        self.agent.replay(tuple(MorphPlan.from_json(plan["plan"]) for plan in state.plans))
        self.trainer.load_state_dict(state.tensors)
        self.agent.load_state_dict(state.tensors["agent"])
        self.counts = dict(state.tensors["counts"])
        self.regret, self.largest_difference, self.spent, self._flops, rounds = state.tensors["numbers"]
        self._rounds = int(rounds)
        self.trials.planned = state.tensors.get("planned", self.trials.planned)
        self._told = state.tensors.get("told", "")

    def adopt(self, state: dict[str, Any]) -> None:
        """Begin with what the agent of another run had learnt: its policy and its replay.

        Raises:
            CheckpointError: the state is of another recipe, or its agent had other actions.
        """
        if "agent" not in state:
            raise CheckpointError("a checkpoint of recipe agent", "one of another recipe", "give another --agent-from")
        try:
            self.agent.learner.load_state_dict(state["agent"]["learner"])
        except ConfigError as error:
            raise CheckpointError(error.expected, error.got, "give another --agent-from") from error

    def summary(self) -> dict[str, Any]:
        """Parameters, actions, what they lost in hindsight, the compute spent."""
        return {
            **self.trainer.summary(),
            "model": self.evolve.model,
            "policy": self.evolve.policy,
            "actions": dict(self.counts),
            "probe_steps": self.agent.tracked.steps,
            "regret": self.regret,
            "largest_difference": self.largest_difference,
            "compute": self.spent,
            "trials": {"made": self.trials.made, "kept": self.trials.gains, "compute": self.trials.spent},
            "changes": [f"{plan.op} {plan.arguments}" for plan in self.agent.plans],
        }
