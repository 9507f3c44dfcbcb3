"""Routes through layers: which layers a sample takes, and how much each of them counts.

B samples, T tokens, D features, L layers.
Sources: Shazeer et al. 2017, "Outrageously Large Neural Networks", section 2 (the k most probable); Huang et al. 2024,
"Harder Tasks Need More Experts: Dynamic Routing in MoE Models", section 3 (as many as it takes to cover a share).
What a write may do: see `lab.mahia.state`.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lab.base import ConfigError, DataError, require_range
from lab.mahia.checks import require_features
from lab.mahia.state import State


class MetaController(nn.Module):
    """Chooses layers for each sample, and keeps how much each layer has counted of late.

    p = softmax(gate(x) - balance (L importance - 1)), over the mean token where there are tokens. With `k` the k most
    probable layers are taken, with `coverage` the fewest whose probabilities reach it; a layer that is not taken
    weighs 0, one that is taken weighs its p, which is not renormalised: so the gate learns for k = 1 too. In train mode
    importance <- decay importance + (1 - decay) mean over samples of (weights / their sum), layer by layer, whatever
    rank a layer had in a sample; it sums to 1 and is in the `state_dict`.

    Args:
        dim: D >= 1.
        num_layers: L >= 1.
        k: layers of a sample, in [1, L]; None: as many as `coverage` asks for.
        coverage: probability to reach, in (0, 1]; None: `k` layers. Exactly one of the two is given.
        decay: of the importance, in [0, 1].
        balance: how much a layer that has counted more than its share is held back, >= 0.

    Raises:
        ConfigError: a number outside its range, both or neither of `k` and `coverage`.
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        k: int | None = 2,
        *,
        coverage: float | None = None,
        decay: float = 0.9,
        balance: float = 0.0,
    ) -> None:
        super().__init__()
        require_range("dim", dim, 1)
        require_range("num_layers", num_layers, 1)
        if (k is None) == (coverage is None):
            raise ConfigError("one of k and coverage", f"k = {k}, coverage = {coverage}", "set the other to None")
        if k is not None:
            require_range("k", k, 1, num_layers)
        if coverage is not None:
            require_range("coverage", coverage, 0, 1, open_low=True)
        require_range("decay", decay, 0, 1)
        require_range("balance", balance, 0)
        self.dim, self.num_layers, self.k, self.coverage = dim, num_layers, k or num_layers, coverage
        self.decay, self.balance = decay, balance
        self.gate = nn.Linear(dim, num_layers)
        self.state = State(importance_L=torch.full((num_layers,), 1 / num_layers))

    @property
    def importance(self) -> Tensor:
        """How much each layer has counted (L,), sum 1; a detached copy."""
        value: Tensor = self.state.get_buffer("importance_L")
        return value.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) or (B, T, D) -> weights (B, L), 0 where a layer is not taken.

        Raises:
            DataError: another width, no items, or whole numbers.
        """
        require_features(x, self.dim, "x", dims=(2, 3))
        importance_L = self.state.read("importance_L")
        x_BD = x if x.dim() == 2 else x.mean(1)
        logits_BL = self.gate(x_BD) - (self.balance * (self.num_layers * importance_L - 1)).to(x.dtype)
        p_BL = logits_BL.softmax(-1)
        weights_BL = p_BL * self._taken(p_BL.detach())
        credit_L = (weights_BL / weights_BL.sum(-1, keepdim=True)).detach().mean(0).to(importance_L.dtype)
        self.state.write(importance_L=self.decay * importance_L + (1 - self.decay) * credit_L)
        return weights_BL

    def _taken(self, p_BL: Tensor) -> Tensor:
        """1 for a layer that the sample takes, else 0."""
        # Stable: of equal probabilities the first layer is taken on every device.
        sorted_BL, order_BL = p_BL.sort(dim=-1, descending=True, stable=True)
        if self.coverage is not None:
            # The sum before each layer, so that the one which reaches the coverage is taken too.
            taken_BL = sorted_BL.cumsum(-1) - sorted_BL < self.coverage
        else:
            taken_BL = torch.arange(self.num_layers, device=p_BL.device).expand_as(p_BL) < self.k
        return torch.zeros_like(p_BL).scatter(-1, order_BL, taken_BL.to(p_BL.dtype))


def mix_layers(layers: Sequence[nn.Module], x: Tensor, weights_BL: Tensor) -> Tensor:
    """sum over l of weights[:, l] layer_l(x); each layer runs once, on the samples that it has a weight for.

    Args:
        layers: L modules that keep the shape of their input.
        x: (B, ...).
        weights_BL: >= 0; the graph of a layer that no sample takes is not built.

    Raises:
        DataError: a layer that gives another shape.
    """
    total = torch.zeros_like(x)
    taken_BL = weights_BL.detach() != 0
    for number, layer in enumerate(layers):
        rows_N = taken_BL[:, number].nonzero().squeeze(-1)
        if not len(rows_N):
            continue
        x_N = x.index_select(0, rows_N)
        y_N = layer(x_N)
        if y_N.shape != x_N.shape:
            got = f"{tuple(y_N.shape)} of {type(layer).__name__}"
            raise DataError(f"shape {tuple(x_N.shape)} from layer {number}", got, "route among layers that keep shape")
        share_N = weights_BL[:, number].index_select(0, rows_N).reshape(-1, *[1] * (x.dim() - 1))
        total = total.index_add(0, rows_N, (share_N * y_N).to(x.dtype))
    return total


class DynamicLayerRouter(nn.Module):
    """y = sum over the k layers that a sample takes of p_l layer_l(x); samples may take different ones.

    Args:
        dim: D of the input, >= 1.
        layers: L >= 1 modules that keep the shape of their input.
        k: layers of a sample, in [1, L].
        controller: chooses the layers; default `MetaController(dim, L, k)`.

    Raises:
        ConfigError: a number outside its range, no layers, or a controller for another number of them.
    """

    def __init__(
        self, dim: int, layers: Iterable[nn.Module], k: int = 2, *, controller: MetaController | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        count = len(self.layers)
        if not count:
            raise ConfigError("at least one layer", "none", "give layers that keep the shape of their input")
        self.controller = controller if controller is not None else MetaController(dim, count, k)
        if self.controller.num_layers != count:
            got = f"one for {self.controller.num_layers}"
            raise ConfigError(f"a controller for {count} layers", got, "build it for as many layers as there are")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) or (B, T, D) -> the same shape.

        Raises:
            DataError: another width, no items, whole numbers, or a layer that changes the shape.
        """
        return mix_layers(list(self.layers), x, self.controller(x))


class DynamicNeuroFabric(nn.Module):
    """y = x + sum of p_l block_l(x) over as many blocks as a sample needs to cover a share of the probability.

    A block is LayerNorm, Linear D -> 2D, GELU, Linear 2D -> D, token by token. A sample that the gate is sure of takes
    one block, an unclear one up to `max_layers`.

    Args:
        dim: D >= 1.
        max_layers: L >= 1.
        coverage: probability that the taken blocks reach, in (0, 1].
        balance: see `MetaController`.

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(self, dim: int, max_layers: int = 8, *, coverage: float = 0.5, balance: float = 0.0) -> None:
        super().__init__()
        self.controller = MetaController(dim, max_layers, None, coverage=coverage, balance=balance)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
            for _ in range(max_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) or (B, D) -> the same shape.

        Raises:
            DataError: another width, no items, or whole numbers.
        """
        return x + mix_layers(list(self.blocks), x, self.controller(x))
