"""Placement faults, planted, on a machine that needs no GPU. `# here` marks the line at fault."""

import copy
import inspect
import queue
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.base import PlacementError
from lab.doctor import SimulationReport, simulate


class PlainAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.shift = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.shift  # here


class HiddenList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)  # here
        return x


class MadeInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), Noise())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        noise = torch.zeros(x.shape)
        return torch.cat([x, noise])  # here


class StaleDevice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.device = torch.device("cpu")

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(4, device=self.device)
        return self.fc(x) * mask  # here


class InputNotMoved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)  # here


class IndexedByGpu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.table = torch.ones(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.fc(x).argmax(1)
        return self.table[rows]  # here


class NumpyInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.fc(x).detach().numpy())  # here


MISPLACED: list[tuple[type[nn.Module], dict[str, Any], str, str, str]] = [
    (PlainAttribute, {}, "", "plain attribute", "shift"),
    (HiddenList, {}, "layers[0]", "module hidden in a list or dict", "layers[0].weight"),
    (MadeInForward, {}, "inner.1", "tensor made in forward", ""),
    (StaleDevice, {}, "", "stale device", ""),
    (InputNotMoved, {"input_device": "cpu"}, "fc", "input not moved", "0"),
    (IndexedByGpu, {}, "", "plain attribute", "table"),
    (NumpyInForward, {}, "", "numpy in forward", ""),
]


@pytest.mark.parametrize("follow_data", [False, True])
@pytest.mark.parametrize(("kind", "options", "module", "cause", "name"), MISPLACED, ids=lambda value: str(value)[:40])
def test_a_misplaced_tensor_is_found_with_module_line_cause_and_name(
    kind: type[nn.Module], options: dict[str, Any], module: str, cause: str, name: str, follow_data: bool
) -> None:
    report = simulate(kind(), (torch.randn(2, 4),), follow_data=follow_data, **options)
    assert report.verdict == "mismatch"
    assert not report.ok
    assert report.module == module
    assert report.cause == cause
    source = Noise if kind is MadeInForward else kind
    assert report.place is not None
    assert (report.place.path, report.place.line) == (__file__, _line(source))
    assert not name or name in {operand.name for operand in report.operands}
    assert report.fix
    assert cause in str(report)


def _line(kind: type) -> int:
    lines, start = inspect.getsourcelines(kind)
    (found,) = [number for number, line in enumerate(lines, start) if line.rstrip().endswith("# here")]
    return found


class TwoParts(nn.Module):
    """Two parts on two GPUs; the activation is moved between them, or is not."""

    def __init__(self, moves: bool) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.back = nn.Linear(4, 2)
        self.moves = moves

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        if self.moves:
            x = x.to(self.back.weight.device)
        return self.back(x)  # here


@pytest.mark.parametrize("follow_data", [False, True])
def test_an_activation_that_stays_on_the_first_of_two_gpus_is_found(follow_data: bool) -> None:
    placement = {"front": "cuda:0", "back": "cuda:1"}
    report = simulate(TwoParts(False), torch.randn(3, 4), placement=placement, follow_data=follow_data)
    assert (report.verdict, report.module, report.cause) == ("mismatch", "back", "activation not moved between parts")
    assert report.place is not None
    assert report.place.line == _line(TwoParts)
    assert {operand.device for operand in report.operands} == {"cuda:0", "cuda:1"}
    assert simulate(TwoParts(True), torch.randn(3, 4), placement=placement, follow_data=follow_data).ok


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        if h.sum() > 1e6:  # here
            return h + torch.ones(4)
        return h


class Mask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        return h[h > 0]  # here


