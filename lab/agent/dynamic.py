"""`DynamicArchitecture`: an agent that changes a live network, keeps what proved itself and rolls back the rest.

S features of a state, A actions.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.agent.batch import Labelled, read_loader
from lab.agent.evolution import StructuralEvolution
from lab.agent.information import InformationBottleneck
from lab.agent.learner import LearnerConfig, QLearner
from lab.agent.operators import StructuralOperator, rollback_all, target_of
from lab.agent.replay import Experience
from lab.agent.reward import MultiObjectiveReward
from lab.agent.state import FEATURES, encode
from lab.agent.tracked_model import TrackedModel
from lab.agent.trial import (
    AcceptanceTest,
    EvalResult,
    PairedTest,
    TrainStep,
    Trial,
    account,
    compare_with_control,
    plain_step,
)
from lab.base import MorphError, require, require_range
from lab.device import require_device
from lab.morph import MorphPlan, MorphReport, apply
from lab.state import structure_digest


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """How the agent tries changes."""

    probe_steps: int = 0
    """Training steps of the changed network and of its control copy before they are compared, >= 0."""
    episode_actions: int = 8
    """Actions of an episode, >= 1."""
    measure_samples: int = 256
    """Samples on which layers are measured, >= 8."""
    learning_steps: int = 4
    """Learning steps of the policy after each action, >= 0."""

    def __post_init__(self) -> None:
        require_range("probe_steps", self.probe_steps, 0)
        require_range("episode_actions", self.episode_actions, 1)
        require_range("measure_samples", self.measure_samples, 8)
        require_range("learning_steps", self.learning_steps, 0)


class DynamicArchitecture:
    """Chooses actions on a live network, tries each as a transaction, and learns from what they brought.

    Args:
        base_model: the network; surgery is in place, so it stays the object that is trained.
        evolution: limits and ratios.
        ib: measures information; default `InformationBottleneck()`.
        device: of network, states and policy; default: the network's. The network is moved there.
        optimizer: of the network; carried along by every change. None where it is not trained.
        train_loader: batches for probe steps, in the order in which it gives them, again and again.
        probe_steps: short for `AgentConfig(probe_steps=...)`.
        config: how changes are tried.
        operators: the actions; default those of `evolution`.
        reward: what a change is worth.
        acceptance_test: decides what is kept.
        learner: how the policy learns.
        seed: of the policy, its exploration, and all that operators draw.
        train_step: one training step; default a clipped step of `optimizer` on the cross entropy.
        agree: the same value for all processes that train together, that of the first.

    Raises:
        ConfigError: probe steps without an optimizer or without a loader.
        PlacementError: there is no such device.
    """

    def __init__(
        self,
        base_model: nn.Module,
        evolution: StructuralEvolution | None = None,
        ib: InformationBottleneck | None = None,
        device: torch.device | str | None = None,
        optimizer: Optimizer | None = None,
        train_loader: Iterable[object] | None = None,
        probe_steps: int = 0,
        *,
        config: AgentConfig | None = None,
        operators: Mapping[str, StructuralOperator] | None = None,
        reward: MultiObjectiveReward | None = None,
        acceptance_test: AcceptanceTest | None = None,
        learner: LearnerConfig | None = None,
        seed: int = 0,
        train_step: TrainStep | None = None,
        agree: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        own = next((p.device for p in base_model.parameters()), torch.device("cpu"))
        self.device = own if device is None else require_device(device)
        self.model = base_model.to(self.device)
        if optimizer is not None and self.device != own:
            # Its state follows the parameters, which are the same objects on another device.
            optimizer.load_state_dict(optimizer.state_dict())
        self.config = config or AgentConfig(probe_steps=probe_steps)
        require(
            self.config.probe_steps == 0 or (train_loader is not None and optimizer is not None),
            expected="optimizer= and train_loader= with probe steps",
            got="none" if optimizer is None and train_loader is None else "one of them",
            hint="give both, or probe_steps=0",
        )
        self.evolution = evolution or StructuralEvolution()
        self.optimizer = optimizer
        self.operators = dict(operators or self.evolution.operators())
        self.actions = tuple(self.operators)
        self.reward = reward or MultiObjectiveReward()
        self.acceptance_test: AcceptanceTest = acceptance_test or PairedTest()
        self.learner = QLearner(len(FEATURES), len(self.actions), learner, device=self.device, seed=seed)
        self.agree = agree
        self.tracked = TrackedModel(
            self.model,
            self.evolution,
            ib or InformationBottleneck(),
            optimizer=optimizer,
            train_loader=train_loader,
            train_step=train_step or (None if optimizer is None else plain_step(optimizer)),
            samples=self.config.measure_samples,
            seed=seed,
            device=self.device,
        )
        self.reports: list[MorphReport] = []
        """Changes that stand, in order, their snapshots released."""
        self.excluded: frozenset[str] = frozenset()
        self.taken = 0
        """Actions so far."""
        self._kept: list[bool] = []
        self._position = 0
        self._last_reward = 0.0
        self._metrics: dict[str, float] = {}
        self._first_parameters = self.tracked.parameters
        self._refusals: tuple[str, dict[str, str]] = ("", {})

    @property
    def plans(self) -> tuple[MorphPlan, ...]:
        """Plans of the changes that stand, in order; `lab.morph.rebuild` replays them on a fresh network."""
        return tuple(report.plan for report in self.reports)

    @property
    def accept_rate(self) -> float:
        """Share of the last ten tried changes that were kept; 0 before the first."""
        return sum(self._kept[-10:]) / len(self._kept[-10:]) if self._kept else 0.0

    def get_state(self, metrics: Mapping[str, float]) -> Tensor:
        """The state (S,), float32, on the agent's device; `FEATURES` names its entries.

        Args:
            metrics: loss (nats) and accuracy in [0, 1]; more of what `evaluate` gives where it is known. What is left
                out comes from the last reading of this agent, or counts as not known.

        Raises:
            DataError: no loss or accuracy, or one that is no number.
        """
        known = {**self._metrics, **metrics, "parameters": float(self.tracked.parameters)}
        history = {
            "progress": self._position / self.config.episode_actions,
            "accept_rate": self.accept_rate,
            "last_reward": self._last_reward,
            "growth": math.log(known["parameters"] / self._first_parameters),
        }
        return encode(known, history).to(self.device)

    def mask(self) -> Tensor:
        """Which actions are possible now (A,), bool, CPU; all, as long as no sample has been seen to try them on."""
        refusals = self.refusals()
        return torch.tensor([not refusals.get(action, "") for action in self.actions])

    def refusals(self) -> dict[str, str]:
        """Why each impossible action is impossible; empty before a sample has been seen."""
        if not self.tracked.look():
            return {}
        key = structure_digest(self.model)
        if self._refusals[0] != key:
            self._refusals = (key, {name: self._refusal(name) for name in self.operators})
        return {name: reason for name, reason in self._refusals[1].items() if reason}

    def _refusal(self, name: str) -> str:
        return self.operators[name].refusal(self.tracked.context(self.taken, self.excluded))

    def select_action(self, state: Tensor, training: bool = True) -> int:
        """Number of a possible action: with `training` sometimes a random one, else the one of the largest value.

        Raises:
            ConfigError: none is possible, or a state of another size.
        """
        return int(self.agree(self.learner.select(state.to(self.device), self.mask(), training=training)))

    def evaluate(self, loader: Iterable[object]) -> dict[str, float]:
        """Loss, accuracy in [0, 1], parameters, entropy, redundancy, information; no state is written.

        Raises:
            DataError: a batch of unknown form, or no batch.
        """
        batches = read_loader(loader, self.model, self.device)
        return self._read(batches)

    def apply_tentative(self, action: int, state: Tensor, mini_loader: Iterable[object]) -> tuple[bool, dict[str, Any]]:
        """Try an action as a transaction: keep the changed network, or restore every bit.

        The changed network and a control copy each take `probe_steps` optimizer steps on the same batches from the
        same random state, and are compared sample by sample on `mini_loader`.

        Args:
            action: its number.
            state: what it was chosen in (S,).
            mini_loader: held-out batches, gone through more than once.

        Returns:
            Whether the change was kept, and what was measured; `error` says why one was not.

        Raises:
            ConfigError: no such action.
            DataError: a batch of unknown form.
        """
        require_range("action", action, 0, len(self.actions) - 1)
        name = self.actions[action]
        batches = read_loader(mini_loader, self.model, self.device)
        before = self._read(batches)
        digests = self.tracked.digests
        reason = self.refusals().get(name, "")
        if reason:
            return self._refused(name, reason)
        probe = self.tracked.probe(self.config.probe_steps)
        # First the control copy: the change below is made in place.
        control = self.tracked.control_copy(probe, batches)
        try:
            reports = self.operators[name].apply(self.tracked.context(self.taken, self.excluded), self.optimizer)
        except MorphError as error:
            # Worked out it seemed possible, tried it was not: known from now on, as long as the structure stays.
            self._refusals[1][name] = error.got
            return self._refused(name, str(error))
        if not any(report.applied for report in reports):
            rollback_all(reports)
            return self._refused(name, "the change left every bit as it was")
        trial, kept, why = self._try(reports, control, probe, batches)
        self._conclude(name, reports, kept=kept)
        metrics = self._read(batches) if kept else before
        info = {
            **account(name, reports, trial, kept=kept, why=why),
            "structure": [digests[0], reports[-1].digests.structure[1]],
            "weights": [digests[1], reports[-1].digests.weights[1]],
            "loss": [before["loss"], metrics["loss"]],
            "accuracy": [before["accuracy"], metrics["accuracy"]],
            "accept_rate": self.accept_rate,
        }
        self._remember(action, state, trial, before, metrics)
        info["learning_loss"] = self._learn()
        return kept, info

    def _try(
        self, reports: tuple[MorphReport, ...], control: EvalResult, probe: list[Labelled], batches: list[Labelled]
    ) -> tuple[Trial, bool, str]:
        """Train the changed network, compare it with its control copy, decide."""
        done = False
        try:
            self.tracked.train(probe)
            after = EvalResult.of(self.model, batches)
            trial = compare_with_control(reports, control, after, steps=len(probe), reward=self.reward)
            kept, why = self.agree(self.acceptance_test(trial))
            done = True
        finally:
            # Whatever goes wrong in a trial, the network is what it was.
            if not done:
                rollback_all(reports)
        return trial, kept, why

    def _conclude(self, name: str, reports: tuple[MorphReport, ...], *, kept: bool) -> None:
        self._kept.append(kept)
        if not kept:
            rollback_all(reports)
            self.excluded |= {target_of(report.plan) for report in reports}
            # An excluded place matters to the action that was made there alone.
            self._refusals[1][name] = self._refusal(name)
            return
        for report in reports:
            report.release()
        self.reports += reports
        self.excluded = frozenset()

    def _remember(
        self, action: int, state: Tensor, trial: Trial, before: dict[str, float], metrics: dict[str, float]
    ) -> None:
        self.taken += 1
        self._position += 1
        self._last_reward = trial.reward.total
        mask = self.mask()
        done = self._position >= self.config.episode_actions or not bool(mask.any())
        self.learner.observe(
            Experience(
                state=state,
                action=action,
                reward=trial.reward.total,
                next_state=self.get_state(metrics),
                done=done,
                metrics_before=before,
                metrics_after=metrics,
                next_mask=mask,
            )
        )
        if done:
            self._position = 0

    def _learn(self) -> float | None:
        losses = [self.learner.learn() for _ in range(self.config.learning_steps)]
        return losses[-1] if losses else None

    def begin_round(self) -> None:
        """Begin anew what a run that is taken up again also begins anew: probe batches, what is possible."""
        self.tracked.begin_round()
        self._refusals = ("", {})

    def replay(self, plans: Iterable[MorphPlan]) -> None:
        """Make changes that stood in an earlier run, without trial.

        Raises:
            MorphError: a plan of another network.
        """
        for plan in plans:
            report = apply(plan, self.model, self.optimizer, replayed=True)
            report.release()
            self.reports.append(report)

    def modules(self) -> tuple[object, ...]:
        """What the agent learns with: networks and optimizer of the policy."""
        return self.learner.policy_net, self.learner.target_net, self.learner.optimizer

    def _refused(self, name: str, reason: str) -> tuple[bool, dict[str, Any]]:
        return False, {"action": name, "applied": False, "accepted": False, "measured": False, "error": reason}

    def _read(self, batches: list[Labelled]) -> dict[str, float]:
        self._metrics = self.tracked.read(batches)
        return dict(self._metrics)

    def get_stats(self) -> dict[str, Any]:
        """Counts and shares so far; JSON data."""
        return {
            "actions": self.taken,
            "accepted": sum(self._kept),
            "accept_rate": self.accept_rate,
            "epsilon": self.learner.epsilon,
            "experiences": len(self.learner.buffer),
            "updates": self.learner.updates,
            "probe_steps": self.tracked.steps,
            "parameters": self.tracked.parameters,
            "device": str(self.device),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next action depends on beyond network, optimizer and `plans`."""
        return {
            "learner": self.learner.state_dict(),
            "excluded": sorted(self.excluded),
            "taken": self.taken,
            "steps": [self.tracked.steps, self.tracked.steps_samples],
            "kept": list(self._kept),
            "position": self._position,
            "last_reward": self._last_reward,
            "metrics": dict(self._metrics),
            "first_parameters": self._first_parameters,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, once the network has its structure and values.

        Raises:
            ConfigError: it belongs to an agent of other actions.
        """
        self.learner.load_state_dict(state["learner"])
        self.excluded = frozenset(state["excluded"])
        self.taken = state["taken"]
        self.tracked.steps, self.tracked.steps_samples = state["steps"]
        self._kept, self._position = list(state["kept"]), state["position"]
        self._last_reward, self._metrics = state["last_reward"], dict(state["metrics"])
        self._first_parameters = state["first_parameters"]
        self.tracked.measures, self._refusals = None, ("", {})
