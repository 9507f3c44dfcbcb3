"""The leak meter: a planted leak of one tensor a call is found with its holder's name; healthy steps have none."""

import functools
import gc
import queue
import re
import threading

import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.device import measure_leak

pytestmark = pytest.mark.usefixtures("no_other_tests")
MODULE_CACHE: list = []


class Net(nn.Module):
    shared: list = []  # noqa: RUF012 - the leak through a class attribute is the point

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)
        self.history = {"kept": []}

    def forward(self, x):
        return self.linear(x)


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    MODULE_CACHE.clear()
    Net.shared.clear()


def training(net):
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(3, 8)

    def step():
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_an_ordinary_training_step_has_slope_zero_and_nothing_stays():
    report = measure_leak(training(Net()))
    assert (report.slope, report.low, report.high) == (0.0, 0.0, 0.0)
    assert report.ok
    assert report.leaks == ()
    assert str(report).startswith("no leak: 0.0 bytes a call")


def plant(where):
    """A step that also keeps one tensor of 40 bytes, and the name under which it does."""
    net = Net()
    step = training(net)
    local: list = []
    places = {
        "closure": (local, r"local\[\d+\]"),
        "module attribute": (net.history["kept"], r"step\.net\.history\['kept'\]\[\d+\]|net\.history\['kept'\]\[\d+\]"),
        "global": (MODULE_CACHE, r"MODULE_CACHE\[\d+\]"),
        "class attribute": (Net.shared, r"shared\[\d+\]"),
    }
    held, pattern = places[where]

    if where == "closure":

        def leaky():
            step()
            local.append(torch.zeros(10))
    elif where == "global":

        def leaky():
            step()
            MODULE_CACHE.append(torch.zeros(10))
    else:

        def leaky():
            step()
            (net.history["kept"] if where == "module attribute" else type(net).shared).append(torch.zeros(10))

    assert held == []
    return leaky, pattern


@pytest.mark.parametrize("where", ["closure", "module attribute", "global", "class attribute"])
def test_a_leak_of_one_tensor_a_call_is_found_within_twenty_and_its_holder_named(where):
    leaky, pattern = plant(where)
    report = measure_leak(leaky, calls=17, warm_up=3)
    assert not report.ok
    assert report.slope == pytest.approx(40.0)
    assert report.low > 39.9
    (leak,) = report.leaks
    assert (leak.storages, leak.nbytes, leak.operation) == (17, 680, "aten.zeros.default")
    assert "test_leak.py" in leak.line
    assert re.search(pattern, leak.holders[0]), leak.holders


def test_losses_kept_with_their_graph_name_what_the_graph_saved():
    net, x, losses = Net(), torch.randn(3, 8), []

    def step():
        losses.append(net(x).square().mean())

    report = measure_leak(step, calls=10)
    assert not report.ok
    holders = {leak.operation: leak.holders[0] for leak in report.leaks}
    assert holders["aten.mean.default"].startswith("losses[")
    assert "grad_fn(MeanBackward0).PowBackward0._saved_self" in holders["aten.addmm.default"]


def test_a_cache_of_results_is_seen_into():
    @functools.lru_cache
    def table(size):
        return torch.zeros(size)

    sizes = iter(range(1, 100))
    report = measure_leak(lambda: table(next(sizes)), calls=8)
    assert not report.ok
    assert report.leaks[0].holders[0].startswith("table.")


def test_what_no_name_leads_to_is_described_by_its_holders_kind():
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    taken = threading.Semaphore(0)

    def keep():
        kept = []
        while (item := inbox.get()) is not None:
            kept.append(item)
            del item
            taken.release()

    def step():
        inbox.put(torch.zeros(10))
        taken.acquire()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    lazy = nn.LazyLinear(2)
    try:
        report = measure_leak(step, calls=8)
    finally:
        inbox.put(None)
        keeper.join()
    assert lazy.has_uninitialized_params()
    assert not report.ok
    assert report.leaks[0].holders == ("a list of 11",)


def test_growth_that_ends_is_no_leak():
    cache: dict = {}
    number = iter(range(100))

    def step():
        at = next(number)
        if at < 8:
            cache[at] = torch.zeros(100)

    report = measure_leak(step, calls=20, warm_up=3)
    assert report.live[0] < report.live[-1]
    assert report.ok


def test_memory_that_goes_up_and_down_is_no_leak():
    kept: list = []
    number = iter(range(100))

    def step():
        kept[:] = [torch.zeros(10) for _ in range(next(number) % 3)]

    report = measure_leak(step, calls=21)
    assert report.low <= 0 <= report.high
    assert report.ok


def test_cyclic_garbage_is_no_leak():
    def step():
        box = [torch.zeros(10)]
        box.append(box)

    assert measure_leak(step, calls=6).live == (0,) * 6


def test_bound_methods_and_partials_are_looked_through():
    class Trainer:
        def __init__(self):
            self.seen = []

        def step(self, size):
            self.seen.append(torch.zeros(size))

    report = measure_leak(functools.partial(Trainer().step, 5), calls=6)
    assert report.leaks[0].holders[0].startswith("self.seen[")


def test_further_roots_are_named_as_given():
    hidden = type("Vault", (), {})()
    hidden.items = []
    report = measure_leak(functools.partial(hidden.items.append, None), calls=6)
    assert report.ok
    add = hidden.items.append

    class Call:
        def __call__(self):
            add(torch.zeros(3))

    report = measure_leak(Call(), calls=6, roots={"vault": hidden})
    assert report.leaks[0].holders[0].startswith("vault.items[")


@pytest.mark.usefixtures("unfrozen")
def test_the_collectors_frozen_list_is_left_as_it_was():
    assert gc.get_freeze_count() == 0
    measure_leak(lambda: None, calls=4)
    assert gc.get_freeze_count() == 0


def test_too_few_calls_are_refused():
    with pytest.raises(ConfigError, match="calls >= 4"):
        measure_leak(lambda: None, calls=3)


def test_the_report_gives_its_data():
    kept: list = []
    report = measure_leak(lambda: kept.append(torch.zeros(2)), calls=5)
    data = report.to_dict()
    assert data["ok"] is False
    assert data["leaks"][0]["nbytes"] == 40
    assert "<table>" in report._repr_html_()