class Experts(nn.Module):
    """Routes rows to experts by value, as mixtures of experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        choice = self.router(x).argmax(1)
        out = torch.zeros_like(x)
        for number in choice.unique().tolist():  # here
            rows = (choice == number).nonzero().squeeze(1)
            out[rows] = self.experts[number](x[rows])
        return out


class NumpyOnCpu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        array = h.detach().cpu().numpy()  # here
        return h + torch.from_numpy(array * 2).to(h.device)


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (Branch, "_local_scalar_dense"),
        (Mask, "nonzero"),
        (Experts, "_unique2"),
        (NumpyOnCpu, "numpy"),
    ],
)
def test_a_forward_that_depends_on_values_is_undecided_by_name_or_followed(
    kind: type[nn.Module], operation: str
) -> None:
    model, x = kind(), torch.randn(6, 4)
    report = simulate(model, x)
    assert report.verdict == "undecided"
    assert operation in report.operation
    assert report.place is not None
    assert (report.place.path, report.place.line) == (__file__, _line(kind))
    assert "follow_data" in report.fix
    assert simulate(model, x, follow_data=True).ok


def test_a_fault_behind_a_branch_is_found_when_the_values_go_there() -> None:
    model = Branch()
    nn.init.constant_(model.fc.bias, 1e9)
    report = simulate(model, torch.randn(6, 4), follow_data=True)
    assert (report.verdict, report.cause) == ("mismatch", "tensor made in forward")


class Moves(nn.Module):
    """Asks for devices in every way that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        made = [
            torch.zeros(4, device=x.device),
            torch.ones(4).to(x),
            torch.ones(4).to(x.device),
            torch.ones(4).to(device=x.device, dtype=torch.float32),
            torch.ones(4).to(str(x.device)),
            x.new_full((4,), 2.0),
            torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device),
            torch.arange(4, device=x.device).float(),
            torch.empty_like(x[0]).normal_(),
            torch.ones(4).to(self.fc.weight.device, non_blocking=True),
            torch.ones(4).type_as(x),
        ]
        with torch.device(x.device):
            made.append(torch.ones(4))
        if x.get_device() == 0:
            made += [torch.ones(4).cuda(), torch.ones(4).cuda(x.get_device()), torch.ones(4, device="cuda")]
        assert all(tensor.device == x.device for tensor in made)
        total = self.fc(x)
        for tensor in made:
            total = total + tensor
        total[0] = torch.ones(4)
        total[torch.tensor([0, 1])] *= 2
        total += torch.tensor(3.0)
        kept = total.cpu()
        assert kept.device.type == "cpu"
        kept += torch.ones(4)
        return total.masked_fill(total > 4, 0.0) @ total.T


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize("follow_data", [False, True])
def test_tensors_made_on_the_right_device_are_no_fault(follow_data: bool, device: str) -> None:
    report = simulate(Moves(), torch.randn(3, 4), device=device, follow_data=follow_data)
    assert report.ok, str(report)


class FirstGpu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + torch.ones(4).cuda()  # here


@pytest.mark.parametrize("follow_data", [False, True])
def test_a_device_written_into_forward_shows_on_the_second_gpu_only(follow_data: bool) -> None:
    x = torch.randn(3, 4)
    assert simulate(FirstGpu(), x, device="cuda:0", follow_data=follow_data).ok
    report = simulate(FirstGpu(), x, device="cuda:1", follow_data=follow_data)
    assert (report.verdict, report.cause) == ("mismatch", "tensor made in forward")
    assert report.place is not None
    assert report.place.line == _line(FirstGpu)


class OwnTo(nn.Module):
    """Moves a plain tensor and writes its device down in a `to()` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.state = torch.zeros(4)
        self.device = torch.device("cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "OwnTo":
        super()._apply(fn, recurse)
        self.state = fn(self.state)
        self.device = self.fc.weight.device
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.state + torch.ones(4, device=self.device)


@pytest.mark.parametrize("follow_data", [False, True])
def test_what_a_model_moves_itself_is_moved(follow_data: bool) -> None:
    assert simulate(OwnTo(), torch.randn(2, 4), follow_data=follow_data).ok


class Stateful(nn.Module):
    """Changes all it can in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.rnn = nn.LSTM(4, 4, batch_first=True)
        self.register_buffer("count", torch.zeros(()))
        self.state = torch.zeros(4)
        self.history: list[Tensor] = [torch.zeros(2)]
        self.calls = 0
        self.w = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.history.append(x.mean(0))
        h = self.drop(self.norm(x)) * self.w
        self.state = h.mean(0)
        with torch.no_grad():
            self.w.mul_(0.5)
        random.random()
        np.random.rand()
        return self.rnn(h[:, None])[0] + torch.randn(4, device=x.device)


@pytest.mark.parametrize("follow_data", [False, True])
def test_the_model_its_values_and_the_random_streams_are_unchanged(follow_data: bool) -> None:
    model = Stateful()
    x = torch.randn(5, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    identities = [id(parameter) for parameter in model.parameters()]
    state, history = model.state, list(model.history)
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    assert simulate(model, x, follow_data=follow_data).ok
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert not torch.isnan(value).any(), name
    assert [id(parameter) for parameter in model.parameters()] == identities
    assert model.state is state
    assert torch.equal(model.state, torch.zeros(4))
    assert len(model.history) == 1
    assert model.history[0] is history[0]
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert random.getstate() == streams[1]
    assert (np.random.get_state()[1] == streams[2]).all()
    assert torch.backends.cudnn.enabled


def test_a_followed_forward_computes_what_the_model_computes() -> None:
    # a list would be put back as it was
    seen: queue.SimpleQueue[Tensor] = queue.SimpleQueue()

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out = F.gelu(self.fc(x)).softmax(1)
            seen.put(out.detach().cpu().clone())
            return out

    model, x = Probe(), torch.randn(3, 4)
    assert simulate(model, x, follow_data=True).ok
    assert torch.equal(seen.get_nowait(), model(x).detach())


def test_a_gradient_inside_forward_is_followed() -> None:
    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.fc(x).square().sum(), x, create_graph=True)
            return gradient

    assert simulate(Force(), torch.randn(3, 4), follow_data=True).ok


