"""When memory runs out, the same training step is done in parts, and nothing else has changed."""

import copy
import random
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from lab.base import ConfigError, DataError, TrainingError
from lab.device import OOMTransaction

CPU_TEXT = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 1073741824 bytes. Error code 12 (Cannot allocate memory)"
)


class Net(nn.Module):
    """Gives out at more than `fits` items, at the place in the step that `where` says."""

    def __init__(self, fits=10**6, where="forward", dtype=torch.float32):
        super().__init__()
        self.first = nn.Linear(6, 16, dtype=dtype)
        self.second = nn.Linear(16, 4, dtype=dtype)
        self.fits, self.where = fits, where
        self.seen: list[int] = []
        self.held: list[weakref.ref] = []
        self.alive_at_retry: list[bool] = []

    def forward(self, x):
        self.alive_at_retry.append(any(ref() is not None for ref in self.held))
        self.seen.append(len(x))
        hidden = torch.relu(self.first(x))
        pinned_by_the_frame = torch.zeros(1000)
        self.held.append(weakref.ref(pinned_by_the_frame))
        if len(x) > self.fits and self.where == "forward":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if len(x) > self.fits:
            hidden.register_hook(self.give_out)
        return self.second(hidden)

    @staticmethod
    def give_out(gradient):
        raise RuntimeError(CPU_TEXT)


def data(items, dtype=torch.float32):
    return torch.randn(items, 6, dtype=dtype), torch.randint(0, 4, (items,))


def loss_of(net):
    return lambda batch: nn.functional.cross_entropy(net(batch[0]), batch[1])


def gradients(net, batch):
    twin = copy.deepcopy(net)
    twin.fits = 10**6
    loss_of(twin)(batch).backward()
    return [parameter.grad for parameter in twin.parameters()]


def difference(net, wanted):
    """Largest difference from the whole batch's gradient, over the gradient's largest entry."""
    pairs = zip(net.parameters(), wanted, strict=True)
    return max(float((parameter.grad - want).abs().max() / want.abs().max()) for parameter, want in pairs)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize(("items", "fits", "micro"), [(8, 4, 4), (8, 3, 2), (11, 3, 3), (7, 1, 1), (5, 4, 3)])
def test_a_batch_that_does_not_fit_gives_the_whole_batchs_gradient_in_parts(items, fits, micro, where):
    torch.manual_seed(items)
    net, batch = Net(fits, where), data(items)
    wanted = gradients(net, batch)
    report = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0)).step(loss_of(net), batch)
    assert (report.batch, report.micro_batch) == (items, micro)
    assert report.ooms >= 1
    assert difference(net, wanted) <= 1e-6
    assert report.loss == pytest.approx(loss_of(copy_fitting(net))(batch).item(), rel=1e-5)


def copy_fitting(net):
    twin = copy.deepcopy(net)
    twin.fits = 10**6
    return twin


def test_in_double_precision_the_gradients_are_equal_to_the_last_digits():
    net, batch = Net(3, dtype=torch.float64), data(11, torch.float64)
    wanted = gradients(net, batch)
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0)).step(loss_of(net), batch)
    assert difference(net, wanted) <= 1e-14


def test_parts_are_weighted_by_their_valid_items_where_some_do_not_count():
    torch.manual_seed(1)
    net, (x, labels) = Net(3), data(11)
    labels[[0, 1, 2, 4, 9]] = -100

    def loss_fn(batch):
        return nn.functional.cross_entropy(net(batch[0]), batch[1], ignore_index=-100)

    wanted = gradients(net, (x, labels))
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0))
    report = transaction.step(loss_fn, (x, labels), count=lambda part: int((part[1] != -100).sum()))
    assert difference(net, wanted) <= 1e-6
    twin = copy_fitting(net)
    whole = nn.functional.cross_entropy(twin(x), labels, ignore_index=-100).item()
    assert report.loss == pytest.approx(whole, rel=1e-5), "the first part has no valid item, whose mean would be NaN"
    transaction.step(loss_fn, (x[3:], labels[3:]))
    assert difference(net, gradients(net, (x[3:], labels[3:]))) > 1e-3


