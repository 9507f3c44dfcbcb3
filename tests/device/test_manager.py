"""One device, its models and their memory; a switch of models lets the old one die."""

import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils.data import DataLoader, TensorDataset

from lab.base import ConfigError, MaterializeError, PlacementError
from lab.device import DeviceManager, measure_leak, tensor_bytes
from lab.device.footprint import storage_bytes


@pytest.fixture
def manager():
    return DeviceManager("cpu")


def net(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


def train(model, optimizer):
    optimizer.zero_grad()
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()


def test_the_device_is_chosen_with_its_reason():
    manager = DeviceManager()
    assert manager.device == manager.choice.device
    with pytest.raises(PlacementError, match="Choose one of"):
        DeviceManager("cuda:99")


def test_models_are_registered_on_the_device_and_held_weakly(manager):
    model = net()
    assert manager.register_model("search_model", model) is model
    assert manager.models == {"search_model": model}
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    assert manager.models == {}


def test_a_model_with_meta_tensors_is_not_registered(manager):
    with pytest.raises(MaterializeError, match="2 meta tensors: weight, bias"):
        manager.register_model("m", nn.Linear(2, 2, device="meta"))
    assert manager.models == {}


def test_data_and_loaders_go_to_the_device(manager):
    assert manager.to_device({"x": torch.ones(1)})["x"].device == manager.device
    loader = manager.create_data_loader_wrapper(DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2))
    assert [batch[0].device for batch in loader] == [manager.device] * 2


def test_optimize_memory_frees_what_only_cycles_hold_and_counts_it(manager):
    # What earlier tests left behind may take more than one round to be gone.
    for _ in range(4):
        gc.collect()
    gc.disable()
    try:
        box = [torch.zeros(250_000)]
        box.append(box)
        del box
        kept = torch.ones(10)
        report = manager.optimize_memory()
    finally:
        gc.enable()
    assert report.before - report.after == 1_000_000
    assert report.before == report.peak > 0
    assert kept.sum() == 10
    assert "storages of the tensors that Python sees" in str(report)


def test_after_a_switch_an_old_weight_is_dead_once_the_caller_lets_go(manager):
    model = manager.register_model("live", net())
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    references = [weakref.ref(parameter) for parameter in model.parameters()]
    model = manager.context_switch_model(model, net(16), optimizer)
    assert [reference() for reference in references] == [None] * 4
    assert manager.models == {"live": model}


