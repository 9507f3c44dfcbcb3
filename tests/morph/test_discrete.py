import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from lab.base import MorphError
from lab.doctor import audit
from lab.morph import (
    InsertAttention,
    MorphPlan,
    SetDilation,
    SetGroups,
    SetHeads,
    SetKernel,
    apply,
    rebuild,
    rollback,
    verify,
)
from lab.state import structure_digest

GEOMETRY = ("kernel_size", "padding", "dilation", "groups", "in_channels", "out_channels", "stride", "output_padding")
LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "no padding": lambda: nn.Conv2d(4, 6, 3),
    "same": lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "strided": lambda: nn.Conv2d(4, 6, 5, stride=3, padding=2, bias=False),
    "dilated": lambda: nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "1d": lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    "3d": lambda: nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1), groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
}
DIMENSIONS = {"1d": 1, "3d": 3}


def net_of(layer, dimensions=2, seed=0):
    """The layer between a normalisation and an activation, in float64, and four inputs."""
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
    net = nn.Sequential(layer, norm(layer.out_channels), nn.Tanh()).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    shape = (4, layer.in_channels, *((9, 8, 7)[:dimensions]))
    return net, torch.randn(shape, generator=generator, dtype=torch.float64)


def build(kind):
    return net_of(LAYERS[kind](), DIMENSIONS.get(kind, 2))


def difference(one, other, x):
    """Largest relative difference of the output over eval and train mode, worked out anew."""
    worst = 0.0
    for training in (False, True):
        a, b = (copy.deepcopy(net).train(training)(x).detach() for net in (one, other))
        assert a.shape == b.shape
        worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def check_is_ordinary(conv, x):
    """The layer is what torch builds from its attributes."""
    names = GEOMETRY if isinstance(conv, nn.modules.conv._ConvTransposeNd) else GEOMETRY[:-1]
    made = {name: getattr(conv, name) for name in names}
    fresh = type(conv)(**made, bias=conv.bias is not None, dtype=torch.float64)
    fresh.load_state_dict(conv.state_dict())
    assert {name: getattr(fresh, name) for name in GEOMETRY} == {name: getattr(conv, name) for name in GEOMETRY}
    assert list(fresh._reversed_padding_repeated_twice) == list(conv._reversed_padding_repeated_twice)
    assert torch.equal(fresh(x), conv(x))


def changed(op, net, x, optimizer=None):
    """A changed copy, by a plan that has gone through its text; and the report."""
    model = net if optimizer is not None else copy.deepcopy(net)
    return apply(MorphPlan.from_json(op.plan(net, x).to_json()), model, optimizer)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_larger_kernel_is_exact_and_an_ordinary_layer(kind):
    net, x = build(kind)
    kernel = tuple(size + 2 * (dim + 1) for dim, size in enumerate(net[0].kernel_size))
    for size in (kernel, max(kernel) | 1):
        report = changed(SetKernel("0", size), net, x)
        assert report.exact
        assert report.plan.weights == "", "for any weights"
        assert difference(net, report.model, x) <= 1e-10
        assert set(report.model[0].kernel_size) <= {*kernel, size}
        check_is_ordinary(report.model[0], x)


