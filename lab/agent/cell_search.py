"""`CellSearch`: the agent looks for the best network of a space, one changed place after another.

E places (edges or positions), K choices, A = E K actions, S features of a state.
Sources: Sutton 1990, "Integrated Architectures for Learning, Planning, and Reacting" (learning from transitions that
a known model of the environment gives); Andrychowicz et al. 2017, "Hindsight Experience Replay".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np
import torch
from torch import Tensor

from lab.agent.learner import LearnerConfig, QLearner
from lab.agent.replay import Experience
from lab.base import ConfigError, DataError, derive_seed, require, require_range
from lab.space import Genotype, Space, sample

LEAST_ERROR = 1e-4
"""Share of errors below which two networks are not told apart: its logarithm stays finite."""
Digits = tuple[int, ...]
"""Column of the choice at each place."""


@dataclass(frozen=True, kw_only=True)
class CellSearchConfig:
    """How the agent walks, and what it learns from."""

    starts: int = 10
    """Networks drawn uniformly before the first action, >= 1; where a first network is given it is the only one."""
    episode: int = 1
    """Actions from the best network known until the walk returns to it, >= 1."""
    hindsight: int = 16
    """Transitions known from measured networks that are remembered anew in each round, >= 0."""
    every: int = 2
    """Actions from one round of learning to the next, >= 1."""
    updates: int = 1
    """Learning steps in a round, >= 0; 0 leaves the network as it was drawn."""
    floor: float = 1.5
    """Deviations below the median at which a bad network counts no worse, > 0."""
    learner: LearnerConfig = field(
        default_factory=lambda: LearnerConfig(
            lr=3e-2,
            gamma=0.0,
            n_step=1,
            batch_size=16,
            buffer_size=256,
            priority=0.0,
            epsilon_start=0.1,
            epsilon_end=0.1,
            hidden_dim=16,
        )
    )
    """Learning and exploration."""

    def __post_init__(self) -> None:
        require_range("starts", self.starts, 1)
        require_range("episode", self.episode, 1)
        require_range("hindsight", self.hindsight, 0)
        require_range("every", self.every, 1)
        require_range("updates", self.updates, 0)
        require_range("floor", self.floor, 0, open_low=True)
        if self.hindsight and self.learner.gamma:
            raise ConfigError(
                "gamma 0 with hindsight: what it remembers ends at once",
                f"gamma {self.learner.gamma}",
                "give hindsight 0 or gamma 0",
            )


class CellSearch:
    """Q-learning over the edits of a network: state its choices and the progress of the episode, action one edit.

    Each action puts choice k at place e of the current network; the result is measured. No network is measured twice:
    actions that lead to a known one are masked. An episode begins at the best known network that has an unknown
    neighbour. The reward is max(-floor, (l - median) / deviation) over what is known so far, l = -ln(1 - accuracy):
    the logarithm tells good networks apart, the floor keeps networks that do not train at all from hiding the rest.

    With `hindsight` the agent also learns from transitions that it did not walk but that follow from what was
    measured: each measured network is what an edit of each of its neighbours leads to. They are drawn anew before each
    round of learning, with rewards by what is known by then.

    Args:
        space: every edge of it is taken and has every primitive.
        measure: network -> accuracy in percent, [0, 100]; called once for each network.
        config: walk and learner.
        first: where growth begins; None for `config.starts` networks drawn uniformly.
        seed: of draws, weights, exploration and replay.

    Raises:
        ConfigError: a space whose nodes take only some of their edges, or a `first` of another space.
    """

    def __init__(
        self,
        space: Space,
        measure: Callable[[Genotype], float],
        config: CellSearchConfig | None = None,
        *,
        first: Genotype | None = None,
        seed: int = 0,
    ) -> None:
        require(
            space.taken is None and not space.excluded,
            expected="a space in which every edge has every primitive",
            got=space.name,
            hint="search that space by lab train",
        )
        require(
            first is None or first.space == space,
            expected=f"a first network of space {space.name}",
            got="none" if first is None else first.space.name,
            hint="give one of the space that is searched",
        )
        self.space = space
        self.config = config or CellSearchConfig()
        self.first = first
        self.edges, self.kinds = len(space.edges), len(space.primitives)
        self.bits = (self.kinds - 1).bit_length()
        """Binary digits of a choice."""
        self.learner = QLearner(self.edges * self.bits + 1, self.edges * self.kinds, self.config.learner, seed=seed)
        self.known: dict[Digits, float] = {}
        """Measured network -> accuracy in percent, in the order of the measurements."""
        self._scores: list[float] = []
        self._measure = measure
        self._random = Random(derive_seed(seed, "agent", "search"))
        self._current: Digits | None = None
        self._actions = 0

    def run(self, evaluations: int) -> tuple[tuple[Genotype, float], ...]:
        """Measure until `evaluations` networks are known, or all of the space; each with its accuracy, in order.

        A second call with a larger number goes on.
        """
        require_range("evaluations", evaluations, 1)
        most = min(evaluations, self.space.size)
        while len(self.known) < most:
            if len(self.known) < (self.config.starts if self.first is None else 1):
                self._start()
            else:
                self._act()
        return tuple((Genotype.from_indices(self.space, digits), value) for digits, value in self.known.items())

    def state(self, digits: Digits, progress: float) -> Tensor:
        """Features (S,): the choice at each place in binary digits, the lowest first; then progress in [0, 1]."""
        features = [float(column >> bit & 1) for column in digits for bit in range(self.bits)]
        return torch.tensor([*features, progress])

    def mask(self, digits: Digits) -> Tensor:
        """Actions that lead from `digits` to a network that is not known yet (A,), bool."""
        possible = [
            column != old and self._edit(digits, place, column) not in self.known
            for place, old in enumerate(digits)
            for column in range(self.kinds)
        ]
        return torch.tensor(possible)

    def rewards(self) -> np.ndarray:
        """Reward of having come to each known network, by what is known now, in the order of the measurements."""
        scores = np.array(self._scores)
        return np.maximum((scores - np.median(scores)) / (scores.std() + 1e-6), -self.config.floor)

    def learn(self) -> None:
        """One round of learning from what is known: `hindsight` transitions, then `updates` steps."""
        if self.config.updates and self.config.hindsight:
            self._remember(self.config.hindsight)
        for _ in range(self.config.updates):
            self.learner.learn()

    @staticmethod
    def _edit(digits: Digits, place: int, column: int) -> Digits:
        return (*digits[:place], column, *digits[place + 1 :])

    def _take(self, digits: Digits) -> None:
        accuracy = float(self._measure(Genotype.from_indices(self.space, digits)))
        if not 0.0 <= accuracy <= 100.0:
            raise DataError("an accuracy in percent, 0 to 100", f"{accuracy}", "look at what measures the network")
        self.known[digits] = accuracy
        self._scores.append(-math.log(1.0 - accuracy / 100.0 + LEAST_ERROR))

    def _start(self) -> None:
        digits = sample(self.space, self._random).indices if self.first is None else self.first.indices
        if digits not in self.known:
            self._take(digits)

    def _restart(self) -> Digits:
        """The best known network with an unknown neighbour: there is one, as long as anything is unknown."""
        best = sorted(self.known, key=self.known.__getitem__, reverse=True)
        self._actions = 0
        return next(digits for digits in best if bool(self.mask(digits).any()))

    def _act(self) -> None:
        config = self.config
        if self._current is None:
            self._current = self._restart()
        if self.learner.actions_taken % config.every == 0:
            self.learn()
        state_S = self.state(self._current, self._actions / config.episode)
        action = self.learner.select(state_S, self.mask(self._current))
        reached = self._edit(self._current, *divmod(action, self.kinds))
        self._take(reached)
        self._actions += 1
        next_mask_A = self.mask(reached)
        done = self._actions == config.episode or not bool(next_mask_A.any())
        self.learner.observe(
            Experience(
                state=state_S,
                action=action,
                # The network just measured is the last one.
                reward=float(self.rewards()[-1]),
                next_state=self.state(reached, self._actions / config.episode),
                done=done,
                next_mask=next_mask_A,
            )
        )
        self._current = None if done else reached

    def _remember(self, count: int) -> None:
        """Push transitions to known networks from neighbours that differ in one place, measured or not."""
        rewards = self.rewards()
        networks = list(self.known)
        for _ in range(count):
            row, place = self._random.randrange(len(networks)), self._random.randrange(self.edges)
            column = networks[row][place]
            other = (column + self._random.randrange(1, self.kinds)) % self.kinds
            progress = self._random.randrange(self.config.episode) / self.config.episode
            self.learner.buffer.push(
                Experience(
                    state=self.state(self._edit(networks[row], place, other), progress),
                    action=place * self.kinds + column,
                    reward=float(rewards[row]),
                    next_state=self.state(networks[row], progress + 1 / self.config.episode),
                    done=True,
                )
            )
