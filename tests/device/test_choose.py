"""Choosing a device: free memory decides, and an absent device is refused."""

import pytest
import torch

from lab.base import PlacementError
from lab.device import choose_device, require_device


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def three_gpus(monkeypatch):
    """Three CUDA devices with 2, 6 and 5 GiB free at the driver; the third holds 3 GiB of unused cache of ours."""
    free = {0: 2, 1: 6, 2: 5}
    cached = {0: 0, 1: 0, 2: 3}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index] * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: cached[index] * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.usefixtures("no_accelerator")
def test_without_an_accelerator_the_choice_is_the_cpu_with_its_reason():
    choice = choose_device()
    assert choice.device == torch.device("cpu")
    assert "no MPS" in choice.reason
    assert str(choice).startswith("cpu: ")


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("request_", ["auto", "cuda"])
def test_the_cuda_device_with_most_free_memory_wins_own_unused_cache_counted_as_free(request_):
    choice = choose_device(request_)
    assert choice.device == torch.device("cuda:2")
    assert choice.reason == "most free memory of 3 CUDA devices, 8.0 GiB free on GPU 2"


@pytest.mark.usefixtures("three_gpus")
def test_a_device_that_is_asked_for_is_taken_whatever_is_free():
    assert choose_device("cuda:0").device == torch.device("cuda:0")
    assert choose_device("cpu").device == torch.device("cpu")


@pytest.mark.usefixtures("three_gpus")
def test_a_cuda_index_beyond_the_machine_is_refused_with_the_indices_that_exist():
    with pytest.raises(PlacementError, match=r"expected one of cuda:0, cuda:1, cuda:2, got cuda:3"):
        choose_device("cuda:3")


def test_mps_is_second_best(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().device == torch.device("mps")


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("gpu", "expected a device: auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ("", "expected a device"),
        ("cuda", "got a machine without one. Choose one of auto, cpu"),
        ("cuda:1", "a CUDA device for 'cuda:1'"),
        ("mps", "expected a machine with MPS"),
        ("meta", "a device that holds data"),
    ],
)
def test_an_absent_or_unknown_device_is_refused_with_what_exists(request_, message):
    with pytest.raises(PlacementError, match=message):
        choose_device(request_)


@pytest.mark.usefixtures("three_gpus")
def test_a_cuda_device_without_index_gets_the_current_one():
    assert require_device("cuda") == torch.device("cuda:0")


@pytest.mark.gpu
def test_on_a_machine_with_cuda_the_choice_holds_tensors_there():
    choice = choose_device()
    assert choice.device.type == "cuda"
    assert torch.ones(1, device=choice.device).device == choice.device
