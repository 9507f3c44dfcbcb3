"""Running out of memory as allocators say it, and under a real limit of the address space."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lab.device import OOMTransaction, is_oom

CPU_TEXT = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 1073741824 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((10,), np.dtype("float64")),
        RuntimeError(CPU_TEXT),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] . DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_allocators_that_have_no_more_are_recognised(error):
    assert is_oom(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the replay buffer is out of memory slots"),
        RuntimeError("Out of memory"),
        RuntimeError("worker said: CUDA out of memory. Tried to allocate nothing"),
        ValueError(CPU_TEXT),
        RuntimeError("Storage size calculation overflowed with sizes=[9223372036854775807]"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_errors_that_merely_say_so_are_not(error):
    assert not is_oom(error)


def test_the_overflow_of_a_size_is_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, 4)
    assert not is_oom(caught.value)


LIMITED = """
import ctypes, json, resource, psutil, torch
from torch import nn
from lab.base import TrainingError
from lab.device import OOMTransaction

# Every block of 1 MB or more goes back to the system when it is freed. By itself glibc raises that bound to 32 MB and
# keeps up to twice as much: a step of small blocks then needs no new address space, and the limit is not met.
ctypes.CDLL(None).mallopt(-3, 2**20)  # M_MMAP_THRESHOLD
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = True
torch.manual_seed(0)

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.linear = nn.Parameter(torch.randn(2_000_000) * 0.1), nn.Linear(8, 1)

    def forward(self, x):
        return torch.tanh(self.linear(x) * self.scale).mean(1)  # 8 MB an item in each operation

net, x, y = Wide(), torch.randn(11, 8), torch.randn(11)
loss_fn = lambda batch: ((net(batch[0]) - batch[1]) ** 2).mean()
loss_fn((x, y)).backward()
wanted = [parameter.grad.clone() for parameter in net.parameters()]
net.zero_grad()
transaction = OOMTransaction(net, torch.optim.SGD(net.parameters(), lr=0.0))
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
found = []
for megabytes in (1000, 150, 1000, 4, 1000):
    space = psutil.Process().memory_info().vms + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (space, hard))
    try:
        report = transaction.step(loss_fn, (x, y))
        pairs = zip(net.parameters(), wanted)
        off = max(float((p.grad - want).abs().max() / want.abs().max()) for p, want in pairs)
        nan = any(bool(torch.isnan(p.grad).any()) for p in net.parameters())
        found.append([megabytes, report.micro_batch, report.ooms, off, nan, report.text])
    except TrainingError as error:
        found.append([megabytes, str(error)])
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space of a process can be limited on Linux")
def test_under_a_real_limit_of_the_address_space_the_step_goes_through_in_parts(run_code):
    status, output = run_code(LIMITED)
    assert status == 0, output[-2000:]
    whole, parts, again, failed, after = json.loads(output.splitlines()[-1])
    assert whole[1:3] == again[1:3] == after[1:3] == [11, 0]
    assert parts[1] < 11
    assert parts[2] > 0
    assert "DefaultCPUAllocator: can't allocate memory" in parts[5]
    for step in (whole, parts, again, after):
        assert step[3] <= 1e-6
        assert step[4] is False
    assert failed[1].startswith("expected memory for the smallest micro-batch, got three times none for 1 of 11 items")


@pytest.mark.gpu
def test_on_cuda_a_batch_beyond_the_devices_memory_goes_through_in_parts():
    free, _ = torch.cuda.mem_get_info()
    width = free // (16 * 4)
    scale = nn.Parameter(torch.full((width,), 0.1, device="cuda"))
    net = nn.ParameterList([scale])
    x = torch.randn(11, 1, device="cuda")
    transaction = OOMTransaction(net, torch.optim.SGD([scale], lr=0.0))
    report = transaction.step(lambda batch: torch.tanh(batch * scale).mean(), x)
    assert report.ooms > 0
    assert torch.isfinite(scale.grad).all()
