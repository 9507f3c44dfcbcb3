"""`Experience` and `ExperienceBuffer`: what the agent saw, kept in main memory, drawn uniformly or by priority.

S features of a state, A actions, B in a batch.
Source: Schaul et al. 2016, "Prioritized Experience Replay", section 3.3 (proportional) and 3.4 (importance weights).
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor

from lab.base import ConfigError, require, require_range

SMALLEST_PRIORITY = 1e-3
"""Added to every error: nothing is drawn never."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """One transition, or several taken together."""

    state: Tensor
    """What was seen (S,), float32."""
    action: int
    """What was done, in [0, A)."""
    reward: float
    """What it brought; over several steps their discounted sum."""
    next_state: Tensor
    """What was seen then (S,), float32."""
    done: bool
    """Whether the episode ended there: nothing is expected behind it."""
    metrics_before: Mapping[str, float] = field(default_factory=dict)
    """What was measured before, by name."""
    metrics_after: Mapping[str, float] = field(default_factory=dict)
    """What was measured after."""
    steps: int = 1
    """Actions between state and next state, >= 1; what is expected behind them is discounted as often."""
    next_mask: Tensor | None = None
    """Actions that are possible in the next state (A,), bool; None for all."""

    def __post_init__(self) -> None:
        require_range("action", self.action, 0)
        require_range("steps", self.steps, 1)
        if self.state.shape != self.next_state.shape or self.state.dim() != 1:
            raise ConfigError(
                "state and next_state of one shape (S,)",
                f"{tuple(self.state.shape)} and {tuple(self.next_state.shape)}",
                "build both by get_state",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayBatch:
    """Experiences as tensors, on one device."""

    rows: tuple[int, ...]
    """Places in the buffer, for `ExperienceBuffer.set_errors`."""
    states_BS: Tensor
    actions_B: Tensor
    rewards_B: Tensor
    next_states_BS: Tensor
    done_B: Tensor
    steps_B: Tensor
    next_mask_BA: Tensor
    weights_B: Tensor
    """Importance weights: 1 for the least likely experience, less for those that are drawn too often."""


class ExperienceBuffer:
    """The last `capacity` experiences; states lie on the CPU whatever device they came from.

    An experience is drawn with probability p^a / sum p^a, p its absolute error, and counts with weight (N P)^-b,
    divided by the largest weight. With `priority` 0 draws are uniform and every weight is 1.

    Args:
        capacity: >= 1; the oldest experience gives way.
        num_actions: A >= 1.
        priority: a, in [0, 1].
        correction: b, in [0, 1].
        seed: of the draws.
    """

    def __init__(
        self, capacity: int = 10_000, *, num_actions: int, priority: float = 0.6, correction: float = 0.4, seed: int = 0
    ) -> None:
        require_range("capacity", capacity, 1)
        require_range("num_actions", num_actions, 1)
        require_range("priority", priority, 0, 1)
        require_range("correction", correction, 0, 1)
        self.capacity = capacity
        self.num_actions = num_actions
        self.priority = priority
        self.correction = correction
        self._random = Random(seed)
        self._kept: list[Experience] = []
        self._priorities: list[float] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._kept)

    def push(self, experience: Experience) -> None:
        """Keep an experience; it is drawn as often as the one with the largest error so far."""
        require(
            experience.action < self.num_actions,
            expected=f"an action below {self.num_actions}",
            got=experience.action,
            hint="make the buffer for the agent's actions",
        )
        kept = Experience(
            **{**vars(experience), "state": _kept(experience.state), "next_state": _kept(experience.next_state)}
        )
        first = max(self._priorities, default=1.0)
        if len(self._kept) < self.capacity:
            self._kept.append(kept)
            self._priorities.append(first)
        else:
            self._kept[self._next], self._priorities[self._next] = kept, first
        self._next = (self._next + 1) % self.capacity

    def sample(self, size: int, device: torch.device | str = "cpu") -> ReplayBatch:
        """`size` experiences, with replacement, on `device`.

        Raises:
            ConfigError: the buffer is empty.
        """
        require_range("size", size, 1)
        if not self._kept:
            raise ConfigError("experiences to draw from", "none", "push some first")
        powers = [priority**self.priority for priority in self._priorities]
        rows = self._random.choices(range(len(self._kept)), weights=powers, k=size)
        total, count = sum(powers), len(powers)
        least = (count * min(powers) / total) ** -self.correction if self.priority else 1.0
        weights = [(count * powers[row] / total) ** -self.correction / least if self.priority else 1.0 for row in rows]
        return self._collate(rows, weights, torch.device(device))

    def _collate(self, rows: Sequence[int], weights: Sequence[float], device: torch.device) -> ReplayBatch:
        drawn = [self._kept[row] for row in rows]
        every_A = torch.ones(self.num_actions, dtype=torch.bool)
        masks = [every_A if item.next_mask is None else item.next_mask.cpu() for item in drawn]

        def moved(tensor: Tensor) -> Tensor:
            # Only a copy from pinned memory goes on beside what the GPU computes.
            pinned = tensor.pin_memory() if device.type == "cuda" else tensor
            return pinned.to(device, non_blocking=True)

        return ReplayBatch(
            rows=tuple(rows),
            states_BS=moved(torch.stack([item.state for item in drawn])),
            actions_B=moved(torch.tensor([item.action for item in drawn])),
            rewards_B=moved(torch.tensor([item.reward for item in drawn], dtype=torch.float32)),
            next_states_BS=moved(torch.stack([item.next_state for item in drawn])),
            done_B=moved(torch.tensor([item.done for item in drawn])),
            steps_B=moved(torch.tensor([item.steps for item in drawn], dtype=torch.float32)),
            next_mask_BA=moved(torch.stack(masks)),
            weights_B=moved(torch.tensor(weights, dtype=torch.float32)),
        )

    def set_errors(self, rows: Sequence[int], errors: Sequence[float]) -> None:
        """Take what a learning step was wrong by; larger errors are drawn more often."""
        for row, error in zip(rows, errors, strict=True):
            self._priorities[row] = abs(error) + SMALLEST_PRIORITY

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next draw depends on; tensors, numbers and strings."""
        return {
            "kept": [_plain(item) for item in self._kept],
            "priorities": list(self._priorities),
            "next": self._next,
            "random": repr(self._random.getstate()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it holds more than this buffer's capacity.
        """
        require(
            len(state["kept"]) <= self.capacity,
            expected=f"at most {self.capacity} experiences",
            got=len(state["kept"]),
            hint="use the capacity that it was saved with",
        )
        self._kept = [Experience(**item) for item in state["kept"]]
        self._priorities = list(state["priorities"])
        self._next = state["next"]
        self._random.setstate(ast.literal_eval(state["random"]))


def _kept(state_S: Tensor) -> Tensor:
    return state_S.detach().to("cpu", torch.float32).clone()


def _plain(item: Experience) -> dict[str, Any]:
    metrics = {"metrics_before": dict(item.metrics_before), "metrics_after": dict(item.metrics_after)}
    return {**vars(item), **metrics}
