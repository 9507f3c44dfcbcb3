"""`GumbelExplorer`: architecture parameters and the draws of cells from them.

E edges, K primitives. With l = alpha / tau and Gumbel noise g: k* = argmax(l + g), y = softmax(l + g), and the chosen
primitive's output is multiplied by 1 + y_k* - sg(y_k*), which is 1 and carries dL/dy_k*. A cell is so drawn with
probability softmax(alpha / tau) on each edge (Gumbel-max trick), and tau shapes both the draw and the gradient.

Where a node takes only `space.taken` of its edges (DARTS: two, never by `none`), edges compete by normalised weights.
With l = log softmax(alpha) / tau, which is alpha / tau but for a constant on each edge: k* = argmax(l + g) over the
primitives that a genotype can have, and each node takes the edges with the largest of these maxima. An edge's maximum
is itself Gumbel distributed about log w, w = sum over those k of softmax(alpha)_k^(1/tau), and independent of k*. So
primitives are drawn by softmax(alpha / tau) given that they are not excluded, and edges one after the other, without
replacement, with probability proportional to w (Gumbel-top-k trick: Kool, van Hoof, Welling 2019, "Stochastic Beams
and Where to Find Them", section 3). As tau falls the draw goes to `argmax_genotype`. y is over all primitives: what
is taken gains on `none`, and so its edge on the other edges.

Sources: Jang, Gu, Poole 2017, "Categorical Reparameterization with Gumbel-Softmax", section 2; Dong and Yang 2019,
"Searching for a Robust Neural Architecture in Four GPU Hours" (GDAS), section 3.2, for `sampling="gdas"`, where the
index does not depend on tau: k* = argmax(log softmax(alpha) + g), y = softmax((log softmax(alpha) + g) / tau); Liu,
Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", section 2.2, for `sampling="mixture"`, where every
primitive runs, weighted by softmax(alpha / tau), without noise.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import TrainingError, require, require_choice, require_range
from lab.explore.choice import NONE, best_genotype
from lab.explore.kinds import SAMPLING_KINDS
from lab.explore.schedules import ConstantSchedule, Schedule, ScheduleState
from lab.nn import Sample
from lab.space import Genotype, Space

# As in the code of DARTS: nearly uniform, without exact ties.
INITIAL_SCALE = 1e-3
RECENT = 200
"""Draws behind `GumbelExplorer.sample_stats`."""


@dataclass(frozen=True, kw_only=True)
class SampleStats:
    """What the latest draws of cells were like."""

    count: int
    """Draws that are looked at, at most `RECENT`."""
    diversity: float | None
    """Entropy of how often each primitive was used, over its largest value, in [0, 1]; None without a draw."""
    distance: float | None
    """Mean share of the edges on which a draw is not the most probable primitive, in [0, 1]; None without a draw."""
    strength: float
    """Mean entropy of the edges' distributions over its largest value: how much exploration there is, in [0, 1]."""


