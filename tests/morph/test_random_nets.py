"""Random small networks under random surgery: what is called exact is exact, and all of it can be rolled back.

The measure is the tests' own: a copy of the network from before, fresh inputs, both modes, float64.
Shapes: B batch, C channels, H W height and width, N tokens.
"""

import contextlib
import copy
import os
import random as python_random
from collections import Counter

import numpy
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, Prune, Widen, apply, rollback

LENGTH = 50 if os.environ.get("LAB_LARGE") else 25
"""Changes of a chain that are tried."""
PLAIN = (bool, int, float, str, tuple)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.CELU, nn.SELU, nn.LeakyReLU, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Mish, nn.Tanhshrink, nn.Softshrink,
    nn.PReLU, nn.Identity, lambda: nn.ReLU(inplace=True), lambda: nn.SiLU(inplace=True),
    lambda: nn.LeakyReLU(0.1, inplace=True), lambda: nn.Hardtanh(inplace=True), lambda: nn.Dropout(0.2),
)  # fmt: skip


class Block(nn.Module):
    """Parts, and how they make an output."""

    def __init__(self, how, *parts):
        super().__init__()
        self.how, self.parts = how, nn.ModuleList(parts)

    def forward(self, x):
        return self.how(x, *self.parts)


class Scaled(nn.Module):
    """A factor and a constant for each channel, the constant a buffer."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)
        self.register_buffer("shift", torch.randn(channels), persistent=False)

    def forward(self, x):
        return x * self.scale + self.shift.view(1, -1, 1, 1)


def gate(x, one, two):
    """Squeeze and excitation."""
    return x * two(one(x.mean((2, 3))).relu()).sigmoid()[..., None, None]


def attend(x_BCHW, norm, query, key, value, out):
    """A transformer's attention over pixels, written by hand."""
    y_BNC = norm(x_BCHW.flatten(2).transpose(1, 2))
    scores_BNN = (query(y_BNC) @ key(y_BNC).transpose(1, 2)).softmax(-1)
    return x_BCHW + out(scores_BNN @ value(y_BNC)).transpose(1, 2).unflatten(2, x_BCHW.shape[2:])


def tokens(random, channels):
    inner = random.randint(2, 6)
    into = (nn.Linear(channels, inner) for _ in range(3))
    return Block(attend, nn.LayerNorm(channels), *into, nn.Linear(inner, channels)), channels


def gated(random, channels):
    inner = random.randint(2, 5)
    return Block(gate, nn.Linear(channels, inner), nn.Linear(inner, channels)), channels


def pick(random, *choices):
    return choices[random.randrange(len(choices))]


def conv(random, channels, out=0, stride=1, groups=1):
    out = out or random.randint(2, 12)
    kernel = pick(random, 1, 3)
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=random.random() < 0.5), out


