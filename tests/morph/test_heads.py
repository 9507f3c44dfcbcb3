"""Whole heads as units, cut and chosen widths: one small module for each rule."""

import copy

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import Prune, Widen, apply

TOKENS = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(3)).double()
MAPS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(4)).double()


class Attention(nn.Module):
    """Fused queries, keys and values; the size of the output is that of the input, or the product of the heads."""

    def __init__(self, *, own_size: bool, bias: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = 3, 4, 12
        self.own_size = own_size
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.table = nn.Parameter(torch.randn(7, 3)) if bias else None
        self.register_buffer("index", torch.arange(25) % 7, persistent=False)

    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
        if self.table is not None:
            scores = scores + self.table[self.index].view(N, N, -1).permute(2, 0, 1)[None]
        x = (scores.softmax(-1) @ v).transpose(1, 2)
        return self.proj(x.reshape(B, N, self.attn_dim if self.own_size else C))


class Grouped(nn.Module):
    """Two heads of queries to one of keys and values; their number is what is left of a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(12, 24), nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(24, 12)

    def forward(self, x):
        B, N, _ = x.shape
        q, k, v = (layer(x).view(B, N, -1, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
        k, v = (y[:, :, None].expand(-1, -1, 2, -1, -1).reshape(B, -1, N, 4) for y in (k, v))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).reshape(B, N, -1))


class Inside(nn.Module):
    """A function of the outputs of a layer, and a layer behind it."""

    def __init__(self, first, function, last) -> None:
        super().__init__()
        self.first, self.last, self.function = first, last, function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def exact(model, op, x):
    """The change is exact in float64, in a forward that the plan did not measure."""
    torch.manual_seed(0)
    model = model.double()
    before = model(x).detach()
    plan = op.plan(model, x)
    assert plan.max_difference <= 1e-10
    apply(plan, model)
    assert torch.allclose(model(x), before, rtol=1e-10, atol=1e-12)
    return plan


def test_fused_heads_are_widened_whole():
    model = Attention(own_size=True)
    exact(model, Widen("qkv", 60), TOKENS)
    assert (model.num_heads, model.head_dim, model.attn_dim) == (5, 4, 20)
    assert (model.qkv.out_features, model.proj.in_features, model.proj.out_features) == (60, 20, 12)


def test_a_width_within_a_head_is_refused_with_the_nearest_whole_heads():
    with pytest.raises(MorphError, match="multiple of 12.*he nearest legal width is 48"):
        Widen("qkv", 40).plan(Attention(own_size=True).double(), TOKENS)
    with pytest.raises(MorphError, match="multiple of 12.*he nearest legal width is 12"):
        Prune("qkv", 18).plan(Attention(own_size=True).double(), TOKENS)


def test_heads_are_pruned_whole():
    model = Attention(own_size=True).double()
    apply(Prune("qkv", 24).plan(model, TOKENS), model)
    assert (model.num_heads, model.attn_dim) == (2, 8)
    model(TOKENS).sum().backward()


def test_a_table_of_relative_positions_follows_the_heads():
    model = Attention(own_size=True, bias=True)
    exact(model, Widen("qkv", 48), TOKENS)
    assert model.table.shape == (7, 4)


def test_heads_that_a_reshape_joins_to_the_stream_grow_with_it():
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.attention = nn.Linear(12, 12), Attention(own_size=False)
            self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 2)

        def forward(self, x):
            x = self.stem(x)
            return self.head(self.norm(x + self.attention(x)))

    model = Stream()
    exact(model, Widen("stem", 24), TOKENS)
    assert (model.attention.num_heads, model.attention.qkv.in_features, model.norm.normalized_shape) == (6, 24, (24,))


def test_a_bias_of_each_part_grows_with_the_part():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads = 3
            self.qkv, self.proj = nn.Linear(12, 36, bias=False), nn.Linear(12, 2)
            self.q, self.k, self.v = (nn.Parameter(torch.randn(12)) for _ in range(3))

        def forward(self, x):
            y = nn.functional.linear(x, self.qkv.weight, torch.cat([self.q, self.k, self.v]))
            q, k, v = y.reshape(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
            q = nn.functional.normalize(q, dim=-1)
            y = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.proj(y.transpose(1, 2).flatten(2))

    model = Biased()
    exact(model, Widen("qkv", 48), TOKENS)
    assert (model.num_heads, model.k.shape, model.proj.in_features) == (4, (16,), 16)


def test_halves_that_a_number_in_an_attribute_cuts_are_widened():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_channels = 8
            self.stem, self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            one, two = self.stem(x).split(self.in_channels // 2, 1)
            return self.one(one) + self.two(two)

    exact(Halves(), Widen("stem", 12), MAPS)


def test_grouped_queries_grow_with_their_keys_and_values():
    model = Grouped()
    exact(model, Widen("k", 20), TOKENS)
    assert (model.q.out_features, model.v.out_features, model.o.in_features) == (40, 20, 40)
    with pytest.raises(MorphError, match="multiple of 8"):
        Widen("q", 44).plan(model, TOKENS)


CUTS = {
    "gate": (nn.Linear(12, 16), nn.GLU(), nn.Linear(8, 2), TOKENS),
    "gate that the forward cuts": (
        nn.Linear(12, 16),
        lambda y: torch.mul(*y.chunk(2, -1)),
        nn.Linear(8, 2),
        TOKENS,
    ),
    "halves that are joined": (
        nn.Conv2d(3, 8, 1),
        lambda y: torch.cat([y.chunk(2, 1)[0].relu(), y.chunk(2, 1)[1]], 1),
        nn.Conv2d(8, 2, 1),
        MAPS,
    ),
    "one half": (nn.Conv2d(3, 8, 1), lambda y: y.chunk(2, 1)[1], nn.Conv2d(4, 2, 1), MAPS),
    "stack": (nn.Conv2d(3, 8, 1), lambda y: torch.stack([y, y.relu()]).sum(0), nn.Conv2d(8, 2, 1), MAPS),
    "index": (nn.Linear(12, 8), lambda y: y[:, torch.tensor([0, 2, 2])], nn.Linear(8, 2), TOKENS),
    "index of two": (
        nn.Linear(12, 8),
        lambda y: y[torch.tensor([0, 1]), torch.tensor([1, 3])],
        nn.Linear(8, 2),
        TOKENS,
    ),
    "index_select": (
        nn.Linear(12, 8),
        lambda y: y.index_select(1, torch.tensor([4, 0])),
        nn.Linear(8, 2),
        TOKENS,
    ),
    "index_add": (
        nn.Linear(12, 8),
        lambda y: y.index_add(1, torch.tensor([1, 1]), y[:, :2]),
        nn.Linear(8, 2),
        TOKENS,
    ),
    "neighbours under one mean": (
        nn.Linear(12, 8),
        lambda y: nn.functional.layer_norm(torch.cat([y[:, :-1], y[:, 1:]], -1), (2 * y.shape[-1],)),
        nn.Linear(16, 2),
        TOKENS,
    ),
    "max": (nn.Linear(12, 8), lambda y: y.max(1).values, nn.Linear(8, 2), TOKENS),
    "max over units": (nn.Linear(12, 8), lambda y: y * y.max(-1, keepdim=True)[0], nn.Linear(8, 2), TOKENS),
    "pixel shuffle": (nn.Conv2d(3, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 2, 1), MAPS),
    "pixel unshuffle": (nn.Conv2d(3, 4, 1), nn.PixelUnshuffle(2), nn.Conv2d(16, 2, 1), MAPS),
}


@pytest.mark.parametrize("case", CUTS)
def test_what_cuts_chooses_or_rearranges_units_is_followed(case):
    first, function, last, x = CUTS[case]
    model = Inside(copy.deepcopy(first), function, copy.deepcopy(last))
    width = first.weight.shape[0]
    plan = exact(model, Widen("first", 2 * width), x)
    assert plan.parameters[1] > plan.parameters[0]
    apply(Prune("first", width).plan(model, x), model)
    assert model.first.weight.shape[0] == width


def test_a_number_of_a_unit_that_is_read_fixes_the_width():
    model = Inside(nn.Linear(12, 8), lambda y: y + y.max(-1, keepdim=True).indices, nn.Linear(8, 2)).double()
    with pytest.raises(MorphError, match="numbers its units"):
        Widen("first", 16).plan(model, TOKENS)


def test_pieces_of_other_sizes_are_widths_of_their_own():
    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.time_step_rank = 3
            self.first, self.a, self.b = nn.Linear(12, 8), nn.Linear(3, 2), nn.Linear(5, 2)

        def forward(self, x):
            a, b = self.first(x).split([self.time_step_rank, 5], -1)
            return self.a(a) + self.b(b)

    model = nn.Sequential(Uneven()).double()
    with pytest.raises(MorphError, match=r"runs with the change, in 0 \(Uneven\).*size written into the forward"):
        Widen("0.first", 10).plan(model, TOKENS)


def test_a_tuple_of_pieces_follows_the_pieces():
    class Pieces(nn.Module):
        def __init__(self):
            super().__init__()
            # The last piece is as large as the stream, which does not change.
            self.split_indices = (18, 6, 12)
            self.first, self.last = nn.Linear(12, 36), nn.Linear(18, 12)

        def forward(self, x):
            gate, one, two = self.first(x).split(self.split_indices, -1)
            return self.last(gate.sigmoid() * torch.cat([one, two.relu()], -1))

    model = nn.Sequential(nn.Linear(12, 12), Pieces(), nn.Linear(12, 2))
    exact(model, Widen("0", 24), TOKENS)
    assert (model[1].split_indices, model[1].first.in_features) == ((18, 6, 12), 24)
    exact(model, Widen("1.first", 60), TOKENS)
    assert model[1].split_indices == (30, 6, 24)


def test_what_parts_are_joined_to_is_a_multiple_of_the_part():
    class Ghost(nn.Module):
        def __init__(self):
            super().__init__()
            self.out_chs = 8
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)

        def forward(self, x):
            y = self.one(x)
            return torch.cat([y, self.two(y)], 1)[:, : self.out_chs]

    model = nn.Sequential(Ghost(), nn.Conv2d(8, 2, 1))
    exact(model, Widen("0.one", 8), MAPS)
    assert (model[0].out_chs, model[1].in_channels) == (16, 16)


def test_a_bias_of_heads_that_a_layer_makes_follows_the_heads():
    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads, self.bias_shape = 3, (5, 5, 3)
            self.mlp = nn.Linear(2, 3)
            self.register_buffer("places", torch.randn(5, 5, 2))

        def forward(self):
            return self.mlp(self.places).view(-1, self.num_heads).view(self.bias_shape).permute(2, 0, 1)[None]

    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads, self.bias = 3, Bias()
            self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 2)

        def forward(self, x):
            q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, self.bias())
            return self.proj(y.transpose(1, 2).flatten(2))

    model = Biased()
    exact(model, Widen("qkv", 48), TOKENS)
    assert (model.num_heads, model.bias.num_heads, model.bias.bias_shape) == (4, 4, (5, 5, 4))


def test_what_a_reshape_names_is_tried_as_the_width_that_it_came_from():
    class Reduced(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.reduce, self.norm = nn.Linear(12, 12), nn.Conv2d(12, 12, 2, 2), nn.LayerNorm(12)
            self.one, self.two = nn.Linear(12, 2), nn.Linear(12, 2)

        def forward(self, x):
            x = self.stem(x)
            B, _, C = x.shape
            y = self.reduce(x.transpose(1, 2).reshape(B, C, 2, 2)).reshape(B, C, -1).transpose(1, 2)
            return self.one(self.norm(y)) + self.two(x).mean(1, keepdim=True)

    model = Reduced()
    exact(model, Widen("stem", 24), TOKENS[:, :4])
    assert (model.reduce.out_channels, model.reduce.in_channels, model.two.in_features) == (24, 24, 24)