@pytest.mark.parametrize("kind", ["grouped", "depthwise", "1d", "3d", "transposed"])
def test_joined_groups_are_exact_and_an_ordinary_layer(kind):
    net, x = build(kind)
    for groups in {1, net[0].groups // 2}:
        report = changed(SetGroups("0", groups), net, x)
        assert report.exact
        assert report.plan.weights == "", "for any weights"
        assert difference(net, report.model, x) <= 1e-10
        assert report.model[0].groups == groups
        assert report.model[0].weight.count_nonzero() == net[0].weight.numel()
        check_is_ordinary(report.model[0], x)


@pytest.mark.parametrize(
    ("kind", "op"),
    [
        ("plain", SetKernel("0", 1)),
        ("plain", SetKernel("0", (5, 1))),
        ("same", SetKernel("0", 1)),
        ("strided", SetKernel("0", 3)),
        ("depthwise", SetKernel("0", 1)),
        ("1d", SetKernel("0", 1)),
        ("3d", SetKernel("0", 1)),
        ("transposed", SetKernel("0", 1)),
        ("plain", SetDilation("0", 2)),
        ("no padding", SetDilation("0", (1, 3))),
        ("same", SetDilation("0", 1)),
        ("valid", SetDilation("0", 2)),
        ("strided", SetDilation("0", 2)),
        ("dilated", SetDilation("0", 1)),
        ("depthwise", SetDilation("0", 3)),
        ("1d", SetDilation("0", 2)),
        ("3d", SetDilation("0", 2)),
        ("transposed", SetDilation("0", 2)),
        ("plain", SetGroups("0", 2)),
        ("strided", SetGroups("0", 2)),
        ("transposed", SetGroups("0", 1)),
        ("3d", SetGroups("0", 1)),
    ],
)
def test_what_changes_keeps_the_shape_and_says_by_how_much(kind, op):
    net, x = build(kind)
    report = changed(op, net, x)
    assert report.applied
    check_is_ordinary(report.model[0], x)
    assert report.exact == (isinstance(op, SetGroups) and op.groups == 1)
    assert report.max_difference == pytest.approx(difference(net, report.model, x), rel=1e-6)
    assert verify(report, x) == pytest.approx(report.max_difference, rel=1e-6)
    if not report.exact:
        assert report.max_difference > 1e-3


def test_the_note_says_what_is_dropped():
    net, x = build("plain")
    with torch.no_grad():
        net[0].weight.fill_(2.0)
    assert SetKernel("0", 1).plan(net, x).note == "drops 192 of 216 weights, 88.9% of the sum of their squares"
    assert SetGroups("0", 2).plan(net, x).note == "drops 108 of 216 weights, 50.0% of the sum of their squares"


def test_weights_stay_where_they_belong():
    net, x = build("depthwise")
    old = net[0].weight
    assert torch.equal(changed(SetKernel("0", (5, 7)), net, x).model[0].weight[:, :, 1:4, 2:5], old)
    assert torch.equal(changed(SetKernel("0", (3, 1)), net, x).model[0].weight, old[:, :, :, 1:2])
    dense = changed(SetGroups("0", 1), net, x).model[0].weight
    assert all(torch.equal(dense[row, row // 2], old[row, 0]) for row in range(8))
    net, x = build("plain")
    halves = changed(SetGroups("0", 2), net, x).model[0].weight
    assert torch.equal(halves, torch.cat([net[0].weight[:3, :2], net[0].weight[3:, 2:]]))


@pytest.mark.parametrize(
    ("kind", "there", "back"),
    [
        ("plain", SetKernel("0", 5), SetKernel("0", 3)),
        ("strided", SetKernel("0", (7, 9)), SetKernel("0", 5)),
        ("transposed", SetKernel("0", 5), SetKernel("0", 3)),
        ("depthwise", SetGroups("0", 1), SetGroups("0", 4)),
        ("transposed", SetGroups("0", 1), SetGroups("0", 2)),
    ],
)
def test_back_again_is_exact_while_what_is_cut_is_zero_and_only_then(kind, there, back):
    net, x = build(kind)
    first = changed(there, net, x)
    model = first.model
    plan = back.plan(model, x)
    assert plan.exact
    assert "exact for these weights" in str(plan)
    text = plan.to_json()
    returned = copy.deepcopy(model)
    assert apply(MorphPlan.from_json(text), returned).exact
    assert torch.equal(returned[0].weight, net[0].weight)
    assert structure_digest(returned) == structure_digest(net)
    with torch.no_grad():
        model[0].weight.add_(0.1)
    before = copy.deepcopy(model)
    with pytest.raises(MorphError, match=r"expected the weights \w+ that the change is exact for, got others"):
        apply(MorphPlan.from_json(text), model)
    assert difference(before, model, x) == 0.0
    again = back.plan(model, x)
    assert not again.exact
    assert again.max_difference > 1e-3
    assert again.weights == ""
    fresh = rebuild(copy.deepcopy(before), (MorphPlan.from_json(text),))
    assert structure_digest(fresh) == structure_digest(net), "weights come later where structure is replayed"


@pytest.mark.parametrize(("size", "exact"), [(1, True), (3, False)])
def test_dilation_is_exact_where_only_the_middle_tap_is_there(size, exact):
    net, x = net_of(nn.Conv2d(4, 6, size, padding=size // 2))
    model = changed(SetKernel("0", size + 2), net, x).model
    report = changed(SetDilation("0", 2), model, x)
    assert report.exact is exact
    assert (difference(net, report.model, x) <= 1e-10) is exact
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = 1e-3
    assert not SetDilation("0", 2).plan(model, x).exact


def test_a_difference_that_the_example_does_not_show_is_not_called_exact():
    net, x = build("plain")
    with torch.no_grad():
        net[1].weight.zero_()
    for op in (SetKernel("0", 1), SetDilation("0", 2), SetGroups("0", 2)):
        plan = op.plan(net, x)
        assert plan.max_difference == 0.0
        assert not plan.exact


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_plan_keeps_shapes_and_what_it_says_holds_on_other_inputs(data):
    draw, groups = data.draw, st.sampled_from([1, 2, 4])
    kernel, dilation, stride = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layer = nn.Conv2d(4, 4, kernel, stride, draw(st.integers(4, 6)), dilation, draw(groups))
    assume(layer.padding[0] * 2 + 7 > dilation * (kernel - 1))
    net, x = net_of(layer, seed=draw(st.integers(0, 99)))
    op = draw(
        st.one_of(
            st.builds(SetKernel, st.just("0"), st.sampled_from([1, 3, 5, 7])),
            st.builds(SetDilation, st.just("0"), st.integers(1, 3)),
            st.builds(SetGroups, st.just("0"), groups),
        )
    )
    new_kernel = op.kernel_size if isinstance(op, SetKernel) else kernel
    new_dilation = op.dilation if isinstance(op, SetDilation) else dilation
    padding = layer.padding[0] + (new_dilation * (new_kernel - 1) - dilation * (kernel - 1)) // 2
    same = (new_kernel, new_dilation if kernel > 1 else dilation) == (kernel, dilation)
    if padding < 0 or (same and getattr(op, "groups", layer.groups) == layer.groups):
        with pytest.raises(MorphError, match="another|padding that keeps|moves taps"):
            op.plan(net, x)
        return
    report = changed(op, net, x)
    found = difference(net, report.model, torch.randn_like(x))
    assert report.exact == (found <= 1e-10)
    if isinstance(op, SetKernel):
        assert report.exact == (op.kernel_size > kernel)
    if isinstance(op, SetGroups):
        assert report.exact == (op.groups < layer.groups)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, initial_accumulator_value=0.3),
    "rprop": lambda p: torch.optim.Rprop(p, lr=1e-3),
}


def step(net, optimizer, x, count=1):
    net.train()
    for _ in range(count):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()


def old_part(kind, values):
    """The entries of the old weight in the new one."""
    if kind == "kernel":
        return values[:, :, 1:-1, 1:-1]
    return torch.stack([values[row, row // 2] for row in range(8)])[:, None]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("kind", "op"), [("kernel", SetKernel("0", 5)), ("groups", SetGroups("0", 1))])
def test_gradients_moments_and_next_steps_of_the_old_weights_are_what_they_were(name, kind, op):
    # A bias under a normalisation has a gradient of nothing but rounding.
    net, x = net_of(nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False))
    twin = copy.deepcopy(net)
    optimizer, other = (OPTIMIZERS[name](model.parameters()) for model in (net, twin))
    step(net, optimizer, x, 3)
    step(twin, other, x, 3)
    changed(op, net, x, optimizer)
    new, old = net[0].weight, twin[0].weight
    assert torch.equal(old_part(kind, new.grad), old.grad)
    assert new.grad.count_nonzero() == old.grad.count_nonzero()
    start = {"sum": 0.3, "step_size": 1e-3}
    for key, value in other.state[old].items():
        moved = optimizer.state[new][key]
        if not value.dim():
            assert torch.equal(moved, value), key
            continue
        assert torch.equal(old_part(kind, moved), value), key
        rest = moved.sum() - value.sum()
        assert float(rest) == pytest.approx(start.get(key, 0.0) * (new.numel() - old.numel()), abs=1e-9), key
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    step(net, optimizer, x)
    step(twin, other, x)
    for (path, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        for a, b in ((p, q), (p.grad, q.grad)):
            now = old_part(kind, a) if path == "0.weight" else a
            assert torch.allclose(now, b, rtol=1e-9, atol=1e-13), path
    assert new.grad.count_nonzero() > old.grad.count_nonzero(), "what is new learns"


@pytest.mark.parametrize(
    ("op", "kept"),
    [
        (SetKernel("0", 1), lambda values: values[:, :, 1:2, 1:2]),
        (SetGroups("0", 2), lambda values: torch.cat([values[:3, :2], values[3:, 2:]])),
        (SetDilation("0", 2), lambda values: values),
    ],
    ids=["kernel", "groups", "dilation"],
)
def test_what_stays_keeps_gradient_and_moments(op, kept):
    net, x = build("plain")
    optimizer = OPTIMIZERS["adam"](net.parameters())
    step(net, optimizer, x, 2)
    weight = net[0].weight
    before = {"grad": weight.grad.clone(), **{k: v.clone() for k, v in optimizer.state[weight].items()}}
    changed(op, net, x, optimizer)
    weight = net[0].weight
    after = {"grad": weight.grad, **optimizer.state[weight]}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], kept(value) if value.dim() else value) for key, value in before.items())
    assert audit(net, optimizer).findings == ()


def test_a_state_that_is_not_understood_is_refused_and_nothing_changes(state, same):
    net, x = build("plain")
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    step(net, optimizer, x)
    optimizer.state[net[0].weight]["curvature"] = torch.ones_like(net[0].weight)
    for op in (SetKernel("0", 5), SetGroups("0", 2)):
        plan, before = op.plan(net, x), state(net, optimizer)
        with pytest.raises(MorphError, match="curvature of SGD"):
            apply(plan, net, optimizer)
        assert same(state(net, optimizer), before)


def test_a_frozen_layer_stays_frozen():
    net, x = build("plain")
    net[0].requires_grad_(False)
    optimizer = OPTIMIZERS["sgd"](p for p in net.parameters() if p.requires_grad)
    changed(SetKernel("0", 5), net, x, optimizer)
    assert not net[0].weight.requires_grad
    assert len(optimizer.param_groups[0]["params"]) == 2


def attention_net(heads=4):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(24, heads, 32, dropout=0.1, batch_first=True).double()
    return nn.Sequential(layer, nn.Linear(24, 3).double()), torch.randn(4, 5, 24, dtype=torch.float64)


@pytest.mark.parametrize("path", ["0", "0.self_attn"])
def test_another_number_of_heads_is_the_attention_with_that_number(path):
    net, x = attention_net()
    report = changed(SetHeads(path, 3), net, x)
    twin, _ = attention_net(3)
    twin.load_state_dict(net.state_dict())
    attention = report.model[0].self_attn
    assert (attention.num_heads, attention.head_dim) == (3, 8)
    assert torch.equal(report.model.eval()(x), twin.eval()(x))
    assert not report.exact
    assert report.applied
    assert report.max_difference > 1e-4
    expected, quiet = copy.deepcopy(net), copy.deepcopy(twin)
    for module in (*expected.modules(), *quiet.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    assert report.max_difference == pytest.approx(difference(expected, quiet, x), rel=1e-6)


def test_an_attention_that_surgery_added_takes_another_number_of_heads(specimen, images):
    apply(InsertAttention("features.pool2", heads=4).plan(specimen, images), specimen)
    with torch.no_grad():
        specimen.features.pool2.branch[1].gate.fill_(1.0)
    report = apply(SetHeads("features.pool2.branch.0", 8).plan(specimen, images), specimen)
    assert specimen.features.pool2.branch[0].attention.num_heads == 8
    assert report.max_difference > 1e-5
    rollback(report)
    assert specimen.features.pool2.branch[0].attention.num_heads == 4