class GumbelExplorer(nn.Module):
    """Samples cells of `space` and learns which are likely.

    Args:
        space: edges and primitives.
        temperature: a schedule, or a number that stays.
        seed: of the explorer's own generator; nothing else consumes it.
        sampling: `gumbel`, `gdas`, or `mixture` (all primitives run, no cell is drawn).
        exploration_factor: multiplies the noise; 1 is the Gumbel-max trick, 0 always draws the most probable cell.
        allow_none: whether the absent edge is a primitive like the others; False never draws it, in training or at the
            end.
        device: of the parameters and of the generator.

    Raises:
        ConfigError: an unknown sampling, a temperature or factor outside its range.
    """

    def __init__(
        self,
        space: Space,
        temperature: Schedule | float = 1.0,
        *,
        seed: int = 0,
        sampling: str = "gumbel",
        exploration_factor: float = 1.0,
        allow_none: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        require_choice("sampling", sampling, SAMPLING_KINDS)
        require_range("exploration_factor", exploration_factor, 0.0)
        if not isinstance(temperature, Schedule):
            temperature = ConstantSchedule(initial_temp=temperature, min_temp=temperature)
        self.space = space
        self.sampling = sampling
        self.exploration_factor = exploration_factor
        self.allow_none = allow_none
        self.allowed = tuple(k for k, name in enumerate(space.primitives) if allow_none or name != NONE)
        self.excluded_EK = torch.ones(len(space.edges), len(space.primitives), dtype=torch.bool, device=device)
        self.excluded_EK[:, list(self.allowed)] = False
        self._excludes = len(self.allowed) < len(space.primitives)
        """Whether anything is excluded; known without asking the device at each draw."""
        self.recent: deque[tuple[int, ...]] = deque(maxlen=RECENT)
        self.schedule = temperature
        self.state: ScheduleState = temperature.start()
        self.held: float | None = None
        """Temperature that a person holds; None where the schedule sets it."""
        self.generator = torch.Generator(device=device).manual_seed(seed)
        shape = (len(space.edges), len(space.primitives))
        noise_EK = torch.randn(shape, generator=self.generator, device=device)
        self.alpha = nn.Parameter(INITIAL_SCALE * noise_EK)
        self._sampled = False

    @property
    def temperature(self) -> float:
        """The Gumbel temperature tau now in force: that which is held, else the schedule's."""
        return self.state.temperature if self.held is None else self.held

    def set_temperature(self, temperature: float) -> None:
        """Hold tau until `release_temperature`; the schedule goes on underneath.

        Raises:
            ConfigError: tau is not > 0.
        """
        require_range("temperature", temperature, 0.0, open_low=True)
        self.held = temperature

    def release_temperature(self) -> None:
        """Let the schedule set tau again: where it would be now had nothing been held."""
        self.held = None

    def logits(self) -> Tensor:
        """alpha / tau, (E, K); minus infinity where a primitive is never drawn."""
        return self._permitted() / self.temperature

    def _permitted(self) -> Tensor:
        return self.alpha.masked_fill(self.excluded_EK, -math.inf) if self._excludes else self.alpha

    @torch.no_grad()
    def start_from(self, preferences_EK: Sequence[Sequence[float]], strength: float) -> None:
        """Set alpha by preferences z: alpha_ek = s (z_ek - max_k z_ek).

        s is such that what can be drawn and is not the best of its edge lies `strength` below the best on average; the
        best primitive of each edge is then the most probable one.

        Args:
            preferences_EK: E rows of K finite numbers, higher is better, such as `Prior.preferences`.
            strength: >= 0; 0 leaves alpha uniform.

        Raises:
            ConfigError: preferences of another shape, or a negative strength.
        """
        require_range("strength", strength, 0.0)
        z_EK = torch.tensor(preferences_EK, dtype=torch.float64)
        require(
            z_EK.shape == self.alpha.shape and bool(z_EK.isfinite().all()),
            expected=f"finite preferences of shape {tuple(self.alpha.shape)}",
            got=tuple(z_EK.shape),
            hint="take those of a prior of this space",
        )
        open_EK = ~self.excluded_EK.cpu()
        gap_EK = (z_EK - z_EK.masked_fill(~open_EK, -math.inf).amax(-1, keepdim=True)).clamp_max(0.0)
        behind = gap_EK[open_EK & (gap_EK < 0)]
        scale = strength / -float(behind.mean()) if len(behind) else 0.0
        self.alpha.copy_(scale * gap_EK)

    def exclude(self, edge_id: int, primitive: str) -> None:
        """Never draw `primitive` on edge `edge_id` again.

        Args:
            edge_id: row of the edge in the space.
            primitive: of the space.

        Raises:
            ConfigError: nothing that a genotype can have would be left on that edge.
        """
        excluded_K = self.excluded_EK[edge_id].clone()
        excluded_K[self.space.primitives.index(primitive)] = True
        left = [name for name, out in zip(self.space.primitives, excluded_K.tolist(), strict=True) if not out]
        require(
            bool(set(left) & set(self.space.choosable)),
            expected=f"a primitive left on edge {self.space.edges[edge_id]}",
            got=f"{primitive}, the last one",
            hint="exclude another one",
        )
        self.excluded_EK[edge_id] = excluded_K
        self._excludes = True

    def left(self, edge_id: int) -> tuple[str, ...]:
        """Primitives that a genotype can have and that are not excluded on edge `edge_id`."""
        pairs = zip(self.space.primitives, self.excluded_EK[edge_id].tolist(), strict=True)
        return tuple(name for name, excluded in pairs if not excluded and name in self.space.choosable)

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """softmax(alpha / tau), (E, K): how likely each primitive is drawn under `gumbel` sampling."""
        return self.logits().softmax(-1)

    @property
    def argmax_genotype(self) -> Genotype:
        """The genotype of the most probable primitive on each edge; of a node's edges those with the most probable."""
        return best_genotype(self.space, self._permitted().detach().double().log_softmax(-1))

    @property
    def sample_stats(self) -> SampleStats:
        """What the latest draws were like, against the distribution as it is now."""
        entropy_E = torch.special.entr(self.probabilities().double()).sum(-1)
        largest = math.log(max(len(self.allowed), 2))
        # Rounding can bring an entropy a last bit above its largest value.
        strength = min(float(entropy_E.mean()) / largest, 1.0)
        if not self.recent:
            return SampleStats(count=0, diversity=None, distance=None, strength=strength)
        choices_NE = torch.tensor(list(self.recent))
        ran_NE = choices_NE >= 0
        used_K = torch.bincount(choices_NE[ran_NE], minlength=self.alpha.shape[-1]).double()
        diversity = min(float(torch.special.entr(used_K / used_K.sum()).sum()) / largest, 1.0)
        distance = float((choices_NE != torch.tensor(self.argmax_genotype.indices))[ran_NE].double().mean())
        return SampleStats(count=len(self.recent), diversity=diversity, distance=distance, strength=strength)

    def sample(self, hard: bool = True) -> Sample:
        """A draw; gradients of what it computes reach `alpha`.

        Args:
            hard: one primitive on each edge, unless `sampling` is mixture; otherwise the mixture softmax(alpha / tau)
                without noise.
        """
        self._sampled = True
        if not hard or self.sampling == "mixture":
            return Sample(mixture_EK=self.logits().softmax(-1))
        noise_EK = self._noise()
        if self.sampling == "gumbel":
            perturbed_EK = self.logits() + noise_EK
            soft_EK = perturbed_EK.softmax(-1)
        else:
            perturbed_EK = self._permitted().log_softmax(-1) + noise_EK
            soft_EK = (perturbed_EK / self.temperature).softmax(-1)
        choices_E = self._choose(perturbed_EK.detach())
        # `gather` needs a column for edges that are not taken (-1) as well; their weight is not used.
        chosen_E = soft_EK.gather(-1, choices_E.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        choices = tuple(choices_E.tolist())
        self.recent.append(choices)
        # (y - sg(y)) is exactly 0, so the weight is exactly 1 and the forward numbers are untouched.
        return Sample(choices=choices, weights_E=1.0 + (chosen_E - chosen_E.detach()))

    def _choose(self, perturbed_EK: Tensor) -> Tensor:
        """Column of each edge's primitive (E,); -1 on an edge that its node does not take."""
        if self.space.taken is None:
            return perturbed_EK.argmax(-1)
        if self.sampling == "gumbel":
            # Edges of a node compete by normalised weights: log softmax(alpha) / tau, not alpha / tau.
            perturbed_EK = perturbed_EK - self._permitted().detach().logsumexp(-1, keepdim=True) / self.temperature
        return torch.tensor(best_genotype(self.space, perturbed_EK).indices, device=self.alpha.device)

    def sample_uniform(self, hard: bool = True) -> Sample:
        """A uniform draw without gradient: each genotype that is left equally likely, whatever alpha says.

        Args:
            hard: one primitive on each edge; otherwise the mixture of equal shares.
        """
        if not hard:
            shares_EK = (~self.excluded_EK).to(self.alpha.dtype)
            return Sample(mixture_EK=shares_EK / shares_EK.sum(-1, keepdim=True))
        left_EK = (~self.excluded_EK).double()
        left_EK[:, [self.space.primitives.index(name) for name in self.space.excluded]] = 0.0
        choices_E = torch.multinomial(left_EK, 1, generator=self.generator).squeeze(-1)
        if self.space.taken is not None:
            order_E = torch.rand(len(choices_E), generator=self.generator, device=self.alpha.device)
            for group in map(list, self.space.groups):
                left = order_E[group].argsort()[self.space.taken :]
                choices_E[torch.tensor(group, device=self.alpha.device)[left]] = -1
        return Sample(choices=tuple(choices_E.tolist()))

    def update_temperature(self, score: float) -> None:
        """End one exploration epoch with `score` (higher is better) and take the schedule's next temperature.

        Raises:
            TrainingError: nothing was sampled since the last `update_temperature`.
        """
        if not self._sampled:
            raise TrainingError(
                "sample before update_temperature",
                "update_temperature without a draw",
                "call sample() during the exploration epoch",
            )
        self._sampled = False
        self.state = self.schedule.advance(self.state, score)

    def _noise(self) -> Tensor:
        uniform_EK = torch.rand(
            self.alpha.shape, generator=self.generator, device=self.alpha.device, dtype=self.alpha.dtype
        )
        tiny = torch.finfo(uniform_EK.dtype).tiny
        # Draws of exactly 0 or 1 would make the noise infinite.
        return -torch.log(-torch.log(uniform_EK.clamp(min=tiny, max=1 - 1e-7))) * self.exploration_factor

    def search_state(self) -> dict[str, Any]:
        """Everything that the next draw depends on: alpha, generator, schedule; for `load_search_state`."""
        return {
            "alpha": self.alpha.detach().clone(),
            "generator": self.generator.get_state(),
            "epoch": self.state.epoch,
            "temperature": self.state.temperature,
            "best": self.state.best,
            "sampled": self._sampled,
            "recent": [list(choices) for choices in self.recent],
            "excluded": self.excluded_EK.clone(),
            # Only while it is held: the digest of every other run stays what earlier versions wrote.
            **({} if self.held is None else {"held": self.held}),
        }

    def load_search_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where `search_state` was taken.

        Raises:
            ConfigError: the state belongs to a space of another shape.
        """
        require(
            state["alpha"].shape == self.alpha.shape,
            expected=f"alpha of shape {tuple(self.alpha.shape)}",
            got=tuple(state["alpha"].shape),
            hint="use the space of the run that was saved",
        )
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.generator.set_state(state["generator"])
        self.state = ScheduleState(epoch=state["epoch"], temperature=state["temperature"], best=state["best"])
        self.held = state.get("held")
        self._sampled = state["sampled"]
        self._remember(state["recent"])
        self.excluded_EK = state["excluded"].to(self.alpha.device).clone()
        self._excludes = bool(self.excluded_EK.any())

    def _remember(self, draws: Iterable[Iterable[int]]) -> None:
        self.recent = deque((tuple(choices) for choices in draws), maxlen=RECENT)
