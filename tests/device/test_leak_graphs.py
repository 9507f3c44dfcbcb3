"""The leak meter on graphs, cycles and bounded caches: what is kept is told apart, and ordinary steps have nothing."""

import functools
import gc
import re
import warnings
from collections import OrderedDict, UserDict, deque
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch
from torch import nn

from lab.device import measure_leak
from lab.device.holders import find_holders, storage_of_tensor

pytestmark = pytest.mark.usefixtures("no_other_tests")
DEPTH = 10


def deep():
    return nn.Sequential(*[nn.Linear(4, 4) for _ in range(DEPTH)])


def test_a_running_loss_that_keeps_its_graph_is_a_leak_of_nodes_with_its_holder():
    run, net, x = {"v": 0.0}, deep(), torch.ones(2, 4)

    def step():
        loss = net(x).mean()
        loss.backward()
        run["v"] = run["v"] + loss

    report = measure_leak(step, calls=12)
    assert (report.verdict, report.ok) == ("leak", False)
    # Each call: a matrix product and a transpose for each layer, the mean, the sum.
    assert report.node_slope == pytest.approx(2 * DEPTH + 2)
    assert re.match(r"leak: .* and 22\.0 graph nodes a call", str(report))
    leak, sums = report.leaks
    assert (leak.unit, leak.storages, leak.nbytes) == ("graph nodes", 12 * (2 * DEPTH + 1), 0)
    assert "net(x).mean()" in leak.line
    assert (sums.storages, sums.operation) == (12, "AddBackward0 x12")
    assert re.fullmatch(r"run\['v'\]\.grad_fn\(AddBackward0\)\.AddBackward0 x\d+\.MeanBackward0.*", leak.holders[0])
    assert len(leak.holders[0]) < 120
    assert "graph nodes" in str(leak)
    assert report.to_dict()["verdict"] == "leak"


def test_a_running_loss_without_its_graph_is_none():
    run, net, x = {"v": 0.0}, deep(), torch.ones(2, 4)

    def step():
        loss = net(x).mean()
        loss.backward()
        run["v"] = run["v"] + loss.detach()
        run["last"] = loss

    report = measure_leak(step, calls=8)
    assert (report.verdict, report.leaks) == ("no leak", ())
    assert set(report.cyclic) == {0}
    assert len(set(report.nodes)) == 1


