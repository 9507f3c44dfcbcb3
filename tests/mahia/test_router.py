"""The router against references: one token at a time, Mixtral's block, float64 gradients."""

import copy
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import silu
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock

from lab.base import ConfigError, DataError
from lab.mahia import ExpertRouter, HybridEfficientModel, SwiGLUExperts, collect_routing, grouped_refusal


def build(dim=8, experts=6, k=2, hidden=12, **options):
    torch.manual_seed(0)
    return ExpertRouter(dim, experts, k, hidden, **options)


def tokens(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def per_token(router, x, bias=None):
    """One token after the other, one expert after the other, with nothing but products: no sort, no state."""
    gate, experts = router.gate.weight, router.experts
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        probabilities = torch.exp(gate @ token) / torch.exp(gate @ token).sum()
        scores = probabilities.detach() if bias is None else probabilities.detach() + bias
        best = scores.argsort(descending=True)[: router.k]
        total = sum(probabilities[e] for e in best) if router.k > 1 else 1.0
        row = torch.zeros_like(token)
        for e in best:
            gate_up = experts.gate_up[e] @ token
            half = len(gate_up) // 2
            row = row + probabilities[e] / total * (experts.down[e] @ (silu(gate_up[:half]) * gate_up[half:]))
        rows.append(row)
    return torch.stack(rows).reshape(x.shape)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (17,), (3, 5)], ids=str)
