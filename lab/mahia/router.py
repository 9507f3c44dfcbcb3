"""`ExpertRouter`: a mixture of experts in which each token runs k of E feed-forward networks.

Shapes: T tokens, D width, E experts, K chosen experts, P pairs of token and expert, sorted by expert.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab.base import DataError, require_range
from lab.mahia.balance import balance_loss, load, moved_bias, z_loss
from lab.mahia.experts import SwiGLUExperts
from lab.mahia.gate import Choice, ExpertGate
from lab.mahia.state import State


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What a router did with one input."""

    y: Tensor
    """Output, of the input's shape."""
    load_E: Tensor
    """Share of the pairs of token and expert that asked for each expert; adds up to 1; no gradient."""
    balance_loss: Tensor
    """E sum_e f_e P_e: 1 at uniform load, E / k at collapse (Switch's normalisation)."""
    z_loss: Tensor
    """Mean squared log of the gate's partition function."""
    dropped: Tensor
    """Pairs that found no room, an integer; 0 without a capacity."""
    experts_TK: Tensor
    """Chosen experts of each token that is no padding, the most probable slot first."""
    weights_TK: Tensor
    """Their weights in the output."""


class ExpertRouter(nn.Module):
    """y = sum over the k chosen experts of w_e expert_e(x), w from `ExpertGate`.

    Dropless by default. With a `capacity_factor` c each expert takes at most ceil(c k T / E) pairs, first choices
    before second ones and earlier tokens before later ones; what finds no room adds nothing (Switch, GShard).

    Losses: `route` gives them with the output; in a deeper model, `collect_routing` gives those of every router after
    an ordinary forward. Nothing of a forward is kept on the module.

    State (see `lab.mahia.state`) that a forward in train mode moves: with a `bias_rate`, `selection_bias` (E,); after
    `AddExpert`, the gate's `opening`.

    An input that is not finite is passed on: the rows of its own tokens are not finite, the others are right.

    Args:
        dim: D, >= 1.
        num_experts: E, >= 1.
        k: experts of a token, 1 <= k <= E.
        hidden: hidden width of an expert, >= 1; 2 D where it is None.
        capacity_factor: room of the experts, > 0; None for no limit.
        bias_rate: step of the selection bias, >= 0; 0 for none.

    Raises:
        ConfigError: a size outside its range.

    Source: Jiang et al. 2024, "Mixtral of Experts", section 2.1; Fedus, Zoph and Shazeer 2022, "Switch Transformers",
    section 2.2 (capacity, balance loss); Lepikhin et al. 2021, "GShard", section 2.2 (order of filling); Wang et al.
    2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (selection bias).
    """

    def __init__(
        self,
        dim: int,
        num_experts: int,
        k: int,
        hidden: int | None = None,
        *,
        capacity_factor: float | None = None,
        bias_rate: float = 0.0,
    ) -> None:
        super().__init__()
        require_range("num_experts", num_experts, 1)
        require_range("k", k, 1, num_experts)
        require_range("bias_rate", bias_rate, 0.0)
        if capacity_factor is not None:
            require_range("capacity_factor", capacity_factor, 0.0, open_low=True)
        self.capacity_factor = capacity_factor
        self.bias_rate = bias_rate
        self.experts = SwiGLUExperts(num_experts, dim, 2 * dim if hidden is None else hidden)
        self.gate = ExpertGate(dim, num_experts, k)
        self.state = State(selection_bias=torch.zeros(num_experts)) if bias_rate > 0.0 else None
        self._listener: Callable[[Routing], None] | None = None

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.experts.down.shape[1]

    @property
    def num_experts(self) -> int:
        """How many experts there are."""
        return len(self.experts)

    @property
    def k(self) -> int:
        """Experts of a token."""
        return self.gate.k

    @property
    def selection_bias(self) -> Tensor | None:
        """A copy of the bias (E,) that is added to the probabilities for the choice; None without a `bias_rate`."""
        return None if self.state is None else self.state.read("selection_bias")

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Tokens (..., D) through their experts; see `route`."""
        if self._listener is not None:
            routing = self.route(x, padding)
            self._listener(routing)
            return routing.y
        return _placed(self._step(self._tokens(x, padding))[0], x, padding)

    def route(self, x: Tensor, padding: Tensor | None = None) -> Routing:
        """The output with the losses and the load.

        Args:
            x: tokens (..., D).
            padding: which of them are padding, (...) of bool; their output is 0, and they count nowhere.

        Raises:
            DataError: another width, no token, or a `padding` of another shape or kind.
        """
        y_TD, chosen, asked_E, dropped = self._step(self._tokens(x, padding))
        load_E = asked_E.to(chosen.logits_TS.dtype) / asked_E.sum()
        loss = balance_loss(load_E, self.gate.probabilities(chosen), chosen.eligible_E)
        return Routing(
            y=_placed(y_TD, x, padding),
            load_E=load_E,
            balance_loss=loss,
            z_loss=z_loss(chosen.logits_TS),
            dropped=dropped,
            experts_TK=chosen.experts_TK,
            weights_TK=chosen.weights_TK,
        )

    def _tokens(self, x: Tensor, padding: Tensor | None) -> Tensor:
        if x.dim() < 1 or x.shape[-1] != self.dim or not x.is_floating_point():
            expected = f"x of floating numbers whose last dimension is {self.dim}"
            raise DataError(expected, f"{x.dtype} {tuple(x.shape)}", "give tokens of the router's width")
        if padding is not None and (padding.dtype != torch.bool or padding.shape != x.shape[:-1]):
            expected = f"padding of bool and shape {tuple(x.shape[:-1])}"
            raise DataError(expected, f"{padding.dtype} {tuple(padding.shape)}", "mark padding with True")
        tokens_TD = x.reshape(-1, self.dim) if padding is None else x[~padding]
        if tokens_TD.shape[0] == 0:
            got = f"x of shape {tuple(x.shape)}" + ("" if padding is None else ", all of it padding")
            raise DataError("at least one token that is no padding", got, "skip the empty batch")
        return tokens_TD

    def _step(self, x_TD: Tensor) -> tuple[Tensor, Choice, Tensor, Tensor]:
        """Output (T, D), the choice, pairs that asked for each expert (E,), how many found no room; moves the state."""
        bias_E = self.selection_bias
        chosen: Choice = self.gate(x_TD, bias_E)
        asked_E = load(chosen.experts_TK, self.num_experts)
        y_TD, dropped = self._mix(x_TD, chosen, asked_E)
        if self.state is not None and bias_E is not None:
            share_E = asked_E.to(bias_E.dtype) / asked_E.sum()
            self.state.write(selection_bias=moved_bias(bias_E, share_E, self.bias_rate, chosen.eligible_E))
        self.gate.move()
        return y_TD, chosen, asked_E, dropped

    def _mix(self, x_TD: Tensor, chosen: Choice, asked_E: Tensor) -> tuple[Tensor, Tensor]:
        """Output (T, D), and how many pairs found no room."""
        counts_E = asked_E
        # By rank first, so that a full expert turns later ranks away.
        expert_P, order_P = chosen.experts_TK.T.flatten().sort(stable=True)
        weights_P = chosen.weights_TK.T.flatten()
        if self.capacity_factor is not None:
            room = math.ceil(self.capacity_factor * expert_P.shape[0] / self.num_experts)
            # Place of each pair in the queue of its expert.
            place_P = torch.arange(expert_P.shape[0], device=x_TD.device) - (asked_E.cumsum(0) - asked_E)[expert_P]
            order_P, counts_E = order_P[place_P < room], asked_E.clamp(max=room)
        # Pairs lie rank by rank, each rank with all tokens in order.
        token_P = order_P % x_TD.shape[0]
        y_PD = self.experts(x_TD.index_select(0, token_P), counts_E, trusted=True)
        # The gate's weights are float32 at least, and so is the sum, whatever the experts compute in.
        weighted_PD = y_PD * weights_P.index_select(0, order_P)[:, None]
        y_TD = torch.zeros_like(x_TD, dtype=weighted_PD.dtype).index_add(0, token_P, weighted_PD)
        return y_TD.to(y_PD.dtype), asked_E.sum() - counts_E.sum()

    def extra_repr(self) -> str:
        options = "" if self.capacity_factor is None else f"capacity_factor={self.capacity_factor}"
        return options or ("" if self.state is None else f"bias_rate={self.bias_rate}")


def _placed(y_TD: Tensor, x: Tensor, padding: Tensor | None) -> Tensor:
    if padding is None:
        return y_TD.reshape(x.shape)
    return y_TD.new_zeros(x.shape).index_put((~padding,), y_TD)


@contextmanager
def collect_routing(model: nn.Module) -> Iterator[dict[str, list[Routing]]]:
    """Every `Routing` of the forwards inside the block, by the router's name in `named_modules()`.

    The losses in it are ordinary results of the forward: add them to the task's loss before the one backward.

    Args:
        model: holds at least one `ExpertRouter`, or is one (whose name is then empty).

    Yields:
        Router's name -> a `Routing` for each of its forwards, in their order; it fills while the block runs.

    Raises:
        DataError: the model has no router.
    """
    routers = {name: module for name, module in model.named_modules() if isinstance(module, ExpertRouter)}
    if not routers:
        raise DataError("a model with an ExpertRouter", type(model).__name__, "give the model that holds the router")
    found: dict[str, list[Routing]] = {name: [] for name in routers}
    before = {name: router._listener for name, router in routers.items()}
    try:
        for name, router in routers.items():
            router._listener = found[name].append
        yield found
    finally:
        for name, router in routers.items():
            router._listener = before[name]
