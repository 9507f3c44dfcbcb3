"""The list of devices that is made without torch, against what torch says."""

import ctypes
import subprocess
import sys

import pytest
import torch

from lab.device import driver


class Driver:
    """NVIDIA's driver library with `count` devices, or with the error `code` of its first call."""

    def __init__(self, count, code=0):
        self.count, self.code = count, code

    def cuInit(self, flags):
        return self.code

    def cuDeviceGetCount(self, place):
        ctypes.cast(place, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return 0


def test_it_lists_what_torch_can_use_here():
    expected = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    expected += ["mps"] if torch.backends.mps.is_available() else []
    assert list(driver.list_devices()) == expected
    assert driver.torch_has_cuda() == (torch.version.cuda is not None)


def test_it_counts_what_the_driver_offers(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(3))
    assert driver.count_cuda_devices() == 3
    monkeypatch.setattr(driver, "torch_has_cuda", lambda: True)
    assert driver.list_devices()[:4] == ("cpu", "cuda:0", "cuda:1", "cuda:2")


def test_a_torch_without_cuda_has_no_cuda_devices(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(3))
    monkeypatch.setattr(driver, "torch_has_cuda", lambda: False)
    assert not any(name.startswith("cuda") for name in driver.list_devices())


@pytest.mark.parametrize("library", [Driver(3, code=100), None])
def test_a_driver_that_does_not_start_or_is_missing_offers_none(monkeypatch, library):
    def load(name):
        if library is None:
            raise OSError(f"{name}: cannot open shared object file")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert driver.count_cuda_devices() == 0


def test_it_imports_no_torch():
    code = "import sys; from lab.device import list_devices; list_devices(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
