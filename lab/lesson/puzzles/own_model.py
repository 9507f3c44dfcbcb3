"""Tasks of lesson 15: layers that hide in lists, two models that compute the same, a module without faults."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lab.doctor import DoctorReport, examine
from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _in_lists(answer: Answer) -> list[CheckResult]:
    model, inner = nn.Module(), nn.Module()
    model.inner, model.known = inner, nn.ModuleList([nn.Linear(2, 2)])
    vars(model)["sizes"] = [2, 3]
    vars(model)["heads"] = [nn.Linear(2, 2), "a name"]
    vars(inner)["tails"] = [nn.Linear(2, 2)]
    meaning = "wanted are the paths of the layers in plain lists, as in heads[0] or inner.tails[0]"
    found = set(answer(model))
    return [
        check("in a list of the model", "heads[0]" in found, True, meaning=meaning),
        check(
            "in a list of a module inside", "inner.tails[0]" in found, True, meaning="no module inside was looked at"
        ),
        check("nothing else", sorted(found - {"heads[0]", "inner.tails[0]"}), [], meaning="these are no hidden layers"),
    ]


def _listed(model: nn.Module, kind: type, prefix: str = "") -> list[str]:
    lists = {name: value for name, value in vars(model).items() if isinstance(value, list)}
    return [f"{prefix}{key}[{n}]" for key, items in lists.items() for n, x in enumerate(items) if isinstance(x, kind)]


def _everywhere(model: nn.Module, kind: type) -> list[str]:
    modules = model.named_modules()
    return [path for name, module in modules for path in _listed(module, kind, f"{name}." if name else "")]


IN_LISTS = Exercise(
    "layers that hide in lists",
    hints=(
        "model.named_modules() gives each module with its path, '' for the model itself; vars(module) its attributes.",
        "Where an attribute is a list, go through it with enumerate, and keep what is an nn.Module.",
    ),
    compare=_in_lists,
    mistakes={
        "only the model's own lists were looked at: a module inside may have one too": lambda model: _listed(
            model, nn.Module
        ),
        "not everything in a list is a layer: numbers and names are none": lambda model: _everywhere(model, object),
        "these are the layers that the model knows already": lambda model: [
            name for name, module in model.named_modules() if isinstance(module, nn.Linear)
        ],
    },
)

Factory = Callable[[], nn.Module]


def _farthest(answer: Answer) -> list[CheckResult]:
    def plain() -> nn.Module:
        return nn.Linear(3, 2)

    def lower_at_first() -> nn.Module:
        model = nn.Linear(3, 2)
        shifts = iter((0.5, 0.25, 0.125))
        model.register_forward_hook(lambda module, args, output: output - next(shifts, 0.0))
        return model

    batches = [torch.full((4, 3), float(n)) for n in range(3)]
    meaning = "wanted is the largest absolute difference over all batches, of models built from the same seed"
    with torch.random.fork_rng(devices=[]):
        return [
            check("equal models", float(answer(plain, plain, batches)), 0.0, meaning=meaning),
            check("another model", float(answer(lower_at_first, plain, batches)), 0.5, atol=1e-6, meaning=meaning),
        ]


def _gaps(make_a: Factory, make_b: Factory, batches: Sequence[Tensor], *, seeds: tuple[int, int] = (0, 0)) -> Tensor:
    """Differences of two models' outputs, batch by batch, each model built from a seed of its own."""
    models = []
    for make, seed in zip((make_a, make_b), seeds, strict=True):
        torch.manual_seed(seed)
        models.append(make())
    return torch.stack([models[0](batch) - models[1](batch) for batch in batches]).detach()


FARTHEST = Exercise(
    "do they compute the same",
    hints=(
        "torch.manual_seed(0) before each of the two factories: the second model must begin with the same numbers.",
        "Keep the largest (a(batch) - b(batch)).abs().max() over all batches, in their order.",
    ),
    compare=_farthest,
    mistakes={
        "the second model was built from other random numbers: set the seed before each": lambda a, b, batches: (
            _gaps(a, b, batches, seeds=(0, 1)).abs().max()
        ),
        "a difference below 0 is one too: take its absolute value": lambda a, b, batches: _gaps(a, b, batches).max(),
        "only the last batch was compared": lambda a, b, batches: _gaps(a, b, batches)[-1].abs().max(),
    },
)