def test_the_output_is_that_of_one_token_at_a_time(k, shape):
    router, x = build(k=k), tokens(*shape, 8)
    assert torch.allclose(router(x), per_token(router, x), rtol=0, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    experts=st.integers(1, 9), share=st.integers(1, 9), count=st.integers(1, 12), seed=st.integers(0, 99),
    dim=st.sampled_from([1, 4, 5, 16]),
)  # fmt: skip
def test_any_sizes_give_the_output_of_one_token_at_a_time(experts, share, count, seed, dim):
    torch.manual_seed(seed)
    router, x = ExpertRouter(dim, experts, min(share, experts), 3), tokens(count, dim, seed=seed)
    assert torch.allclose(router(x), per_token(router, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("hidden", [12, 5], ids=["grouped", "loop"])
def test_experts_without_a_token_are_left_out_and_get_no_gradient(hidden):
    router, x = build(hidden=hidden), tokens(9, 8)
    assert (grouped_refusal(x, router.experts.gate_up, router.experts.down) == "") is (hidden == 12)
    x[:, 0] = 2.0
    with torch.no_grad():
        router.gate.weight[:, 0] = torch.tensor([9.0, -9.0, -9.0, 8.0, -9.0, -9.0])
    routing = router.route(x)
    assert (routing.load_E * 18).tolist() == [9, 0, 0, 9, 0, 0]
    assert torch.allclose(routing.y, per_token(router, x), rtol=0, atol=1e-6)
    routing.y.square().sum().backward()
    norms = router.experts.gate_up.grad.flatten(1).norm(dim=1)
    assert [bool(norm) for norm in norms] == [True, False, False, True, False, False]


def test_equal_tokens_get_equal_outputs():
    router, x = build(), tokens(1, 8)
    y = router(x.expand(6, 8))
    assert torch.equal(y, y[:1].expand(6, 8))
    assert torch.allclose(y[:1], per_token(router, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bias_rate", [0.0, 0.01])
def test_padding_counts_nowhere(bias_rate):
    padded, short = build(bias_rate=bias_rate), build(bias_rate=bias_rate)
    x = tokens(3, 4, 8)
    padding = torch.zeros(3, 4, dtype=torch.bool)
    padding[0, 2:] = padding[2, 0] = True
    x[padding] = torch.nan
    routing, reference = padded.route(x, padding), short.route(x[~padding])
    assert torch.equal(routing.y[~padding], reference.y)
    assert bool((routing.y[padding] == 0).all())
    for name in ("load_E", "balance_loss", "z_loss", "experts_TK"):
        assert torch.equal(getattr(routing, name), getattr(reference, name)), name
    routing.y.sum().backward()
    reference.y.sum().backward()
    for one, other in zip(padded.parameters(), short.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    if bias_rate:
        assert torch.equal(padded.selection_bias, short.selection_bias)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_task_reaches_the_gate(k):
    router = build(k=k)
    router(tokens(16, 8)).square().mean().backward()
    assert float(router.gate.weight.grad.norm()) > 1e-4


@pytest.mark.parametrize("k", [1, 2, 4])
def test_gradients_equal_those_of_one_token_at_a_time(k):
    router = build(k=k, bias_rate=0.1).double()
    x = tokens(11, 8, dtype=torch.float64).requires_grad_()
    for _ in range(3):
        router(x)
    bias = router.selection_bias
    chosen, unbiased = (one.eval().route(x).experts_TK.sort().values for one in (router, build(k=k).double()))
    assert not torch.equal(chosen, unbiased)
    router.train()
    wanted = torch.autograd.grad(per_token(router, x, bias).square().sum(), [x, *router.parameters()])
    found = torch.autograd.grad(router(x).square().sum(), [x, *router.parameters()])
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


def test_gradcheck_of_output_and_losses():
    router = build(dim=3, experts=4, hidden=2).double()
    x = tokens(5, 3, dtype=torch.float64).requires_grad_()

    def outputs(*_):
        routing = router.route(x)
        return routing.y, routing.balance_loss, routing.z_loss

    assert torch.autograd.gradcheck(outputs, (x, *router.parameters()))


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_numbers_are_those_of_mixtrals_block_with_the_same_weights(implementation):
    config = MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=6, num_experts_per_tok=2)
    config._experts_implementation = implementation
    block, router = MixtralSparseMoeBlock(config), build(16, 6, 2, 24)
    pairs = (
        (router.gate.weight, block.gate.weight),
        (router.experts.gate_up, block.experts.gate_up_proj),
        (router.experts.down, block.experts.down_proj),
    )
    with torch.no_grad():
        for own, its in pairs:
            its.copy_(own)
    x, x_its = (tokens(2, 9, 16).requires_grad_() for _ in range(2))
    y, y_its = router(x), block(x_its)
    assert torch.allclose(y, y_its, rtol=0, atol=1e-6)
    (y.square().sum() + y.sum()).backward()
    (y_its.square().sum() + y_its.sum()).backward()
    assert torch.allclose(x.grad, x_its.grad, rtol=0, atol=1e-6)
    for own, its in pairs:
        assert torch.allclose(own.grad, its.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("counts", [(3, 0, 4, 1), (0, 0, 8, 0), (8, 0, 0, 0), (2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_grouped_product_and_the_loop_give_the_same_numbers(counts, dtype):
    torch.manual_seed(0)
    experts = SwiGLUExperts(4, 8, 16).to(dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    found = []
    for grouped in (True, False):
        x = tokens(8, 8).to(dtype).requires_grad_()
        y = experts(x, torch.tensor(counts), grouped=grouped)
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *experts.parameters()])))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=tolerance, atol=tolerance)


REDUCTIONS = {
    "sum": lambda y: y.sum(),
    "rows": lambda y: (y.sum(0) * torch.arange(1.0, 9.0)).sum(),
    "columns": lambda y: (y.sum(1) * torch.arange(1.0, len(y) + 1)).sum(),
    "transposed": lambda y: (y.t().contiguous() * torch.arange(8.0)[:, None]).sum(),
    "every second": lambda y: y[::2, ::2].sum(),
}
"""Losses whose gradient is expanded, transposed or full of holes."""


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("counts", [(3, 0, 4), (0, 1, 0), (0, 0, 0)], ids=str)
def test_gradients_of_any_strides_are_those_of_the_loop(counts, dtype, reduction):
    torch.manual_seed(0)
    experts, rows = SwiGLUExperts(3, 8, 16).to(dtype), sum(counts)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    found = []
    for grouped in (True, False):
        x = tokens(rows, 8).to(dtype).requires_grad_()
        loss = REDUCTIONS[reduction](experts(x, torch.tensor(counts), grouped=grouped))
        found.append(torch.autograd.grad(loss, [x, *experts.parameters()]))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_rows_of_any_strides_are_those_of_the_loop(rows):
    torch.manual_seed(0)
    experts, counts = SwiGLUExperts(2, 8, 16), torch.tensor([rows // 2, rows - rows // 2])
    layouts = {
        "one row, expanded": tokens(8).expand(rows, 8),
        "one number, expanded": tokens(1, 1).expand(rows, 8),
        "transposed": tokens(8, rows).t(),
        "every second column": tokens(rows, 16)[:, ::2],
        "a column left out": tokens(rows, 9)[:, 1:],
        "half of the columns": tokens(rows, 16)[:, :8],
    }
    for name, x in layouts.items():
        y = experts(x, counts, grouped=True)
        assert torch.allclose(y, experts(x, counts, grouped=False), rtol=0, atol=1e-6), name


def test_the_gradient_of_a_gradient_goes_through_the_grouped_product():
    torch.manual_seed(0)
    experts, counts, found = SwiGLUExperts(2, 8, 16), torch.tensor([2, 3]), []
    for grouped in (True, False):
        x = tokens(5, 8).requires_grad_()
        (gradient,) = torch.autograd.grad(experts(x, counts, grouped=grouped).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), [x, *experts.parameters()]))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "dtype", "reason"),
    [(8, torch.float64, "torch.float64 on cpu"), (5, torch.float32, "rows of 20 bytes, no multiple of 16")],
)
def test_where_the_grouped_product_is_not_valid_the_reason_is_told_and_the_loop_runs(size, dtype, reason):
    experts = SwiGLUExperts(3, size, 8).to(dtype)
    x, counts = tokens(4, size, dtype=dtype), torch.tensor([1, 0, 3])
    assert grouped_refusal(x, experts.gate_up, experts.down) == reason
    assert torch.equal(experts(x, counts), experts(x, counts, grouped=False))
    with pytest.raises(DataError, match=reason):
        experts(x, counts, grouped=True)


@pytest.mark.parametrize("counts", [(1, 2), (4, -1, 1), (2, 2, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("grouped", [True, False])
def test_counts_that_do_not_fit_are_refused_before_the_kernel(counts, grouped):
    with pytest.raises(DataError, match="3 counts >= 0 that add up to 4 rows"):
        SwiGLUExperts(3, 8, 8)(tokens(4, 8), torch.tensor(counts), grouped=grouped)


def test_under_autocast_experts_run_in_bf16_and_the_gate_does_not():
    router, x = build(), tokens(16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        routing = router.route(x)
    assert routing.y.dtype == torch.bfloat16
    assert routing.weights_TK.dtype == torch.float32
    plain = router.route(x)
    assert torch.equal(routing.weights_TK, plain.weights_TK)
    assert torch.allclose(routing.y.float(), plain.y, atol=2e-2)
    routing.y.float().square().sum().backward()
    assert router.experts.down.grad.dtype == torch.float32


def test_a_token_that_is_not_finite_spoils_its_own_row_alone():
    router, x = build(), tokens(5, 8)
    spoilt = x.clone()
    spoilt[2, 3] = torch.nan
    y = router(spoilt)
    assert bool(y[2].isnan().all())
    assert torch.allclose(y[[0, 1, 3, 4]], router(x)[[0, 1, 3, 4]], rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("sizes", "options", "match"),
    [
        ((8, 2, 3), {}, "k = 3"),
        ((8, 2, 0), {}, "k = 0"),
        ((8, 0, 1), {}, "num_experts = 0"),
        ((0, 2, 1), {}, "dim = 0"),
        ((8, 2, 1, 0), {}, "hidden = 0"),
        ((8, 2, 1), {"capacity_factor": 0.0}, "capacity_factor = 0.0"),
        ((8, 2, 1), {"bias_rate": -1.0}, "bias_rate = -1.0"),
    ],
)
def test_sizes_outside_their_range_are_refused_by_name_and_value(sizes, options, match):
    with pytest.raises(ConfigError, match=match):
        ExpertRouter(*sizes, **options)


@pytest.mark.parametrize(
    ("x", "padding", "match"),
    [
        (torch.zeros(2, 7), None, r"last dimension is 8, got torch.float32 \(2, 7\)"),
        (torch.zeros(8, 2), None, r"last dimension is 8, got torch.float32 \(8, 2\)"),
        (torch.zeros(()), None, r"last dimension is 8, got torch.float32 \(\)"),
        (torch.zeros(2, 8, dtype=torch.long), None, "floating numbers.*torch.int64"),
        (torch.zeros(0, 8), None, r"at least one token.*got x of shape \(0, 8\)"),
        (torch.zeros(2, 8), torch.ones(2, dtype=torch.bool), "all of it padding"),
        (torch.zeros(2, 8), torch.ones(2), r"padding of bool and shape \(2,\), got torch.float32"),
        (torch.zeros(2, 8), torch.ones(3, dtype=torch.bool), r"shape \(2,\), got torch.bool \(3,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, padding, match):
    with pytest.raises(DataError, match=match):
        build()(x, padding)


def test_copies_pickles_and_state_dicts_go_on_alike():
    router, x = build(bias_rate=0.01), tokens(16, 8)
    router(x)
    assert float(router.selection_bias.abs().max()) > 0
    loaded = build(bias_rate=0.01)
    loaded.load_state_dict(router.state_dict())
    twins = [copy.deepcopy(router), pickle.loads(pickle.dumps(router)), loaded]
    y = router(x)
    for twin in twins:
        assert torch.equal(twin(x), y)
        assert torch.equal(twin.selection_bias, router.selection_bias)


def test_the_losses_of_every_router_of_a_model_are_collected_and_nothing_stays_on_it():
    torch.manual_seed(0)
    model = torch.nn.Sequential(ExpertRouter(8, 4, 2), torch.nn.Linear(8, 8), ExpertRouter(8, 4, 1))
    x = tokens(16, 8)
    with collect_routing(model) as found:
        y = model(x)
        model(x)
    assert torch.equal(y, model(x))
    assert {name: len(routings) for name, routings in found.items()} == {"0": 2, "2": 2}
    routing = model[0].route(x)
    assert torch.equal(found["0"][0].balance_loss, routing.balance_loss)
    sum(one.balance_loss + one.z_loss for routings in found.values() for one in routings).backward()
    assert all(float(model[place].gate.weight.grad.norm()) > 0 for place in (0, 2))
    assert all(model[place]._listener is None for place in (0, 2))
    copy.deepcopy(model)


def test_a_model_without_a_router_has_nothing_to_collect():
    with (
        pytest.raises(DataError, match="a model with an ExpertRouter, got Linear"),
        collect_routing(torch.nn.Linear(1, 1)),
    ):
        pass


@pytest.mark.parametrize("options", [{}, {"bias_rate": 0.1}, {"capacity_factor": 1.0}], ids=str)
def test_the_router_is_exported_with_an_open_number_of_tokens(options):
    router, x = build(**options).eval(), tokens(20, 8)
    shapes = ({0: torch.export.Dim("tokens", min=2)}, None)
    exported = torch.export.export(router, (x, None), dynamic_shapes=shapes, strict=False).module()
    longer = tokens(33, 8)
    assert torch.equal(exported(longer, None), router(longer))


def test_the_router_is_traced_in_one_graph_with_its_backward():
    router, x = build(), tokens(20, 8)
    compiled = torch.compile(router, backend="aot_eager", fullgraph=True)
    y = compiled(x)
    assert torch.equal(y, router(x))
    y.square().sum().backward()
    found = [parameter.grad.clone() for parameter in router.parameters()]
    router.zero_grad()
    router(x).square().sum().backward()
    for one, parameter in zip(found, router.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_compiled_experts_have_the_gradients_of_eager_ones(dtype):
    torch.manual_seed(0)
    experts, counts, found = SwiGLUExperts(3, 8, 16).to(dtype), torch.tensor([3, 0, 4]), []
    forward = partial(experts.forward, trusted=True)
    for run in (torch.compile(forward, backend="aot_eager", fullgraph=True), forward):
        x = tokens(7, 8).to(dtype).requires_grad_()
        found.append(torch.autograd.grad(run(x, counts).sum(), [x, *experts.parameters()]))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # where dynamo breaks a graph
def test_the_hybrid_model_is_compiled_and_learns_as_it_does_in_eager_mode():
    torch.manual_seed(0)
    model = HybridEfficientModel(20, 6, 5, 3, fused_dim=16, embed_dim=8)
    inputs, found = (torch.randint(1, 20, (4, 6)), tokens(4, 5)), []
    for compiled in (False, True):
        network = copy.deepcopy(model)
        forward = torch.compile(network, backend="aot_eager") if compiled else network
        y = forward(*inputs)
        y.square().sum().backward()
        found.append((y, *(weight.grad for weight in network.parameters() if weight.grad is not None)))
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_a_traced_product_has_the_shapes_and_the_operations_of_the_kernel():
    experts, x, counts = SwiGLUExperts(3, 8, 16), tokens(7, 8), torch.tensor([3, 0, 4])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, FlopCounterMode(display=False) as counter:
        fake = copy.deepcopy(experts)
        y = fake(mode.from_tensor(x), mode.from_tensor(counts), trusted=True)
        y.sum().backward()
    assert y.shape == (7, 8)
    assert [weight.grad.shape for weight in fake.parameters()] == [(3, 32, 8), (3, 8, 16)]
    assert counter.get_total_flops() == 2 * 7 * (8 * 32 + 16 * 8)


@pytest.mark.gpu
def test_on_a_gpu_the_numbers_are_those_of_the_cpu():
    router, x = build(), tokens(64, 8)
    expected = router(x)
    on_gpu = copy.deepcopy(router).cuda()
    assert torch.allclose(on_gpu(x.cuda()).cpu(), expected, atol=1e-5)
    half = copy.deepcopy(router).cuda().bfloat16()
    assert torch.allclose(half(x.cuda().bfloat16()).float().cpu(), expected, atol=5e-2)