def norm(random, channels):
    divisors = [count for count in range(1, channels + 1) if channels % count == 0 and channels // count > 1]
    return pick(
        random,
        nn.BatchNorm2d(channels),
        nn.BatchNorm2d(channels, affine=False),
        nn.GroupNorm(pick(random, 1, *divisors), channels),
        nn.InstanceNorm2d(channels, affine=random.random() < 0.5),
        Block(lambda x, body: body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(channels)),
        Scaled(channels),
    )


def plain(random, channels, out=0, stride=1):
    layer, out = conv(random, channels, out, stride)
    return nn.Sequential(layer, norm(random, out), pick(random, *ACTIVATIONS)()), out


def grouped(random, channels):
    groups = pick(random, *(count for count in range(1, channels + 1) if channels % count == 0))
    return conv(random, channels, groups * random.randint(1, max(1, 16 // groups)), groups=groups)


def residual(random, channels):
    first, inner = plain(random, channels)
    skip = nn.Identity() if random.random() < 0.7 else nn.Conv2d(channels, channels, 1)
    return Block(lambda x, a, b: a(x) + b(x), nn.Sequential(first, conv(random, inner, channels)[0]), skip), channels


def concat(random, channels):
    first, out = plain(random, channels, random.randint(2, 6))
    if channels < 9 and random.random() < 0.5:
        return Block(lambda x, a, b: torch.cat([a(x), b(x)], 1), first, nn.Identity()), out + channels
    return Block(lambda x, a, b: torch.cat([a(x), b(x)], 1), first, conv(random, channels, 4)[0]), out + 4


def keep(make):
    """A block that keeps the number of channels."""
    return lambda random, channels: (make(random, channels), channels)


BLOCKS = {
    "plain": plain,
    "strided": lambda random, channels: plain(random, channels, stride=2),
    "grouped": grouped,
    "residual": residual,
    "concat": concat,
    "tokens": tokens,
    "gated": gated,
    "norm": keep(norm),
    "transposed": keep(lambda random, n: nn.Sequential(nn.ConvTranspose2d(n, n, 2, 2), nn.AvgPool2d(2))),
    "depthwise": keep(lambda random, n: nn.Conv2d(n, n, 3, padding=1, groups=n)),
    "pool": keep(lambda random, n: pick(random, nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1), nn.Upsample(8))),
    "activation": keep(lambda random, n: pick(random, *ACTIVATIONS, lambda: nn.PReLU(n))()),
    "twice": keep(lambda random, n: Block(lambda x, a: a(a(x).tanh()), nn.Conv2d(n, n, 3, padding=1))),
    "mixed": keep(lambda random, n: pick(random, nn.ChannelShuffle(2 - n % 2), nn.Softmax(1), nn.LocalResponseNorm(3))),
}


def build(random, kinds):
    """A network of these blocks behind a stem, with a head of linear layers; all numbers drawn, float64."""
    torch.manual_seed(random.randrange(2**31))
    stages, channels = [nn.Conv2d(3, 6, 3, padding=1)], 6
    for place, kind in enumerate(kinds):
        # Two halvings of 8x8 maps leave 2x2, enough for a normalisation to be well-conditioned.
        halved = kind in ("strided", "pool") and sum(k in ("strided", "pool") for k in kinds[:place]) >= 2
        block, channels = BLOCKS["norm" if halved else kind](random, channels)
        stages.append(block)
    size = pick(random, 1, 2)
    hidden = random.randint(2, 9)
    middle = pick(random, nn.LayerNorm(hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.1))
    head = [nn.AdaptiveAvgPool2d(size), nn.Flatten(), nn.Linear(channels * size * size, hidden), middle]
    head += [pick(random, *ACTIVATIONS)(), nn.Linear(hidden, 3)]
    model = nn.Sequential(nn.Sequential(*stages), nn.Sequential(*head)).double()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 1:
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model


def draw_op(random, model):
    """Some operation at some place, sensible or not."""
    paths = [path for path, _ in model.named_modules() if path]
    layers = [(path, m) for path, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    kind = pick(random, "widen", "widen", "widen", "prune", "deepen", "residual", "span", "attention", "branch")
    if kind in ("widen", "prune"):
        path, layer = layers[random.randrange(len(layers))]
        width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        if kind == "widen":
            return Widen(path, min(24, pick(random, 2 * width, width + random.randint(1, width))))
        keep = random.randint(1, max(1, width - 1))
        return Prune(path, pick(random, keep, tuple(sorted(random.sample(range(width), keep)))))
    path = paths[random.randrange(len(paths))]
    if kind == "span":
        parent, _, name = path.rpartition(".")
        siblings = list(model.get_submodule(parent)._modules)
        later = siblings[siblings.index(name) :]
        return InsertResidual((path, f"{parent}.{pick(random, *later)}".lstrip(".")))
    insert = {"deepen": Deepen, "residual": InsertResidual, "attention": InsertAttention, "branch": AddBranch}
    return insert[kind](path)


def images(random, batch=4):
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    return torch.randn(batch, 3, 8, 8, dtype=torch.float64, generator=generator)


def outputs(model, x):
    """In eval mode and in train mode without chance, of a copy."""
    model, found = copy.deepcopy(model), []
    for mode in (False, True):
        model.train(mode)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            found.append(model(x))
    return found


def backward(model, random):
    model.train().zero_grad()
    model(images(random)).square().mean().backward()


def start(random, kinds):
    """A network and an optimizer after a few steps."""
    model = build(random, kinds)
    parameters = {"params": model[0].parameters(), "lr": 1e-3}, {"params": model[1].parameters(), "lr": 2e-3}
    sgd = random.random() < 0.5
    optimizer = torch.optim.SGD(parameters, momentum=0.9, weight_decay=1e-3) if sgd else torch.optim.Adam(parameters)
    for _ in range(random.randint(0, 3)):
        backward(model, random)
        optimizer.step()
    return model, optimizer


def check_optimizer(model, optimizer):
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters() if p.requires_grad}
    for p, entries in optimizer.state.items():
        assert id(p) in held
        assert all(value.shape in ((), p.shape) for value in entries.values() if torch.is_tensor(value))


@pytest.fixture(scope="module")
def whole(state):
    """Takes the state of a network and its optimizer, and what the shared fixture leaves out."""

    def take(model, optimizer):
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {
            **state(model, optimizer),
            "all": {name: tensor.detach().clone() for name, tensor in tensors.items()},
            "gradients": {n: torch.tensor(()) if t.grad is None else t.grad.clone() for n, t in tensors.items()},
            "modules": [(id(m), {k: v for k, v in vars(m).items() if isinstance(v, PLAIN)}) for m in model.modules()],
            "streams": (python_random.getstate(), [str(part) for part in numpy.random.get_state()]),
        }

    return take


def search(examples, *, large):
    """A fixed number of examples, the same in each run; `large` of them where LAB_LARGE is set."""
    examples = large if os.environ.get("LAB_LARGE") else examples
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=slow)


KINDS = st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4)
RANDOMS = st.randoms(use_true_random=True)


def test_what_is_called_exact_is_exact_and_a_refusal_touches_nothing(whole, same):
    tally = Counter()

    @search(15, large=30)
    @given(KINDS, RANDOMS)
    def check(kinds, random):
        model, optimizer = start(random, kinds)
        example = images(random)
        for _ in range(4):
            op, before, old = draw_op(random, model), whole(model, optimizer), copy.deepcopy(model)
            try:
                plan = op.plan(model, example, seed=random.randrange(100))
                report = apply(plan, model, optimizer)
            except MorphError:
                tally[op.name, False] += 1
                assert same(whole(model, optimizer), before)
                continue
            tally[op.name, True] += 1
            assert report.applied
            assert plan.exact is not isinstance(op, Prune)
            x = images(random, 6)
            for y, new in zip(outputs(old, x), outputs(model, x), strict=True):
                assert bool(new.isfinite().all())
                assert isinstance(op, Prune) or (new - y).abs().max() <= 1e-10 * y.abs().max(), op
            backward(model, random)
            assert all(p.grad is not None for p in model.parameters())
            optimizer.step()
            check_optimizer(model, optimizer)

    check()
    done, refused = ({name: n for (name, yes), n in tally.items() if yes is kind} for kind in (True, False))
    assert sum(done.values()) >= sum(refused.values()), tally
    for name in ("widen", "prune", "deepen", "insert_residual", "insert_attention", "add_branch"):
        assert done.get(name, 0) >= max(1, refused.get(name, 0) / 4), tally


def test_a_chain_of_changes_is_taken_back_bit_by_bit(whole, same):
    lengths = []

    @search(2, large=2)
    @given(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=3, max_size=4), RANDOMS)
    def check(kinds, random):
        model, optimizer = start(random, kinds)
        example, stack = images(random), []
        for _ in range(LENGTH):
            if random.random() < 0.3:
                backward(model, random)
                optimizer.step()
            before = whole(model, optimizer)
            try:
                report = apply(draw_op(random, model).plan(model, example), model, optimizer)
            except MorphError:
                assert same(whole(model, optimizer), before)
                continue
            stack.append((report, before))
        lengths.append(len(stack))
        for report, before in reversed(stack):
            torch.rand(1), python_random.random(), numpy.random.rand()
            model.train(not model.training)
            rollback(report)
            assert same(whole(model, optimizer), before)

    check()
    assert max(lengths) >= 0.4 * LENGTH


