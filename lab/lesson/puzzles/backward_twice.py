"""Tasks of lesson 12: who carries a graph, two losses and a state, weights without a unit, gradients that oppose."""

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _with_graph(answer: Answer) -> list[CheckResult]:
    model, inner = nn.Module(), nn.Module()
    model.layer, model.inner = nn.Linear(2, 2), inner
    model.register_buffer("plain", torch.ones(2))
    model.register_buffer("leaf", torch.ones(2, requires_grad=True))
    for module in (model, inner):
        module.register_buffer("carried", model.layer(torch.ones(2)))
    meaning = "wanted are the names of all buffers, also of the modules inside, that an operation on weights has made"
    return [check("buffers with a graph", sorted(answer(model)), ["carried", "inner.carried"], meaning=meaning)]


WITH_GRAPH = Exercise(
    "who carries a graph",
    hints=(
        "model.named_buffers() gives names and tensors, also of the modules inside.",
        "A tensor that an operation has made knows it: its grad_fn is not None.",
    ),
    compare=_with_graph,
    mistakes={
        "requires_grad is True for a leaf too, which has no graph behind it: ask for grad_fn": lambda model: [
            name for name, tensor in model.named_buffers() if tensor.requires_grad
        ],
        "these are the weights: a state that is kept from step to step is a buffer": lambda model: [
            name for name, _ in model.named_parameters()
        ],
        "the buffers of the modules inside are missing": lambda model: [
            name for name, tensor in model.named_buffers(recurse=False) if tensor.grad_fn is not None
        ],
    },
)


def _not_against(answer: Answer) -> list[CheckResult]:
    cases = {
        "two that oppose": ((1.0, 0.0), (-1.0, 1.0), (0.5, 0.5)),
        "two that agree": ((1.0, 0.0), (1.0, 1.0), (1.0, 0.0)),
    }
    meaning = "what is left of a must not point against b, and the rest of a must be as it was"
    return [
        check(name, answer(torch.tensor(a), torch.tensor(b)), torch.tensor(left), atol=1e-6, meaning=meaning)
        for name, (a, b, left) in cases.items()
    ]


NOT_AGAINST = Exercise(
    "take away what opposes",
    hints=(
        "a and b oppose each other where a @ b is below 0; else a stays as it is.",
        "The part of a along b is (a @ b) / (b @ b) * b. Take it away.",
    ),
    compare=_not_against,
    mistakes={
        "where the two agree nothing is to be taken away": lambda a, b: a - (a @ b) / (b @ b) * b,
        "divide by b @ b: the part along b does not depend on the length of b": lambda a, b: (
            a - (a @ b).clamp(max=0) * b
        ),
        "this is a as it came: the part against b is still there": lambda a, b: a,
    },
)


def _loss_weights(answer: Answer) -> list[CheckResult]:
    last, before = torch.tensor([1.0, 1.0, 3.0]), torch.tensor([2.0, 1.0, 2.0])
    wanted = 3 * torch.softmax(torch.tensor([0.5, 1.0, 1.5]) / 2.0, dim=0)
    metres = torch.tensor([1.0, 1.0, 100.0])
    meaning = "wanted is the number of losses, times the softmax of last / before / temperature"
    return [
        check("weights", answer(last, before, 2.0), wanted, atol=1e-6, meaning=meaning),
        check("in another unit", answer(last * metres, before * metres, 2.0), wanted, atol=1e-6, meaning=meaning),
    ]


LOSS_WEIGHTS = Exercise(
    "weights without a unit",
    hints=(
        "A loss by itself one epoch earlier: last / before has no unit.",
        "len(last) * torch.softmax(last / before / temperature, dim=0)",
    ),
    compare=_loss_weights,
    mistakes={
        "the ratio is upside down: the loss that falls fastest would weigh most": lambda last, before, temperature: (
            len(last) * torch.softmax(before / last / temperature, dim=0)
        ),
        "these add up to 1; the weights of K losses add up to K": lambda last, before, temperature: torch.softmax(
            last / before / temperature, dim=0
        ),
        "the losses themselves are compared, each in its own unit": lambda last, before, temperature: (
            len(last) * torch.softmax(last / temperature, dim=0)
        ),
    },
)

FREED = "backward through the graph a second time"


def _run(net: nn.Module, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two losses and a new state."""
    h = net(torch.tanh(net(x + state)))
    return h.square().mean(), (h - 1).abs().mean(), 0.5 * state + 0.5 * h.mean(dim=0)


def _three_steps(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net, x = nn.Linear(3, 3).double(), torch.randn(5, 3).double()
    optimizer, state = torch.optim.SGD(net.parameters(), lr=0.5), torch.zeros(3).double()
    got, want, given, wanted, carried = [], [], [], [], False
    for _ in range(3):
        optimizer.zero_grad()
        first, second, new = _run(net, x, state)
        alone = _run(net, x, state)
        want.append(torch.autograd.grad(alone[0] + alone[1], net.weight)[0])
        returned = answer(first, second, new)
        got.append(torch.zeros_like(net.weight) if net.weight.grad is None else net.weight.grad.clone())
        given.append(returned.detach())
        wanted.append(new.detach())
        carried = carried or returned.requires_grad
        state = new.detach()
        optimizer.step()
    return [
        check("gradients of three steps", got, want, atol=1e-12, meaning="wanted is the gradient of the sum of both"),
        check("states that are returned", given, wanted, meaning="the numbers of new must go on as they are"),
        check("a graph goes on", carried, False, meaning="the state carries the graph of its step to the next one"),
    ]


def _finish(answer: Answer) -> list[CheckResult]:
    try:
        return _three_steps(answer)
    except RuntimeError as error:
        if FREED not in str(error):
            raise
    meaning = "the first backward has freed the piece that both losses stand on; the second one needs it"
    return [check("both losses went backward", False, True, meaning=meaning)]


FINISH = Exercise(
    "two losses and a state",
    hints=(
        "There are two faults to avoid, and each has its line in 'The fix that holds'.",
        "One backward is enough for both losses: whose gradient is the sum of the two?",
        "If only the state is off: new is a result of this step. new.detach() has the numbers without the graph.",
    ),
    compare=_finish,
    mistakes={
        "new goes on with its graph: the next backward would walk into this step": lambda first, second, new: (
            (first + second).backward(),
            new,
        )[1],
        "only the first loss was walked back": lambda first, second, new: (first.backward(), new.detach())[1],
        "the mean of the two losses halves every gradient: add them": lambda first, second, new: (
            ((first + second) / 2).backward(),
            new.detach(),
        )[1],
        "two walks through one graph: the first has freed what the second needs": lambda first, second, new: (
            first.backward(),
            second.backward(),
            new.detach(),
        )[2],
    },
)
