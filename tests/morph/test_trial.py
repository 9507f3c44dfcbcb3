"""The trial of a plan: models that keep results, drop at random by function, or compute in a dtype of their own."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from lab.base import MorphError
from lab.device import measure_memory
from lab.morph import Deepen, Prune, Widen, apply, rollback, verify


class Keeps(nn.Module):
    """Keeps an activation of its last forward."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)
        self.seen = []

    def forward(self, x):
        self.last = self.one(x).relu()
        self.seen.append(self.last)
        return self.two(self.last)


@pytest.mark.parametrize("op", [Widen("one", 16), Deepen("one"), Prune("one", (0, 1, 2))], ids=str)
def test_a_model_that_keeps_an_activation_is_changed_and_rolled_back(op):
    torch.manual_seed(0)
    model, x = Keeps(), torch.randn(4, 6)
    expected = model(x)
    report = apply(op.plan(model, x), model)
    difference = verify(report, x)
    assert (difference <= 1e-6) is report.exact
    model(x).sum().backward()
    rollback(report)
    assert torch.equal(model(x), expected)


def test_older_weight_norm_is_copied_and_named_where_its_weight_would_change():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))
        x = torch.randn(4, 6)
        model(x)
        assert apply(Deepen("1").plan(model, x), model).max_difference == 0.0
        with pytest.raises(MorphError, match=r"one that WeightNorm computes on 0\. Take it off first"):
            Widen("0", 16).plan(model, x)


def test_a_rollback_across_a_removed_parametrization_puts_nothing_back():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(4, 6)
    report = apply(Deepen("1").plan(model, x), model)
    parametrize.remove_parametrizations(model[0], "weight")
    expected, kinds = model(x), [type(module) for module in model.modules()]
    with pytest.raises(MorphError, match=r"0: ParametrizedLinear -> Linear"):
        rollback(report)
    assert torch.equal(model(x), expected)
    assert [type(module) for module in model.modules()] == kinds


class Drops(nn.Module):
    """Drops by function, as most code on the hub does."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(nn.functional.dropout(self.one(x).relu(), 0.3, self.training))


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x):
        q = self.one(x)[:, None]
        y = nn.functional.scaled_dot_product_attention(q, q, q, None, 0.5 if self.training else 0.0)[:, 0]
        return self.head(self.two(y).relu())


def test_functions_that_drop_at_random_are_no_dependence_on_the_width():
    assert Widen("one", 16).plan(Drops(), torch.randn(4, 6)).max_difference <= 1e-10
    assert Widen("two", 24).plan(Attends(), torch.randn(4, 5, 8)).max_difference <= 1e-10


def test_a_function_that_draws_by_the_width_is_still_refused():
    class Noisy(Drops):
        def forward(self, x):
            return self.two(self.one(x) + torch.rand_like(self.one(x)))

    with pytest.raises(MorphError, match="relative difference"):
        Widen("one", 16).plan(Noisy(), torch.randn(4, 6))


class Single(nn.Module):
    """Runs in float32 alone, as a kernel of its own may."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.one, self.two, self.factor = nn.Linear(6, 8), nn.Linear(8, 3), factor

    def forward(self, x):
        if x.dtype != torch.float32:
            raise RuntimeError("expected mat_a to be Float32")
        y = self.one(x).relu()
        return self.two(y) * (1.0 + self.factor * y.shape[1])


def test_a_forward_that_does_not_run_in_float64_is_tried_in_its_own_dtype():
    plan = Widen("one", 16).plan(Single(factor=0.0), torch.randn(4, 6))
    assert plan.max_difference <= 1e-5
    assert "tried in torch.float32: the forward does not run in float64" in plan.note
    with pytest.raises(MorphError, match="an output that stays within 3e-05"):
        Widen("one", 16).plan(Single(factor=1e-3), torch.randn(4, 6))


def test_a_complex_model_is_tried_in_double_precision():
    layers = [nn.Linear(6, 8, dtype=torch.complex64), nn.Linear(8, 3, dtype=torch.complex64)]
    model, x = nn.Sequential(*layers), torch.randn(4, 6, dtype=torch.complex64)
    report = apply(Widen("0", 16).plan(model, x), model)
    assert 0 < report.max_difference <= 1e-10
    assert model[0].weight.dtype is torch.complex64