def test_the_failed_steps_tensors_are_dead_before_the_retry():
    net = Net(2)
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_of(net), data(8))
    assert net.seen == [8, 4, 2, 2, 2, 2]
    assert not any(net.alive_at_retry)


def test_they_are_dead_even_where_somebody_keeps_the_exception():
    net, kept = Net(4), []

    def loss_fn(batch):
        try:
            return loss_of(net)(batch)
        except torch.OutOfMemoryError as error:
            kept.append(error)
            raise

    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_fn, data(8))
    assert len(kept) == 1
    assert not any(net.alive_at_retry)


def test_a_retry_inside_the_except_clause_still_holds_them():
    """The documented way: free and retry inside the clause, where the exception's frames pin the tensors."""
    net, batch = Net(4), data(8)
    try:
        loss_of(net)(batch)
    except torch.OutOfMemoryError:
        loss_of(net)((batch[0][:4], batch[1][:4]))
    assert net.alive_at_retry == [False, True]


def test_gradients_of_a_failed_part_do_not_count_twice():
    """Backward gives out when the last layer has its gradient already."""
    torch.manual_seed(2)
    net, batch = Net(4, "backward"), data(8)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        loss_of(net)(batch).backward()
    assert net.second.weight.grad is not None
    assert net.first.weight.grad is None
    wanted = gradients(net, batch)
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0)).step(loss_of(net), batch)
    assert difference(net, wanted) <= 1e-6


def test_the_update_is_made_once_with_the_effective_batch():
    torch.manual_seed(3)
    net, batch = Net(3), data(8)
    twin = copy_fitting(net)
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_of(net), batch)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    loss_of(twin)(batch).backward()
    optimizer.step()
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-7)


def test_the_next_step_goes_back_to_the_whole_batch():
    net = Net(4)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert transaction.step(loss_of(net), data(8)).micro_batch == 4
    net.fits = 8
    report = transaction.step(loss_of(net), data(8))
    assert (report.micro_batch, report.ooms, report.kept) == (8, 0, False)


def test_after_three_steps_out_of_memory_the_size_is_kept_and_later_tried_again():
    net = Net(4)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1), retry_every=4)
    reports = [transaction.step(loss_of(net), data(8)) for _ in range(7)]
    assert [report.ooms for report in reports] == [1, 1, 1, 0, 0, 0, 0]
    assert [report.kept for report in reports] == [False, False, True, True, True, True, True]
    assert {report.micro_batch for report in reports} == {4}
    assert transaction.micro_batch == 4
    assert transaction.step(loss_of(net), data(8)).ooms == 1
    net.fits = 8
    for _ in range(4):
        assert transaction.step(loss_of(net), data(8)).micro_batch == 4
    assert transaction.step(loss_of(net), data(8)).micro_batch == 8
    assert transaction.micro_batch is None


class Stateful(nn.Module):
    def __init__(self, fits):
        super().__init__()
        self.net, self.norm, self.fits = nn.Linear(6, 4), nn.BatchNorm1d(6), fits

    def forward(self, x):
        out = nn.functional.dropout(self.net(self.norm(x)), 0.5)
        random.random()
        np.random.rand()
        if len(x) > self.fits:
            raise MemoryError
        return out


def state(net):
    return [
        *(buffer.clone() for buffer in net.buffers()),
        torch.get_rng_state(),
        torch.tensor([random.getstate()[1][-1], np.random.get_state()[2]]),
        *(parameter.detach().clone() for parameter in net.parameters()),
    ]


