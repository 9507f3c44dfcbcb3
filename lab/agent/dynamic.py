"""`DynamicArchitecture`: an agent that changes a live network, keeps what proved itself and rolls back the rest.

S features of a state, A actions.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.agent.attempts import Attempts, follow
from lab.agent.batch import Labelled, read_loader
from lab.agent.evolution import StructuralEvolution
from lab.agent.information import InformationBottleneck
from lab.agent.learner import LearnerConfig, QLearner
from lab.agent.operators import StructuralOperator, target_of
from lab.agent.replay import Experience
from lab.agent.reward import MultiObjectiveReward
from lab.agent.state import FEATURES, encode
from lab.agent.tracked_model import TrackedModel
from lab.agent.trial import AcceptanceTest, PairedTest, TrainStep, TriedAction, account, plain_step
from lab.base import MorphError, require, require_range
from lab.device import require_device
from lab.morph import MorphPlan, MorphReport, NetworkAverage, apply
from lab.state import structure_digest
from lab.trial import TrialConfig, TrialLedger

EVERY_CHANGE = 1e9
"""A least effect so large that every trial is made: whoever asks for an action by hand gets it tried."""


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """How the agent tries changes."""

    probe_steps: int = 0
    """Training steps of the changed copies and of the control copies before they are compared, >= 0."""
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
        train_step: one training step of a model by an optimizer; default a clipped step on the cross entropy.
        trials: cost and noise of the run's trials; default: every action that is asked for is tried, whatever it costs.
        ranks: processes that share each training batch.
        agree: the same value for all processes that train together, that of the first.
        around: what goes on around each change of a network, such as a proof that asks it before and after.
        average: of the network's weights; is changed as it is, and takes the steps of its trials.

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
        trials: TrialLedger | None = None,
        ranks: int = 1,
        agree: Callable[[Any], Any] = lambda value: value,
        around: Callable[[nn.Module], AbstractContextManager[None]] = lambda model: nullcontext(),
        average: NetworkAverage | None = None,
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
            train_step=train_step or plain_step(),
            samples=self.config.measure_samples,
            seed=seed,
            device=self.device,
        )
        every = TrialConfig(
            steps=max(self.config.probe_steps, 1), looks=1, least_effect=EVERY_CHANGE, share=1.0, patience=2**31
        )
        self.attempts = Attempts(
            self.tracked,
            trials or TrialLedger(every, math.inf),
            reward=self.reward,
            seed=seed,
            ranks=ranks,
            agree=agree,
            around=around,
            average=average,
        )
        self.reports: list[MorphReport] = []
        """Changes that stand, in order, their snapshots released."""
        self.excluded: frozenset[str] = frozenset()
        self.taken = 0
        """Actions so far."""
        self._kept: list[bool] = []
        self._position, self._last_reward = 0, 0.0
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
        """Try an action: go on with the changed network, or as if it had not been asked for.

        With probe steps changed copies and unchanged control copies take them on the same batches, in several orders,
        and are compared on `mini_loader`, see `lab.trial`. The network itself is the first control copy: where the
        change is not kept, the network has the bits of so many steps of plain training. Without probe steps it has the
        bits that it had.

        Args:
            action: its number.
            state: what it was chosen in (S,).
            mini_loader: held-out batches, gone through more than once.

        Returns:
            Whether the change was kept, and what was measured; `error` says why one was not, `cannot_tell` that no
            trial was made.

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
        attempt = self.attempts.on_trial if self.config.probe_steps else self.attempts.at_once
        try:
            found = attempt(self.operators[name], self.taken, self.excluded, self.acceptance_test, batches)
        except MorphError as error:
            # Worked out it seemed possible, tried it was not: known from now on, as long as the structure stays.
            self._refusals[1][name] = error.got
            return self._refused(name, str(error))
        if isinstance(found, str):
            return False, {**self._refused(name, found)[1], "cannot_tell": True}
        reports, tried, kept, why = found.reports, found.tried, found.kept, found.why
        self._conclude(name, reports, kept=kept)
        # A trial has trained the network, whatever was decided.
        metrics = self._read(batches) if kept or self.config.probe_steps else before
        info = {
            **account(name, reports, tried, kept=kept, why=why),
            "structure": [digests[0], reports[-1].digests.structure[1]],
            "weights": [digests[1], reports[-1].digests.weights[1]],
            "loss": [before["loss"], metrics["loss"]],
            "accuracy": [before["accuracy"], metrics["accuracy"]],
            "accept_rate": self.accept_rate,
        }
        self._remember(action, state, tried, before, metrics)
        info["learning_loss"] = self._learn()
        return kept, info

    def _conclude(self, name: str, reports: tuple[MorphReport, ...], *, kept: bool) -> None:
        self._kept.append(kept)
        if not kept:
            self.excluded |= {target_of(report.plan) for report in reports}
            # An excluded place matters to the action that was made there alone.
            self._refusals[1][name] = self._refusal(name)
            return
        for report in reports:
            report.release()
        self.reports += reports
        self.excluded = frozenset()

    def _remember(
        self, action: int, state: Tensor, tried: TriedAction, before: dict[str, float], metrics: dict[str, float]
    ) -> None:
        self.taken += 1
        self._position += 1
        self._last_reward = tried.reward.total
        mask = self.mask()
        done = self._position >= self.config.episode_actions or not bool(mask.any())
        self.learner.observe(
            Experience(
                state=state,
                action=action,
                reward=tried.reward.total,
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
            follow(self.attempts.average, (report,))
            self.reports.append(report)

    def begin_from(self, reports: Iterable[MorphReport]) -> None:
        """Take changes that were made of the network before anything was tried as its beginning."""
        self.reports += reports
        self._first_parameters = self.tracked.parameters
        follow(self.attempts.average, self.reports)
        self.begin_round()

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
            "steps": [self.tracked.steps, self.tracked.own_samples],
            "trials": self.attempts.ledger.state_dict(),
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
        self.taken, (self.tracked.steps, self.tracked.own_samples) = state["taken"], state["steps"]
        # Earlier versions counted no trials.
        if "trials" in state:
            self.attempts.ledger.load_state_dict(state["trials"])
        self._kept, self._position = list(state["kept"]), state["position"]
        self._last_reward, self._metrics = state["last_reward"], dict(state["metrics"])
        self._first_parameters = state["first_parameters"]
        self.tracked.measures, self._refusals = None, ("", {})