def test_a_size_in_the_forward_is_named_only_where_a_size_is_at_fault():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.two(self.one(x) * torch.ones(8))

    with pytest.raises(MorphError, match=r"size of tensor a \(16\).*Look for a size written into the forward"):
        Widen("one", 16).plan(Written(), torch.randn(4, 6))


def test_an_error_that_is_about_no_size_has_another_hint():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            if len(dict(self.named_modules())) != 3:
                raise RuntimeError("three parts, no more")
            return self.two(self.one(x))

    with pytest.raises(MorphError, match=r"three parts, no more\. Run the model on the example in eval and in train"):
        Deepen("one").plan(Counts(), torch.randn(4, 6))


@pytest.mark.parametrize("count", [2, 3])
def test_channels_last_stays_channels_last(count):
    conv, memory_format = (nn.Conv2d, torch.channels_last) if count == 2 else (nn.Conv3d, torch.channels_last_3d)
    model = nn.Sequential(conv(3, 8, 3), nn.ReLU(), conv(8, 4, 3)).to(memory_format=memory_format)
    x = torch.randn(4, 3, *(8,) * count)
    optimizer = torch.optim.Adam(model.parameters())
    model(x).sum().backward()
    optimizer.step()
    same = copy.deepcopy(model)
    apply(Widen("0", 16).plan(model, x), model, optimizer)
    apply(Deepen("1").plan(model, x), model, optimizer)
    for name, parameter in model.named_parameters():
        if parameter.dim() == count + 2:
            assert parameter.is_contiguous(memory_format=memory_format), name
            for item in (parameter.grad, *optimizer.state[parameter].values()):
                if item is not None and item.dim() == count + 2:
                    assert item.is_contiguous(memory_format=memory_format), name
    assert torch.allclose(model(x), same(x), atol=1e-5)


class Upcasts(nn.Module):
    """Normalises in float32 whatever it gets, as transformers' layers do."""

    def __init__(self, dependent=0.0):
        super().__init__()
        self.one, self.two, self.dependent = nn.Linear(6, 100), nn.Linear(100, 3), dependent

    def forward(self, x):
        y = self.one(x)
        normed = y.float() * torch.rsqrt(y.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.two(normed.to(x.dtype)) * (1 + self.dependent * y.shape[-1])


def test_rounding_of_a_forward_in_float32_is_no_dependence_on_the_width():
    torch.manual_seed(0)
    plan = Widen("one", 300).plan(Upcasts(), torch.randn(4, 6))
    assert 1e-10 < plan.max_difference <= 1e-5
    assert "the forward itself computes in torch.float32" in plan.note
    with pytest.raises(MorphError, match="Something in the forward depends on the width"):
        Widen("one", 300).plan(Upcasts(dependent=1e-3), torch.randn(4, 6))
    with pytest.raises(MorphError, match="Something in the forward depends on the width"):
        # As small, but of a forward in float64.
        Widen("one", 16).plan(Single64(), torch.randn(4, 6))


class Single64(Drops):
    def forward(self, x):
        return self.two(self.one(x)) * (1.0 + 1e-8 * self.one.weight.shape[0])


def test_a_model_that_runs_in_float32_alone_is_verified_in_it():
    torch.manual_seed(0)
    model, x = Single(factor=0.0), torch.randn(4, 6)
    report = apply(Widen("one", 16).plan(model, x), model)
    assert verify(report, x) <= 1e-5


@pytest.mark.parametrize("cyclic", [False, True], ids=["plain", "a cycle of objects"])
@pytest.mark.parametrize("op", [Widen("0", 384), Deepen("2")], ids=["widen", "deepen"])
def test_a_plan_holds_one_copy_in_float64_beside_the_model(op, cyclic):
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(256, 256), nn.ReLU())))
    if cyclic:
        # As where a module keeps a bound method of its own: only the collector frees it.
        model.call = model.forward
    example = torch.randn(4, 256)
    with measure_memory(roots=model, blame=False) as measured:
        plan = op.plan(model, example)
    copy_bytes = 8 * plan.parameters[1]
    # Beside the copy one weight is there twice while it is replaced; activations are a hundredth of it.
    assert copy_bytes <= measured.allocated_peak <= 1.4 * copy_bytes