class _GatedInput(nn.Module):
    """A module with three faults; its outputs and the gradients of its formula are what is wanted."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)
        self.register_buffer("state", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        """A gated input and a state."""
        gate = torch.sigmoid(self.mix(x))
        gate *= torch.linspace(0, 1, 6)
        self.state = 0.5 * self.state + gate.mean(0)
        return x * gate + self.state


def _faults(report: DoctorReport) -> str:
    found = [finding.kind for finding in report.audit.findings]
    found += [each.cause or each.verdict for each in report.simulations if not each.ok]
    found += [finding.category for finding in report.backward.findings] if report.backward else []
    return ", ".join(found) or "nothing found"


@torch.no_grad()
def _slopes(net: _GatedInput, x: Tensor, step: float = 1e-6) -> Tensor:
    """Slope of the summed output in each bias, by moving it a little."""
    slopes = []
    for index in range(6):
        sums = []
        for sign in (1, -1):
            moved = copy.deepcopy(net)
            moved.mix.bias[index] += sign * step
            sums.append(moved(x).sum())
        slopes.append((sums[0] - sums[1]) / (2 * step))
    return torch.stack(slopes)


def _gate(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        given, x = _GatedInput().double(), torch.randn(5, 6, dtype=torch.float64)
    net = type("Answer", (_GatedInput,), {"forward": lambda self, x: answer(self, x)})().double()
    net.load_state_dict(given.state_dict())
    copy.deepcopy(net)(x)  # an empty answer ends here
    said = _faults(examine(net, x, placements=["cuda:0"]))
    doctor = check("what the doctor says", said, "nothing found", meaning=f"the doctor still finds: {said}")
    if not doctor.ok:
        return [doctor]
    want, first = _slopes(given, x), net(x)
    first.sum().backward()
    outputs = check("output of two batches", [first, net(x)], [given(x), given(x)], atol=1e-12)
    meaning = "this batch's output depends on gate through the state too: detach what is kept, and not it"
    return [doctor, outputs, check("gradient of the bias", net.mix.bias.grad, want, atol=1e-6, meaning=meaning)]


def _hidden_write(self: _GatedInput, x: Tensor) -> Tensor:
    gate = torch.sigmoid(self.mix(x))
    gate.data.mul_(torch.linspace(0, 1, 6, device=x.device))
    state = 0.5 * self.state + gate.mean(0)
    self.state = state.detach()
    return x * gate + state


def _on_cpu(self: _GatedInput, x: Tensor) -> Tensor:
    gate = torch.sigmoid(self.mix(x)) * torch.linspace(0, 1, 6)
    state = 0.5 * self.state + gate.mean(0)
    self.state = state.detach()
    return x * gate + state


def _all_detached(self: _GatedInput, x: Tensor) -> Tensor:
    gate = torch.sigmoid(self.mix(x)) * torch.linspace(0, 1, 6, device=x.device)
    self.state = (0.5 * self.state + gate.mean(0)).detach()
    return x * gate + self.state


GATE = Exercise(
    "a gate with a state",
    hints=(
        "Three lines need a change. The doctor names one after the other; repair what it names and ask again.",
        "Only the gradient is off? The new state still counts in this batch's output: detach what is *kept*, not it.",
        "Two names: state = 0.5 * self.state + gate.mean(0) for the output, and self.state = state.detach().",
    ),
    compare=_gate,
    mistakes={
        "the write is hidden from autograd by .data, and still there: make a new tensor": _hidden_write,
        "the steps are made on the CPU: say device=x.device": _on_cpu,
        "the state of this batch's output was detached: detach only what is kept for the next batch": _all_detached,
    },
)
