"""`QLearner`: double Q-learning with a target network, masks, returns over several steps, and replay.

B batch, S features, A actions.
Sources: van Hasselt, Guez, Silver 2016, "Deep Reinforcement Learning with Double Q-learning"; Sutton and Barto 2018,
section 7.1, for n-step returns.
"""

import ast
import math
from collections import deque
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from lab.agent.policy import AttentionPolicyNetwork
from lab.agent.replay import Experience, ExperienceBuffer, ReplayBatch
from lab.base import ConfigError, derive_seed, require_range
from lab.state import preserved_rng


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """How the agent learns and explores."""

    lr: float = 1e-3
    """Learning rate of Adam over all parameters, > 0."""
    gamma: float = 0.95
    """What a reward one action later counts, in [0, 1]; 0 sees the next reward alone."""
    n_step: int = 3
    """Actions whose rewards are added before a value is expected, >= 1."""
    batch_size: int = 32
    """Experiences in a learning step, >= 1; learning begins when as many are there."""
    buffer_size: int = 10_000
    """Experiences that are kept, >= 1."""
    priority: float = 0.6
    """How much an experience's error decides how often it is drawn, in [0, 1]; 0 draws uniformly."""
    epsilon_start: float = 0.9
    """Share of random actions at first, in [0, 1]."""
    epsilon_end: float = 0.05
    """Share of random actions at last, in [0, epsilon_start]."""
    epsilon_decay: float = 50.0
    """Actions in which the share falls to 1 / e of its way, > 0."""
    target_rate: float = 0.05
    """Share of the way that the target network goes towards the policy at each learning step, in (0, 1]."""
    grad_clip: float = 1.0
    """Largest norm of the gradient, > 0."""
    hidden_dim: int = 32
    """Width of the policy network, a multiple of 4."""

    def __post_init__(self) -> None:
        require_range("lr", self.lr, 0, open_low=True)
        require_range("gamma", self.gamma, 0, 1)
        for name in ("n_step", "batch_size", "buffer_size"):
            require_range(name, getattr(self, name), 1)
        require_range("priority", self.priority, 0, 1)
        require_range("epsilon_start", self.epsilon_start, 0, 1)
        require_range("epsilon_end", self.epsilon_end, 0, self.epsilon_start)
        require_range("epsilon_decay", self.epsilon_decay, 0, open_low=True)
        require_range("target_rate", self.target_rate, 0, 1, open_low=True)
        require_range("grad_clip", self.grad_clip, 0, open_low=True)