@search(10, large=20)
@given(KINDS, RANDOMS)
def test_gradients_of_a_widened_network_fold_back(kinds, random):
    """Sums over the copies, outgoing weights times their shares: the gradient of the old network."""
    old = build(random, kinds)
    x = images(random)
    layers = [path for path, m in old.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    path = layers[random.randrange(len(layers))]
    plan = None
    for factor in (2, 3):
        with contextlib.suppress(MorphError):
            layer = old.get_submodule(path)
            width = getattr(layer, "out_channels", 0) or layer.out_features
            plan = Widen(path, factor * width).plan(old, x)
            break
    assume(plan is not None)
    new = copy.deepcopy(old)
    apply(plan, new)
    for model in (old, new):
        for module in model.train().modules():
            module.eval() if isinstance(module, nn.Dropout) else None
        model(x).square().mean().backward()
    shares, units = torch.tensor(plan.shares, dtype=torch.float64), torch.tensor(plan.units)
    grown = dict(new.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in old.parameters())
    for name, p in old.named_parameters():
        folded = grown[name].grad
        for step in plan.steps:
            if getattr(step, "tensor", "") == name:
                index, scale, size = step.index(units, plan.old_units), step.scale(shares), list(folded.shape)
                size[step.dim] = p.shape[step.dim]
                weighed = folded.transpose(step.dim, -1) * (scale if step.shared else 1.0)
                zeros = torch.zeros(size, dtype=torch.float64)
                folded = zeros.index_add(step.dim, index, weighed.transpose(step.dim, -1))
        assert (folded - p.grad).abs().max() <= 1e-10 * largest, name


def test_pruning_is_leaving_out_what_the_consumers_read():
    """Where no average goes over the units, the pruned network is the old one with their outgoing weights at 0."""
    compared = []

    @search(15, large=25)
    @given(KINDS, RANDOMS)
    def check(kinds, random):
        old = build(random, kinds)
        example = images(random)
        layers = [path for path, m in old.named_modules() if isinstance(m, nn.Conv2d)]
        path = layers[random.randrange(len(layers))]
        width = old.get_submodule(path).out_channels
        try:
            # One more copy of one unit is exact only where units do not meet in an average.
            step = width // Widen(path, 2 * width).plan(old, example).old_units
            Widen(path, width + step).plan(old, example)
            plan = Prune(path, max(step, width // 2 // step * step)).plan(old, example)
        except MorphError:
            return
        new = apply(plan, copy.deepcopy(old)).model
        gone, tensors = sorted(set(range(plan.old_units)) - set(plan.units)), dict(old.named_parameters())
        for edit in (edit for edit in plan.steps if getattr(edit, "shared", False)):
            with torch.no_grad():
                places, kept = (edit.index(torch.tensor(u), plan.old_units).tolist() for u in (gone, plan.units))
                tensors[edit.tensor].index_fill_(edit.dim, torch.tensor(sorted({*places} - {*kept})), 0.0)
        for y, pruned in zip(outputs(old, example), outputs(new, example), strict=True):
            assert (pruned - y).abs().max() <= 1e-10 * y.abs().max()
        compared.append(path)

    check()
    assert len(compared) >= 5