def test_without_the_optimizer_the_documented_switch_keeps_old_weights_and_state(manager):
    """The documented switch frees caches and knows of no optimizer: its groups and moments keep 3 times the weights."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    references = [weakref.ref(parameter) for parameter in model.parameters()]
    model = manager.context_switch_model(model, net(16))
    gc.collect()
    assert all(reference() is not None for reference in references)
    assert tensor_bytes(optimizer) > 3 * 4 * sum(p.numel() for p in net().parameters())


def test_the_optimizer_trains_the_new_model_with_empty_state_in_the_same_groups(manager):
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    train(model, optimizer)
    group = optimizer.param_groups[0]
    new = manager.context_switch_model(model, net(16), optimizer)
    assert optimizer.param_groups[0] is group
    assert [id(p) for p in group["params"]] == [id(p) for p in new.parameters()]
    assert len(optimizer.state) == 0
    before = [parameter.detach().clone() for parameter in new.parameters()]
    train(new, optimizer)
    scheduler.step()
    assert group["lr"] == 0.005
    changed = [not torch.equal(now, then) for now, then in zip(new.parameters(), before, strict=True)]
    assert changed[2:] == [True, True]


def test_new_parameters_join_the_group_of_their_name_and_foreign_ones_stay(manager):
    model, new = net(), net(16)
    alpha = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD(
        [{"params": [model[0].weight, model[2].weight, alpha]}, {"params": [model[0].bias, model[2].bias], "lr": 0.5}],
        lr=0.1,
        momentum=0.9,
    )
    alpha.grad = torch.ones(3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    manager.context_switch_model(model, new, optimizer)
    first, second = (group["params"] for group in optimizer.param_groups)
    assert [id(p) for p in first] == [id(alpha), id(new[0].weight), id(new[2].weight)]
    assert [id(p) for p in second] == [id(new[0].bias), id(new[2].bias)]
    assert list(optimizer.state) == [alpha]
    wider = nn.Sequential(*net(16), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"2 new parameters in none of 2: 3\.weight, 3\.bias"):
        manager.context_switch_model(new, wider, optimizer)
    assert [id(p) for p in first] == [id(alpha), id(new[0].weight), id(new[2].weight)]


def test_frozen_new_parameters_without_a_name_in_the_optimizer_stay_out_of_it(manager):
    model, new = net(), nn.Sequential(*net(), nn.Linear(2, 2))
    new[3].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    manager.context_switch_model(model, new, optimizer)
    assert len(optimizer.param_groups[0]["params"]) == 4


def test_wrong_switches_are_refused_and_change_nothing(manager):
    model = net()
    optimizer = torch.optim.SGD(net().parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="the same one twice"):
        manager.context_switch_model(model, model)
    with pytest.raises(ConfigError, match="one with none of its parameters"):
        manager.context_switch_model(model, net(), optimizer)
    mine = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(MaterializeError, match="meta tensors"):
        manager.context_switch_model(model, nn.Sequential(nn.Linear(4, 8, device="meta")), mine)
    assert [id(p) for p in mine.param_groups[0]["params"]] == [id(p) for p in model.parameters()]


def test_a_thousand_switches_have_slope_zero(manager):
    held = {"model": manager.register_model("live", net())}
    optimizer = torch.optim.Adam(held["model"].parameters())

    def switch():
        train(held["model"], optimizer)
        held["model"] = manager.context_switch_model(held["model"], net(), optimizer)

    report = measure_leak(switch, calls=1000, warm_up=3)
    assert len(report.live) == 1000
    assert (report.slope, report.low, report.high) == (0.0, 0.0, 0.0)
    assert set(report.live) == {tensor_bytes(held["model"])}


def test_states_are_transferred_with_a_full_report(manager):
    report = manager.transfer_model_state(net(4), net(8))
    assert report.outcomes == {"0.weight": "sliced", "0.bias": "sliced", "2.weight": "sliced", "2.bias": "copied"}


def test_the_statistics_are_numbers_and_texts_and_count_the_models(manager):
    a, b = manager.register_model("a", net()), manager.register_model("b", net(16))
    stats = manager.get_memory_stats()
    assert stats["model_bytes.a"] == tensor_bytes(a)
    assert stats["models_bytes"] == tensor_bytes([a, b]) > 0
    assert stats["device"] == "cpu"
    assert stats["process_bytes"] > 1e6
    assert 0 < stats["free_bytes"] <= stats["total_bytes"]
    assert all(isinstance(value, float | str) for value in stats.values())


def test_a_memory_fraction_outside_its_range_is_refused_and_on_the_cpu_it_warns():
    for fraction in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="memory_fraction > 0 and <= 1"):
            DeviceManager("cpu", memory_fraction=fraction)
    with pytest.warns(UserWarning, match=r"memory_fraction = 0\.95 has no effect on cpu"):
        DeviceManager("cpu", memory_fraction=0.95)


def test_on_cuda_the_fraction_goes_to_the_allocator(monkeypatch):
    set_to = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *arguments: set_to.append(arguments))
    DeviceManager("cuda:1", memory_fraction=0.5)
    assert set_to == [(0.5, torch.device("cuda:1"))]


def test_managers_are_independent_objects():
    first, second = DeviceManager("cpu"), DeviceManager("cpu")
    model = first.register_model("m", net())
    assert second.models == {}
    assert pickle.loads(pickle.dumps(first.choice)) == first.choice
    assert first.models == {"m": model}


@pytest.mark.gpu
def test_on_cuda_the_statistics_are_the_allocators_and_a_switch_gives_memory_back():
    manager = DeviceManager("cuda")
    model = manager.register_model("live", nn.Linear(1000, 1000))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 1000, device=manager.device)).sum().backward()
    optimizer.step()
    before = manager.get_memory_stats()["allocated_bytes"]
    model = manager.context_switch_model(model, nn.Linear(10, 10), optimizer)
    report = manager.optimize_memory()
    assert before - manager.get_memory_stats()["allocated_bytes"] > 3 * 4_000_000
    assert report.instrument == "statistics of the CUDA allocator"
    assert model.weight.is_cuda


def test_stand_ins_of_a_trace_take_no_bytes(manager):
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        fake = mode.from_tensor(torch.zeros(250_000))
        inside = torch.zeros(250_000)
    assert storage_bytes([fake, inside]) == 0
    str(manager.optimize_memory())
