"""What every component keeps: gradients of a reference without persistent state, bounded graphs, quiet eval mode."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lab.base import DataError, TrainingError
from lab.device import OOMTransaction, measure_leak
from lab.doctor import simulate
from lab.mahia import (
    DynamicLayerRouter,
    DynamicNeuroFabric,
    GraphDiffusionMemory,
    MetaAttentionKernel,
    MetaController,
    State,
    TinyMemory,
)

D, T, B = 4, 5, 6
Values = dict[str, Tensor]
Reference = Callable[[Values, Values, Tensor], tuple[Tensor, Values]]


def linear(x: Tensor, p: Values, name: str) -> Tensor:
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def tiny_memory(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    rows, pointer = s["state.rows_SD"], int(s["state.pointer"])
    out = []
    for item in x:
        scores = [(linear(item, p, "query") @ row) / D**0.5 for row in rows[:pointer]]
        masses = [score.exp() for score in scores]
        read = sum((m * row for m, row in zip(masses, rows, strict=False)), torch.zeros(D).double())
        out.append(item + linear(read / (1 + sum(masses)), p, "out"))
    written = [x.detach().mean(0) if n == pointer % len(rows) else row for n, row in enumerate(rows)]
    return torch.stack(out), {"state.rows_SD": torch.stack(written), "state.pointer": torch.tensor(pointer + 1)}


def graph_memory(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    nodes = s["state.nodes_MD"]
    diffused = [sum(w * node for w, node in zip(row.softmax(0), nodes, strict=True)) for row in p["adjacency_MM"]]
    out, nearest = [], [[] for _ in nodes]
    for item in x:
        p_M = torch.stack([linear(item, p, "query") @ node / D**0.5 for node in diffused]).softmax(0)
        read = sum(w * node for w, node in zip(p_M, diffused, strict=True))
        out.append(linear(torch.cat((item, read)), p, "join"))
        nearest[int(torch.stack([(item - node).norm() for node in nodes]).argmin())].append(item.detach())
    moved = [
        0.9 * node + 0.1 * torch.stack(own).mean(0) if own else node for node, own in zip(nodes, nearest, strict=True)
    ]
    return torch.stack(out), {"state.nodes_MD": torch.stack(moved)}


def controller(p: Values, s: Values, x: Tensor, prefix: str, taken: Callable[[Tensor], list[int]], balance: float = 0):
    importance = s[f"{prefix}state.importance_L"]
    rows, credit = [], torch.zeros_like(importance)
    for item in x:
        token = item if item.dim() == 1 else item.mean(0)
        probability = (linear(token, p, f"{prefix}gate") - balance * (len(importance) * importance - 1)).softmax(0)
        own = taken(probability.detach())
        rows.append(torch.stack([q if n in own else q * 0 for n, q in enumerate(probability)]))
        for n in own:
            credit[n] += (probability[n] / sum(probability[m] for m in own)).detach() / len(x)
    return torch.stack(rows), {f"{prefix}state.importance_L": 0.9 * importance + 0.1 * credit}


def best_two(probability: Tensor) -> list[int]:
    return probability.topk(2).indices.tolist()


def covering(probability: Tensor) -> list[int]:
    own: list[int] = []
    for n in probability.argsort(descending=True).tolist():
        if own and float(probability[own].sum()) >= 0.5:
            break
        own.append(n)
    return own


def meta_controller(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    return controller(p, s, x, "", best_two, balance=0.5)


def layer_router(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    weights, after = controller(p, s, x, "controller.", best_two)
    each = [linear(x, p, f"layers.{n}") for n in range(weights.shape[1])]
    return sum(w[:, None] * y for w, y in zip(weights.T, each, strict=True)), after


def neuro_fabric(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    weights, after = controller(p, s, x, "controller.", covering)
    y = x
    for n in range(weights.shape[1]):
        normed = nn.functional.layer_norm(x, (D,), p[f"blocks.{n}.0.weight"], p[f"blocks.{n}.0.bias"])
        inner = nn.functional.gelu(linear(normed, p, f"blocks.{n}.1"))
        y = y + weights[:, n, None, None] * linear(inner, p, f"blocks.{n}.3")
    return y, after


def attention_kernel(p: Values, s: Values, x: Tensor) -> tuple[Tensor, Values]:
    n = nn.functional.layer_norm(x, (D,), p["norm.weight"], p["norm.bias"])
    frequencies = T // 2 + 1
    time = torch.arange(T).double()
    slow = torch.zeros_like(n)
    for f in range(frequencies):  # one real Fourier component at a time
        gain = 1.0 if f < -(-frequencies // 4) else 0.1
        angle = 2 * torch.pi * f * time / T
        share = (1 if f in (0, T / 2) else 2) * gain / T
        for wave in (angle.cos(), angle.sin()):
            slow = slow + share * wave[:, None] * (n * wave[:, None]).sum(1, keepdim=True)
    value, q, k = linear(slow, p, "value"), linear(n, p, "query"), linear(n, p, "key")
    heads = []
    for h in range(2):
        part = slice(h * D // 2, (h + 1) * D // 2)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / (D // 2) ** 0.5
        heads.append(scores.softmax(-1) @ value[..., part])
    decay, hidden, states = linear(n, p, "decay").sigmoid(), torch.zeros(len(x), D).double(), []
    for t in range(T):
        hidden = decay[:, t] * hidden + (1 - decay[:, t]) * value[:, t]
        states.append(hidden)
    return x + linear(torch.cat(heads, -1) + torch.stack(states, 1), p, "out"), {}


@dataclass(frozen=True, kw_only=True)
class Case:
    build: Callable[[], nn.Module]
    reference: Reference
    shape: tuple[int, ...] = (B, D)
    routed: bool = False


CASES = {
    "TinyMemory": Case(build=lambda: TinyMemory(3, D), reference=tiny_memory),
    "GraphDiffusionMemory": Case(build=lambda: GraphDiffusionMemory(D, 5), reference=graph_memory),
    "MetaController": Case(build=lambda: MetaController(D, 3, balance=0.5), reference=meta_controller),
    "DynamicLayerRouter": Case(
        build=lambda: DynamicLayerRouter(D, [nn.Linear(D, D) for _ in range(4)]), reference=layer_router, routed=True
    ),
    "DynamicNeuroFabric": Case(
        build=lambda: DynamicNeuroFabric(D, 4), reference=neuro_fabric, shape=(B, T, D), routed=True
    ),
    "MetaAttentionKernel": Case(
        build=lambda: MetaAttentionKernel(D, use_scan=True, heads=2), reference=attention_kernel, shape=(B, T, D)
    ),
}
STATEFUL = [name for name in CASES if name != "MetaAttentionKernel"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def sharp(module: nn.Module) -> nn.Module:
    """Routing that differs between samples: a gate as it starts is nearly undecided."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "gate" in name:
                parameter.mul_(8)
    return module