@pytest.mark.parametrize("training", ["checkpoint", "penalty", "custom", "carried"])
def test_ordinary_steps_leave_no_nodes_and_no_cycles(training):
    net, x = deep(), torch.ones(2, 4, requires_grad=True)
    optimizer = torch.optim.Adam(net.parameters())
    state = {"h": torch.zeros(2, 4)}

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            ctx.save_for_backward(value)
            return value * value

        @staticmethod
        def backward(ctx, gradient):
            return 2 * ctx.saved_tensors[0] * gradient

    def step():
        optimizer.zero_grad()
        if training == "checkpoint":
            loss = torch.utils.checkpoint.checkpoint(net, x, use_reentrant=False).mean()
        elif training == "custom":
            loss = Square.apply(net(x)).mean()
        elif training == "carried":
            hidden = net(x + state["h"])
            state["h"] = hidden.detach()
            loss = hidden.mean()
        else:
            (gradient,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
            loss = gradient.square().sum()
        loss.backward()
        optimizer.step()

    report = measure_leak(step, calls=6)
    assert (report.verdict, report.leaks, report.slope) == ("no leak", (), 0.0)
    assert set(report.cyclic) == {0}
    assert report.node_slope == 0.0


def test_a_bounded_cache_is_held_and_no_longer_growing_with_its_holder():
    @functools.lru_cache(8)
    def table(size):
        return torch.zeros(100)

    sizes = iter(range(1000))
    report = measure_leak(lambda: table(next(sizes)), calls=30, warm_up=2)
    assert (report.verdict, report.ok) == ("held, no longer growing", True)
    assert str(report).startswith("held, no longer growing: 3,200 bytes, since call 6 over 30 calls")
    (leak,) = report.leaks
    assert (leak.storages, leak.nbytes) == (8, 3200)
    assert leak.holders[0].startswith("table.")


def test_a_window_that_was_full_before_is_no_leak():
    window: deque = deque(maxlen=3)
    report = measure_leak(lambda: window.append(torch.zeros(10)), calls=8)
    assert report.verdict == "no leak"


def test_a_cycle_is_told_with_its_types_and_is_no_leak():
    class Trainer:
        def __init__(self):
            self.me, self.buffer = self, torch.zeros(100)

    report = measure_leak(Trainer, calls=6)
    assert (report.verdict, report.live) == ("no leak", (0,) * 6)
    assert report.cyclic == (400,) * 6
    assert report.cycles[0] == "Trainer"
    assert "held only until the cyclic collector runs: 400 bytes a call, in reference cycles of Trainer" in str(report)
    assert gc.isenabled()
    assert gc.get_debug() == 0
    assert gc.garbage == []


def test_a_gradient_with_a_graph_holds_its_parameter():
    x = torch.ones(2, 4)

    def step():
        net = nn.Linear(4, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net(x).square().sum().backward(create_graph=True)

    report = measure_leak(step, calls=6)
    assert not report.ok
    assert all(leak.holders for leak in report.leaks)
    assert all("kept by its own gradient of create_graph=True" in leak.holders[0] for leak in report.leaks)


class Memoized:
    """Makes an attribute when it is read, as an empty event listener of SQLAlchemy does; here that raises."""

    __slots__ = ("__hidden", "tensor", "unset")

    def __init__(self, tensor):
        self.tensor, self.__hidden = tensor, [tensor.clone()]

    def __getattr__(self, name):
        raise TypeError(f"code of the user's ran for {name}")


class Lazy(OrderedDict):
    """Gives its items by loading them, as the registries of transformers do; here that raises."""

    def items(self):
        raise TypeError("code of the user's ran for items")


def test_the_search_runs_no_code_of_what_it_meets():
    kept = Memoized(torch.zeros(3))
    lazy = Lazy(kept=torch.zeros(4))
    data = UserDict(kept=torch.zeros(5))
    weak = WeakValueDictionary(kept=kept.tensor)
    tensors = [kept.tensor, kept._Memoized__hidden[0], lazy["kept"], data["kept"]]
    roots = {"weak": weak, "listeners": [kept, object()], "lazy": lazy, "data": data}
    found = find_holders(roots, frozenset(storage_of_tensor(tensor) for tensor in tensors))
    assert [found[storage_of_tensor(tensor)] for tensor in tensors] == [
        "listeners[0].tensor",
        "listeners[0]._Memoized__hidden[0]",
        "lazy['kept']",
        "data.data['kept']",
    ]


def test_an_array_of_objects_is_looked_through():
    kept = np.empty((100, 2), dtype=object)
    number = iter(range(100))

    def step():
        kept[next(number), 1] = torch.zeros(10)

    report = measure_leak(step, calls=6)
    assert report.leaks[0].holders[0] == "kept[3, 1]"


def test_steps_that_repeat_are_folded_and_deep_graphs_are_searched():
    total = torch.zeros((), requires_grad=True) * 1
    first = total
    for _ in range(5000):
        total = (total + 1).tanh()
    held = first.exp()
    paths = find_holders({"total": total, "held": [held]}, frozenset([held.untyped_storage()._cdata]))
    assert list(paths.values()) == ["held[0]"]
    node = first.grad_fn
    (path,) = find_holders({"total": total}, frozenset([7]), lambda thing: 7 if thing is node else None).values()
    assert path == "total.grad_fn(TanhBackward0)(.AddBackward0.TanhBackward0) x4999.AddBackward0.MulBackward0"


@pytest.mark.parametrize("size", [4, None])
def test_a_cache_on_a_method_of_a_local_class_is_named(size):
    class Positions:
        def __init__(self):
            self.weight = torch.ones(8)

        @functools.lru_cache(size)  # noqa: B019
        def table(self, start):
            return torch.zeros(8)

    verdict = "leak" if size is None else "held, no longer growing"
    report = measure_leak(lambda: Positions().table(1), calls=6, warm_up=2)
    assert report.verdict == verdict
    assert all(leak.holders[0].startswith("Positions.table.") for leak in report.leaks)
    positions, starts = Positions(), iter(range(100))
    report = measure_leak(lambda: positions.table(next(starts)), calls=8, warm_up=2)
    assert report.verdict == verdict
    assert report.leaks[0].holders[0].startswith("positions.table.")


def test_what_keys_hold_is_looked_through():
    kept = {}
    report = measure_leak(lambda: kept.update({(torch.zeros(3),): 0}), calls=6, warm_up=2)
    assert report.leaks[0].holders[0] == "kept.key 2[0]"