def test_three_failures_at_the_smallest_size_end_with_an_error_and_no_change():
    net = Stateful(0)
    before = state(net)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1), min_micro_batch=2)
    with pytest.raises(TrainingError, match=r"three times none for 2 of 8 items \(MemoryError\)"):
        transaction.step(loss_of(net), data_then(before, 8))
    assert all(torch.equal(now, then) for now, then in zip(state(net), before, strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())


def data_then(before, items):
    """A batch, without a draw from the stream that `before` holds."""
    stream = torch.Generator().manual_seed(0)
    return torch.randn(items, 6, generator=stream), torch.randint(0, 4, (items,), generator=stream)


def test_random_streams_and_statistics_are_as_if_the_failed_attempt_had_not_been():
    net, batch = Stateful(4), data_then(None, 8)
    twin = copy.deepcopy(net)
    twin.fits = 8
    torch.manual_seed(5)
    for half in (slice(0, 4), slice(4, 8)):
        loss_of(twin)((batch[0][half], batch[1][half]))
    after = torch.get_rng_state()
    torch.manual_seed(5)
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0)).step(loss_of(net), batch)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(net.norm.running_mean, twin.norm.running_mean)
    assert int(net.norm.num_batches_tracked) == 2


def test_the_smallest_size_is_respected():
    net = Net(1)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1), min_micro_batch=3)
    with pytest.raises(TrainingError, match="three times none for 4 of 8 items"):
        transaction.step(loss_of(net), data(8))
    assert net.seen == [8, 4, 4, 4, 4]


def test_no_part_is_shorter_than_the_smallest_size_which_batch_norm_needs():
    net = Stateful(3)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0), min_micro_batch=2)
    report = transaction.step(loss_of(net), data(9))
    assert report.micro_batch == 3
    net.fits = 2
    with pytest.raises(TrainingError, match="three times none for 3 of 9 items"):
        transaction.step(loss_of(net), data(9))
    assert torch.isfinite(net.norm.running_var).all()


def test_other_errors_pass_and_leave_no_partial_gradients():
    net = Net()

    def loss_fn(batch):
        loss_of(net)(batch).backward()
        raise RuntimeError("the replay buffer is out of memory slots")

    with pytest.raises(RuntimeError, match="replay buffer"):
        OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_fn, data(8))
    assert len(net.seen) == 1
    assert all(parameter.grad is None for parameter in net.parameters())


def test_memory_that_runs_out_in_the_update_is_not_retried():
    net = Net()

    def update():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(TrainingError, match="memory for the optimizer's step, found none, with weights half updated"):
        OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_of(net), data(8), update=update)
    assert net.seen == [8]


def test_other_errors_of_the_update_pass():
    net = Net()

    def update():
        raise RuntimeError("no memory of such a parameter")

    with pytest.raises(RuntimeError, match="no memory of such a parameter"):
        OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_of(net), data(8), update=update)


def test_an_update_of_ones_own_takes_the_place_of_the_optimizers_step():
    net, calls = Net(), []
    before = net.first.weight.detach().clone()
    OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(
        loss_of(net), data(8), update=lambda: calls.append(net.first.weight.grad is not None)
    )
    assert calls == [True]
    assert torch.equal(net.first.weight, before)


def test_a_batch_that_cannot_be_cut_goes_through_at_once_or_is_refused():
    net = Net(8)
    transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1))

    def loss_fn(batch):
        return net(batch[0]).mean()

    report = transaction.step(loss_fn, (torch.randn(8, 6), torch.randn(3)))
    assert (report.batch, report.micro_batch) == (None, None)
    net.fits = 4
    with pytest.raises(DataError, match="first dimensions 3, 8"):
        transaction.step(loss_fn, (torch.randn(8, 6), torch.randn(3)))


def test_wrong_settings_and_losses_are_refused():
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="min_micro_batch >= 1"):
        OOMTransaction(net, optimizer, 0)
    with pytest.raises(ConfigError, match="retry_every >= 1"):
        OOMTransaction(net, optimizer, retry_every=0)
    with pytest.raises(TrainingError, match=r"one mean loss, got a tensor of shape \(8, 4\)"):
        OOMTransaction(net, optimizer).step(lambda batch: net(batch[0]), data(8))


def test_the_report_prints_and_gives_its_data():
    net = Net(4)
    report = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(loss_of(net), data(8))
    assert "Step over 8 items, 4 at a time" in str(report)
    assert report.to_dict()["ooms"] == 1