def state_of(module: nn.Module) -> Values:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def nodes_of(tensor: Tensor) -> int:
    """Number of nodes in the graph behind `tensor`."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return len(seen)


def under_anomaly_detection(step: Callable[[], object]) -> None:
    with pytest.warns(UserWarning, match="Anomaly Detection"):
        detection = torch.autograd.detect_anomaly()
    with detection:
        step()


def loss_of(y: Tensor) -> Tensor:
    """Weighs outputs differently, so that no sum hides a gradient."""
    return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum() + y.square().mean()


def test_gradients_and_states_equal_a_reference_without_persistent_state(case):
    module = sharp(case.build()).double()
    for _ in range(4):
        params = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
        state = state_of(module)
        total, wanted = 0, 0
        for _ in range(2):  # two forwards before one backward
            x = torch.randn(case.shape, dtype=torch.float64)
            total = total + loss_of(module(x))
            y, state = case.reference(params, state, x)
            wanted = wanted + loss_of(y)
        module.zero_grad()
        total.backward()
        wanted.backward()
        assert torch.allclose(total, wanted, rtol=1e-12)
        for name, parameter in module.named_parameters():
            expected = params[name].grad
            if parameter.grad is None:  # a layer that no sample took
                assert expected is None or not expected.any()
                continue
            assert (parameter.grad - expected).abs().max() <= 1e-9, name
        for name, buffer in module.named_buffers():
            assert torch.allclose(buffer, state[name].to(buffer.dtype), rtol=0, atol=1e-12), name
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad / parameter.grad.norm().clamp(min=1e-9))


def test_100_steps_under_anomaly_detection_with_graphs_of_one_size(case):
    module = sharp(case.build())
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    sizes: dict[object, set[int]] = {}
    x = torch.randn(case.shape)
    losses = []

    def step():
        optimizer.zero_grad()
        y = module(x + 0.1 * torch.randn_like(x))
        loss = (y - x.mean(-1, keepdim=True)).square().mean()
        size = nodes_of(loss)
        loss.backward()
        optimizer.step()
        active = tuple(p.grad is not None for p in module.parameters()) if case.routed else ()
        sizes.setdefault(active, set()).add(size)
        losses.append(float(loss.detach()))

    for _ in range(100):
        under_anomaly_detection(step)
    assert sum(losses[-10:]) < sum(losses[:10])
    assert all(len(found) == 1 for found in sizes.values()), sizes


def test_live_memory_does_not_grow(case):
    module = case.build()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    x = torch.randn(case.shape)

    def step():
        loss_of(module(x)).backward()
        optimizer.step()
        optimizer.zero_grad()

    report = measure_leak(step, calls=6)
    assert report.ok
    assert report.slope == 0


def test_gradcheck_in_eval_mode(case):
    module = sharp(case.build()).double()
    module(torch.randn(case.shape, dtype=torch.float64))
    module.eval()
    names = [name for name, _ in module.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(case.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *module.parameters()), fast_mode=True)


def test_eval_writes_nothing_and_gives_what_train_gives(case):
    module = case.build()
    x = torch.randn(case.shape)
    module(x)
    before = state_of(module)
    in_train = copy.deepcopy(module)(x)
    module.eval()
    assert torch.equal(module(x), in_train)
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


@pytest.mark.parametrize("name", STATEFUL)
def test_train_mode_writes_even_without_gradients(name):
    module = CASES[name].build()
    before = state_of(module)
    with torch.no_grad():
        module(torch.randn(CASES[name].shape))
    assert any(not torch.equal(value, before[key]) for key, value in module.named_buffers())


def test_a_state_dict_through_a_file_and_a_deepcopy_go_on_alike(case):
    module, other = case.build(), case.build()
    module(torch.randn(case.shape))
    module(torch.randn(case.shape))
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    copied = copy.deepcopy(module)
    for _ in range(3):
        x = torch.randn(case.shape)
        expected = module(x)
        assert torch.equal(other(x), expected)
        assert torch.equal(copied(x), expected)
    for again in (other, copied):
        for (_, one), (_, two) in zip(again.named_buffers(), module.named_buffers(), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("name", STATEFUL)
def test_loading_a_state_between_forward_and_backward_leaves_the_gradient(name):
    case = CASES[name]
    module, twin = (sharp(case.build().double()) for _ in range(2))
    twin.load_state_dict(module.state_dict())
    x = torch.randn(case.shape, dtype=torch.float64)
    for net in (module, twin):
        net(x)
    loss_of(twin(x)).backward()
    loss = loss_of(module(x))
    for part in module.modules():
        if isinstance(part, State):
            part.load_state_dict({key: value + 1 for key, value in part.state_dict().items()})
    loss.backward()
    for parameter, expected in zip(module.parameters(), twin.parameters(), strict=True):
        assert (parameter.grad is None) == (expected.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, expected.grad)


@pytest.mark.parametrize("name", STATEFUL)
def test_a_forward_that_backward_computes_again_is_refused(name):
    module = CASES[name].build()
    x = torch.randn(CASES[name].shape, requires_grad=True)
    loss = checkpoint(module, x, use_reentrant=False).square().sum()
    with pytest.raises(TrainingError, match="Leave modules with a state out of activation checkpointing"):
        loss.backward()


@pytest.mark.parametrize("name", STATEFUL)
def test_a_step_that_is_taken_back_takes_the_state_back(name):
    module = CASES[name].build()
    before = state_of(module)
    x = torch.randn(CASES[name].shape)

    def fails(batch):
        module(batch)
        raise ZeroDivisionError

    transaction = OOMTransaction(module, torch.optim.SGD(module.parameters(), lr=0.1))
    with pytest.raises(ZeroDivisionError):
        transaction.step(fails, x)
    assert all(torch.equal(value, before[key]) for key, value in module.named_buffers())


@pytest.mark.parametrize("name", ["TinyMemory", "GraphDiffusionMemory", "MetaController", "MetaAttentionKernel"])
@pytest.mark.usefixtures("no_other_tests")
def test_everything_is_on_one_device_on_a_simulated_gpu(name):
    report = simulate(CASES[name].build(), (torch.randn(CASES[name].shape),))
    assert report.verdict == "ok", str(report)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(case):
    module, x = sharp(case.build()), torch.randn(case.shape)
    twin = copy.deepcopy(module).cuda()
    for _ in range(2):
        assert torch.allclose(twin(x.cuda()).cpu(), module(x), atol=1e-4)
    for one, two in zip(module.buffers(), twin.buffers(), strict=True):
        assert torch.allclose(one, two.cpu(), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[..., :3], r"shape .* 4\), got shape \(.*3\)"),
        (lambda x: x[:0], r"at least one item, got shape \(0, "),
        (lambda x: x.long(), "floating-point type, got torch.int64"),
        (lambda x: x[None, None], r"x of shape .*, got shape \(1, 1, "),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(case, change, message):
    module = case.build()
    before = state_of(module)
    with pytest.raises(DataError, match=message):
        module(change(torch.randn(case.shape)))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
