"""Healthy models that look suspicious: weights without a gradient, or with one of zero, on purpose."""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from .case import Program, healthy


def _trained(model: nn.Module, x: Tensor, lr: float = 0.1) -> Program:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=lr)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, batch=x)


@healthy("the backbone has no gradient: it is frozen, in eval mode, and no optimizer has it")
def frozen_backbone() -> Program:
    backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).requires_grad_(False)
    model = nn.Sequential(backbone, nn.Linear(4, 2))
    backbone.eval()
    return _trained(model, torch.randn(5, 3))


@healthy("one factor of the adapter is zero, so the other one has a gradient of zero")
def adapter_that_begins_at_zero() -> Program:
    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(4, 4).requires_grad_(False)
            self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.up(self.down(x))

    return _trained(Adapted(), torch.randn(3, 4))


@healthy("an expert gets no token in this batch")
def expert_without_a_token() -> Program:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(3, 3)
            self.experts = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
            self.gate.bias.data = torch.tensor([9.0, 0.0, -9.0])

        def forward(self, x: Tensor) -> Tensor:
            chance = self.gate(x).softmax(-1)
            best = chance.argmax(-1)
            out = torch.zeros_like(x)
            for number in best.unique().tolist():
                rows = (best == number).nonzero().squeeze(-1)
                out = out.index_add(0, rows, chance[rows, number, None] * self.experts[number](x[rows]))
            return out

    model, x = Experts(), torch.randn(4, 3) * 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer)


@healthy("one weight under two names")
def tied_embedding() -> Program:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(6, 4, padding_idx=0), nn.Linear(4, 6, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids))

    return _trained(Language(), torch.tensor([1, 2, 2]))


@healthy("most rows of the embedding are not looked up: their gradient is zero")
def rows_not_looked_up() -> Program:
    return _trained(nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 1)), torch.tensor([3, 4]))


@healthy("the weight is computed from two others at each call")
def weight_norm_as_parametrization() -> Program:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1))
    return _trained(model, torch.randn(2, 3))


@healthy("the older form of the same, whose weight is a plain tensor with a history")
def weight_norm_as_a_hook() -> Program:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1))
    return _trained(model, torch.randn(2, 3))


@healthy("a power iteration writes its vectors in every forward")
def spectral_norm_as_parametrization() -> Program:
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 1))
    return _trained(model, torch.randn(2, 3))


@healthy("each block begins as the identity: its weights have a gradient of zero")
def residual_blocks_behind_closed_gates() -> Program:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.gate = nn.Linear(4, 4), nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.gate * self.mix(x).tanh()

    return _trained(nn.Sequential(Block(), Block(), nn.Linear(4, 1)), torch.randn(3, 4))


@healthy("the last layer is zero: nothing before it has a gradient at the first step")
def head_that_begins_at_zero() -> Program:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.zeros_(model[2].weight)
    x = torch.randn(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Program(model=model, step=lambda: (model(x) - 1).square().mean(), optimizer=optimizer, batch=x)


@healthy("a bias before a norm has a gradient of zero")
def bias_before_a_norm() -> Program:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    return _trained(model, torch.randn(6, 3))


@healthy("half of the units are off for this batch")
def units_that_are_off() -> Program:
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, 1))
    model[0].bias.data = torch.tensor([9.0, 9.0, 9.0, -9.0, -9.0, -9.0])
    return _trained(model, torch.randn(3, 3))


@healthy("one layer is used three times in one forward")
def one_layer_for_every_depth() -> Program:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = x + self.mix(x).tanh()
            return x

    return _trained(Deep(), torch.randn(2, 3))


@healthy("the mask is a buffer of minus infinity")
def causal_mask_of_infinity() -> Program:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score, self.value = nn.Linear(4, 3), nn.Linear(4, 4)
            self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return (self.score(x) + self.mask).softmax(-1) @ self.value(x)

    return _trained(Attend(), torch.randn(3, 4))


@healthy("rounding has no gradient; a straight-through sum gives it one")
def rounded_with_a_straight_gradient() -> Program:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(x)
            return h + (h.round() - h).detach()

    return _trained(Coarse(), torch.randn(2, 3))


@healthy("the codebook is chosen by argmin; each side learns from a detached copy of the other")
def codebook_with_stopped_gradients() -> Program:
    class Quantiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(3, 2), nn.Linear(2, 3)
            self.codes = nn.Embedding(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            z = self.encode(x)
            with torch.no_grad():
                choice = torch.cdist(z, self.codes.weight).argmin(1)
            code = self.codes(choice)
            extra = (code - z.detach()).square().mean() + 0.25 * (code.detach() - z).square().mean()
            return self.decode(z + (code - z).detach()) + extra

    return _trained(Quantiser(), torch.randn(4, 3))


@healthy("gates, cells and their flat weights")
def recurrent_net() -> Program:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.read(x)[0][:, -1])

    return _trained(Read(), torch.randn(2, 3, 3))


@healthy("attention with dropout and a padding mask that hides a part of each row")
def transformer_layer_with_padding() -> Program:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.tensor([[False, False, True]], device=x.device).expand(len(x), 3)
            return self.layer(x, src_key_padding_mask=hidden)

    return _trained(Padded(), torch.randn(2, 3, 4))


@healthy("normalised features: F.normalize has a guard against length zero")
def cosine_head() -> Program:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.classes = nn.Linear(3, 4), nn.Parameter(torch.randn(2, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.mix(x)) @ F.normalize(self.classes).t()

    return _trained(Cosine(), torch.randn(3, 3))