def test_arguments_in_containers_are_moved_and_the_callers_stay() -> None:
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, batch: Mapping[str, Any], *, scale: Tensor) -> Tensor:
            return self.fc(batch["x"]) * batch["more"][0] * scale

    batch = {"x": torch.ones(2, 4), "more": [torch.ones(4), "text"]}
    report = simulate(Takes(), (batch,), {"scale": torch.ones(2, 4)})
    assert report.ok, str(report)
    assert all(tensor.device.type == "cpu" for tensor in (batch["x"], batch["more"][0]))


@pytest.mark.parametrize("follow_data", [False, True])
def test_recurrent_attention_and_convolution_layers_are_ok(follow_data: bool) -> None:
    cases: list[tuple[nn.Module, tuple[Tensor, ...]]] = [
        (nn.LSTM(4, 3, 2, bidirectional=True), (torch.randn(5, 2, 4),)),
        (nn.GRU(4, 3, batch_first=True), (torch.randn(2, 5, 4),)),
        (nn.TransformerEncoderLayer(8, 2, 16), (torch.randn(5, 2, 8),)),
        (nn.TransformerEncoderLayer(8, 2, 16).eval(), (torch.randn(5, 2, 8),)),
        (nn.MultiheadAttention(8, 2), (torch.randn(5, 2, 8),) * 3),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(inplace=True)), (torch.randn(2, 3, 8, 8),)),
        (nn.EmbeddingBag(10, 4), (torch.tensor([[1, 2], [3, 4]]),)),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), (torch.randn(2, 4),)),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (torch.randn(2, 4),)),
    ]
    for model, args in cases:
        report = simulate(model, args, follow_data=follow_data)
        assert report.ok, f"{model}: {report}"


class Recurrent(nn.Module):
    """A recurrent layer, with its first hidden state in a tensor that `to()` does not move."""

    def __init__(self, layer: nn.RNNBase | nn.RNNCellBase) -> None:
        super().__init__()
        self.layer = layer
        self.hidden = torch.zeros(2, 3) if isinstance(layer, nn.RNNCellBase) else torch.zeros(1, 2, 3)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x, (self.hidden, self.hidden) if "LSTM" in type(self.layer).__name__ else self.hidden)


@pytest.mark.parametrize("follow_data", [False, True])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_recurrent_layers_of_every_kind_are_followed(kind: type[nn.Module], inference: bool, follow_data: bool) -> None:
    layer, x = kind(4, 3), torch.randn(2, 4) if issubclass(kind, nn.RNNCellBase) else torch.randn(5, 2, 4)
    with torch.inference_mode(inference):
        for training in (True, False):
            report = simulate(layer.train(training), x, follow_data=follow_data)
            assert report.ok, str(report)
    report = simulate(Recurrent(layer), x, follow_data=follow_data)
    assert report.verdict == "mismatch", str(report)
    assert report.module == "layer"


class Histogram(nn.Module):
    """Calls an operation without a meta function, beside a weight."""

    def __init__(self, where: str = "") -> None:
        super().__init__()
        self.layer, self.where = nn.Linear(4, 4), where

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x).detach()
        edges = torch.linspace(-1, 1, 5, device=self.where or y.device)
        return self.layer.weight @ torch.histogram(y, edges).hist


def test_an_operation_without_a_meta_function_is_run_on_zeros() -> None:
    assert simulate(Histogram(), torch.randn(2, 4)).ok
    report = simulate(Histogram("cpu"), torch.randn(2, 4))
    assert report.verdict == "mismatch", str(report)
    assert "histogram" in report.operation


def test_an_error_of_another_kind_leaves_it_undecided_with_torchs_words() -> None:
    report = simulate(nn.Linear(4, 4), torch.randn(2, 5))
    assert report.verdict == "undecided"
    assert report.reason
    with pytest.raises(TypeError):
        simulate(nn.Linear(4, 4), ())


def test_models_and_devices_that_cannot_be_simulated_are_refused() -> None:
    hollow = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    with pytest.raises(PlacementError, match="1.weight, 1.bias"):
        simulate(hollow, torch.randn(2, 4))
    with pytest.raises(PlacementError, match="no_such_part"):
        simulate(nn.Linear(4, 4), torch.randn(2, 4), placement={"no_such_part": "cuda:0"})
    for device in ("meta", "gpu"):
        with pytest.raises(PlacementError, match=device):
            simulate(nn.Linear(4, 4), torch.randn(2, 4), device=device)
    locked = nn.Linear(4, 4)
    locked.lock = threading.Lock()
    with pytest.raises(PlacementError, match="copy.deepcopy"):
        simulate(locked, torch.randn(2, 4))
    with pytest.raises(PlacementError, match="not initialised"):
        simulate(nn.LazyLinear(4), torch.randn(2, 4))


def test_the_report_is_plain_data() -> None:
    report: SimulationReport = simulate(PlainAttribute(), torch.randn(2, 4))
    data = report.to_dict()
    assert data["verdict"] == "mismatch"
    assert data["operands"][1]["name"] == "shift"
    assert "shift" in report.to_json()
    assert copy.copy(report) == report