class QLearner:
    """Chooses among possible actions and learns from what they brought.

    With policy network q, target network q', rewards r over n actions and next state s':
    y = r + gamma^n q'(s', argmax over possible a of q(s', a)), without the second term where the episode ended;
    the loss is the weighted Huber loss of q(s, a) - y. All parameters of the policy are in one optimizer.

    Args:
        state_dim: S >= 1.
        num_actions: A >= 1.
        config: learning and exploration.
        device: of both networks.
        seed: of initial weights, exploration and replay; nothing else consumes these streams.
    """

    def __init__(
        self,
        state_dim: int,
        num_actions: int,
        config: LearnerConfig | None = None,
        *,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.config = config or LearnerConfig()
        self.device = torch.device(device)
        self.num_actions = num_actions
        with preserved_rng(derive_seed(seed, "agent", "weights")):
            self.policy_net = self._network(state_dim)
            self.target_net = self._network(state_dim)
        self.target_net.load_state_dict(self.policy_net.state_dict())
        self.target_net.requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.Adam(self.policy_net.parameters(), lr=self.config.lr)
        self.buffer = ExperienceBuffer(
            self.config.buffer_size,
            num_actions=num_actions,
            priority=self.config.priority,
            seed=derive_seed(seed, "agent", "replay"),
        )
        self._random = Random(derive_seed(seed, "agent", "exploration"))
        self._recent: deque[Experience] = deque()
        self.actions_taken = 0
        self.updates = 0

    def _network(self, state_dim: int) -> AttentionPolicyNetwork:
        return AttentionPolicyNetwork(
            state_dim, self.num_actions, hidden_dim=self.config.hidden_dim, device=self.device
        )

    @property
    def epsilon(self) -> float:
        """Share of random actions now: end + (start - end) exp(-actions / decay)."""
        config = self.config
        return config.epsilon_end + (config.epsilon_start - config.epsilon_end) * math.exp(
            -self.actions_taken / config.epsilon_decay
        )

    @torch.no_grad()
    def values(self, state_S: Tensor, mask_A: Tensor | None = None) -> Tensor:
        """Q of each action (A,), minus infinity where it is not possible.

        Args:
            state_S: features (S,).
            mask_A: possible actions (A,), bool; None: all.
        """
        q_A, _ = self.policy_net(state_S)
        return q_A if mask_A is None else q_A.masked_fill(~mask_A.to(q_A.device), -torch.inf)

    def select(self, state_S: Tensor, mask_A: Tensor | None = None, *, training: bool = True) -> int:
        """An action: with `training` a random possible one in a share `epsilon` of the calls, else the best.

        Args:
            state_S: features (S,).
            mask_A: possible actions (A,), bool; None: all.
            training: whether to explore, and to count the action, by which `epsilon` falls.

        Returns:
            Number of the action, 0 to A - 1.

        Raises:
            ConfigError: no action is possible, or a state of another size.
        """
        if state_S.shape != (self.policy_net.input_dim,):
            expected = f"states of {self.policy_net.input_dim} features"
            raise ConfigError(expected, f"shape {tuple(state_S.shape)}", "build them by get_state")
        possible = list(range(self.num_actions)) if mask_A is None else mask_A.nonzero().flatten().tolist()
        if not possible:
            raise ConfigError("a possible action", "none", "end the episode, or widen the limits")
        if training:
            explore = self._random.random() < self.epsilon
            self.actions_taken += 1
            if explore:
                return int(self._random.choice(possible))
        return int(self.values(state_S, mask_A).argmax())

    def observe(self, experience: Experience) -> None:
        """Take one transition; it goes to the buffer once the next `n_step` rewards are known or the episode ended."""
        self._recent.append(experience)
        if len(self._recent) == self.config.n_step:
            self._push()
        if experience.done:
            while self._recent:
                self._push()

    def end_episode(self) -> None:
        """Begin another episode though the last transition was not its end: what is open is kept, with its own end."""
        while self._recent:
            self._push()

    def _push(self) -> None:
        first, last = self._recent[0], self._recent[-1]
        reward = sum(self.config.gamma**number * item.reward for number, item in enumerate(self._recent))
        joined = replace(
            first,
            reward=reward,
            next_state=last.next_state,
            done=last.done,
            metrics_after=last.metrics_after,
            next_mask=last.next_mask,
            steps=len(self._recent),
        )
        self.buffer.push(joined)
        self._recent.popleft()

    def learn(self) -> float | None:
        """One learning step; its loss, None while the buffer holds less than a batch."""
        if len(self.buffer) < self.config.batch_size:
            return None
        batch = self.buffer.sample(self.config.batch_size, self.device)
        q_BA, _ = self.policy_net(batch.states_BS)
        chosen_B = q_BA.gather(1, batch.actions_B.unsqueeze(1)).squeeze(1)
        target_B = self.targets(batch)
        each_B = nn.functional.smooth_l1_loss(chosen_B, target_B, reduction="none")
        loss = (batch.weights_B * each_B).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy_net.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self._follow()
        self.buffer.set_errors(batch.rows, (chosen_B.detach() - target_B).tolist())
        self.updates += 1
        return float(loss.detach())

    @torch.no_grad()
    def targets(self, batch: ReplayBatch) -> Tensor:
        """y (B,): the policy chooses the next action, the target network says what it is worth."""
        q_BA, _ = self.policy_net(batch.next_states_BS)
        best_B1 = q_BA.masked_fill(~batch.next_mask_BA, -torch.inf).argmax(1, keepdim=True)
        worth_BA, _ = self.target_net(batch.next_states_BS)
        ends_B = batch.done_B | ~batch.next_mask_BA.any(1)
        later_B = worth_BA.gather(1, best_B1).squeeze(1).masked_fill(ends_B, 0.0)
        return batch.rewards_B + self.config.gamma**batch.steps_B * later_B

    @torch.no_grad()
    def _follow(self) -> None:
        for target, source in zip(self.target_net.parameters(), self.policy_net.parameters(), strict=True):
            target.lerp_(source, self.config.target_rate)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next choice and the next learning step depend on."""
        return {
            "policy": self.policy_net.state_dict(),
            "target": self.target_net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "buffer": self.buffer.state_dict(),
            "random": repr(self._random.getstate()),
            "recent": [vars(item) for item in self._recent],
            "actions_taken": self.actions_taken,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it belongs to another number of features or actions.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.policy_net.state_dict().items()}
        theirs = {name: tuple(tensor.shape) for name, tensor in state["policy"].items()}
        wrong = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        if wrong:
            raise ConfigError(
                f"an agent of {self.policy_net.input_dim} features and {self.num_actions} actions",
                f"another one: {wrong[0]} {theirs.get(wrong[0])} for {own.get(wrong[0])}",
                "begin with a fresh agent",
            )
        self.policy_net.load_state_dict(state["policy"])
        self.target_net.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.buffer.load_state_dict(state["buffer"])
        self._random.setstate(ast.literal_eval(state["random"]))
        self._recent = deque(Experience(**item) for item in state["recent"])
        self.actions_taken, self.updates = state["actions_taken"], state["updates"]
