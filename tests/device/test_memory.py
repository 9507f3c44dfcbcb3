"""Bytes of a block of code: against counts by hand, between both instruments, and what is not counted."""

import gc
import itertools
import json
import linecache
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.profiler import profile

from lab.base import ConfigError, PlacementError, TrainingError
from lab.device import measure_memory, tensor_bytes

FLOAT = 4
B = 64


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def linear():
    net, x = nn.Linear(100, 50), torch.randn(B, 100)

    def run():
        with torch.no_grad():
            return net(x)

    return net, run, B * 50 * FLOAT, 0


def chain():
    """Without gradients only a layer's input and output are alive at once."""
    widths = [100, 700, 50, 900]
    net, x = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths))), torch.randn(B, 100)

    def run():
        with torch.no_grad():
            return net(x)

    return net, run, B * (50 + 900) * FLOAT, 0


def perceptron():
    """The peak is when the first weight's gradient is made: all gradients, the ReLU's, the output, loss and its 1."""
    net = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 10))
    x = torch.randn(B, 256)

    def run():
        output = net(x)
        output.sum().backward()
        return output

    gradients = sum(parameter.numel() for parameter in net.parameters())
    return net, run, (gradients + B * 1024 + B * 10 + 1 + 1) * FLOAT, 0


def embedding():
    """Alive when the table's gradient is made: rows (the caller keeps them), the loss, its 1, and inside the operation
    the rows' gradient, which is laid out there."""
    net, ids = nn.Embedding(300, 16), torch.arange(B)

    def run():
        rows = net(ids)
        rows.sum().backward()
        return rows

    return net, run, (300 * 16 + 2 * B * 16 + 1 + 1) * FLOAT, B * 16 * FLOAT


def norm():
    """The layer's output with the mean and the reciprocal deviation of each row."""
    net, x = nn.LayerNorm(128), torch.randn(B, 128)

    def run():
        return net(x)

    return net, run, (B * 128 + 2 * B) * FLOAT, 0


@pytest.mark.parametrize("build", [linear, chain, perceptron, embedding, norm])
def test_the_peak_equals_the_count_by_hand_and_both_instruments_agree(build):
    net, run, by_hand, inside = build()
    before = tensor_bytes(net)
    with measure_memory("cpu", [net]) as report:
        kept = run()
    assert report.before == before
    assert report.allocated_peak == by_hand
    assert report.peak == before + by_hand
    assert report.dispatch_peak == by_hand - inside
    assert report.gap == inside
    gradients = sum(p.grad.nbytes for p in net.parameters() if p.grad is not None)
    saved = 2 * B * FLOAT if build is norm else 0
    assert report.after == before + kept.nbytes + gradients + saved


def convolution():
    net, x = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()), torch.randn(8, 3, 16, 16)
    return net, lambda: net(x).sum().backward()


def recurrent():
    net, x = nn.LSTM(32, 64, batch_first=True), torch.randn(8, 16, 32)
    return net, lambda: net(x)[0].sum().backward()


@pytest.mark.parametrize("build", [convolution, recurrent])
def test_where_operations_have_temporaries_both_numbers_and_the_gap_are_printed(build):
    net, run = build()
    with measure_memory("cpu", [net]) as report:
        run()
    assert 0 < report.dispatch_peak < report.allocated_peak
    assert report.gap == report.allocated_peak - report.dispatch_peak
    text = str(report)
    assert f"{report.allocated_peak:,}" in text
    assert f"{report.dispatch_peak:,}" in text
    assert f"gap             {report.gap:,} ({report.gap / report.allocated_peak:.1%})" in text


def test_the_line_that_allocated_most_comes_first():
    with measure_memory() as report:
        small = torch.zeros(10)
        large = torch.zeros(1000)
    assert small.nbytes + large.nbytes == report.allocated_peak
    lines = list(report.by_line.items())
    assert [size for _, size in lines] == [4000, 40]
    number = int(lines[0][0].split(":")[1].split(" ")[0])
    with open(__file__, encoding="utf-8") as source:
        assert "large = torch.zeros(1000)" in source.readlines()[number - 1]


def test_tensors_from_python_numbers_count_in_both_instruments():
    with measure_memory() as report:
        kept = torch.tensor([1.0, 2.0, 3.0])
    assert kept.nbytes == report.allocated_peak == report.dispatch_peak == 12


def test_what_was_there_and_is_freed_inside_is_counted():
    old = torch.zeros(1_000_000)
    with measure_memory("cpu", [old]) as report:
        del old
        new = torch.zeros(500_000)
    assert (report.before, report.peak, report.after) == (4_000_000, 4_000_000, 2_000_000)
    assert new.nbytes == report.allocated_peak


def test_the_order_of_free_and_allocation_decides_the_peak():
    old = torch.zeros(1_000_000)
    with measure_memory("cpu", [old]) as report:
        new = torch.zeros(500_000)
        del old
    assert (report.peak, report.after) == (6_000_000, new.nbytes)


def test_without_roots_everything_that_python_sees_is_there_before():
    gc.collect()
    old = torch.zeros(250_000)
    with measure_memory() as report:
        del old
    assert report.before >= 1_000_000
    assert report.after == report.before - 1_000_000


def test_a_tensor_freed_by_another_thread_counts_as_freed_at_the_end():
    held = [torch.zeros(1000)]
    with measure_memory("cpu", list(held)) as report:
        worker = threading.Thread(target=held.clear)
        worker.start()
        worker.join()
    assert (report.before, report.after) == (4000, 0)


STALE = """
import json, torch
from torch.autograd.profiler import profile
from lab.device import measure_memory

torch.set_num_threads(1)
for _ in range(50):
    with measure_memory("cpu", [torch.zeros(1)]):
        kept = torch.zeros(40_000)
    del kept
    old = torch.zeros(39_999)
    with profile(profile_memory=True, use_kineto=True) as session:
        del old
    wrong = [event.nbytes() for event in session.kineto_results.events() if event.name() == "[memory]"]
    if wrong:
        break
with measure_memory("cpu", [torch.zeros(1)]):
    kept = torch.zeros(40_000)
del kept
olds = [torch.zeros(39_999) for _ in range(8)]
with measure_memory("cpu", olds) as report:
    olds.clear()
print(json.dumps([wrong, report.peak, report.after]))
"""


def test_addresses_that_an_earlier_session_left_in_the_allocators_table_do_not_count():
    """Freed outside a session, an address stays in the table with the size of then; reused, its free has that size.

    In a process of its own, whose heap no other test has shaped.
    """
    done = subprocess.run([sys.executable, "-c", STALE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    wrong, peak, after = json.loads(done.stdout.splitlines()[-1])
    assert wrong == [-160_000], "the freed tensor had 159,996 bytes"
    assert (peak, after) == (8 * 159_996, 0)


def test_other_threads_and_numpy_are_not_counted_and_named():
    kept = []
    with measure_memory() as report:
        worker = threading.Thread(target=lambda: kept.append(torch.zeros(1000)))
        worker.start()
        worker.join()
        kept.append(np.zeros(1000))
    assert report.allocated_peak == 0
    assert "not counted: other threads, numpy's own arrays" in str(report)


def test_a_leaf_of_work_is_never_zero_bytes():
    with measure_memory(blame=False) as report:
        torch.zeros(3)
    assert report.allocated_peak == 12
    assert report.dispatch_peak is None
    assert report.gap is None


def test_inside_another_profiler_session_it_is_refused():
    with (
        profile(use_kineto=True),
        pytest.raises(ConfigError, match="no other profiler session in this thread"),
        measure_memory(),
    ):
        pass


def test_the_report_cannot_be_read_before_the_block_has_ended():
    with measure_memory() as report, pytest.raises(TrainingError, match="a read of peak inside it. Read it after"):
        report.peak
    assert report.peak >= report.before


def test_a_block_that_fails_still_has_its_report():
    def run():
        kept = torch.zeros(100)
        raise KeyError(kept.shape)

    with pytest.raises(KeyError), measure_memory() as report:
        run()
    assert report.allocated_peak == 400


def test_an_absent_device_is_refused():
    with pytest.raises(PlacementError, match="a device that holds data"), measure_memory("meta"):
        pass


def test_measuring_changes_no_result():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)), torch.randn(4, 8)
    torch.manual_seed(1)
    plain = net(x)
    torch.manual_seed(1)
    with measure_memory():
        measured = net(x)
    assert torch.equal(plain, measured)
    assert torch.isfinite(measured).all()


def test_the_report_gives_its_data():
    with measure_memory() as report:
        torch.zeros(3)
    data = report.to_dict()
    assert (data["allocated_peak"], data["gap"], data["device"]) == (12, 0, "cpu")
    assert "<table>" in report._repr_html_()


@pytest.mark.gpu
def test_on_cuda_the_allocators_statistics_give_the_number():
    with measure_memory("cuda") as report:
        kept = torch.zeros(1_000_000, device="cuda")
        dropped = torch.zeros(1_000_000, device="cuda")
        del dropped
    assert report.instrument == "statistics of the CUDA allocator"
    assert report.allocated_peak >= 8_000_000
    assert report.after - report.before >= kept.nbytes
    assert report.after < report.peak


def test_a_line_of_a_notebook_is_told_with_its_text_and_two_cells_are_added(monkeypatch):
    source = "kept.append(torch.zeros(1000))\n"
    names = {"torch": torch, "kept": []}
    with measure_memory() as report:
        for number in (1, 2):
            cell = f"/temporary/ipykernel_4321/{number}.py"
            monkeypatch.setitem(linecache.cache, cell, (len(source), None, [source], cell))
            exec(compile(source, cell, "exec"), names)
    assert report.by_line == {f"notebook cell:1 in <module>: {source.strip()}": 8000}


def test_a_line_of_a_file_is_told_with_its_path_and_its_text():
    with measure_memory() as report:
        kept = torch.zeros(1000)
    assert kept.nbytes == 4000
    (line,) = report.by_line
    assert line.startswith(f"{__file__}:")
    assert line.endswith(": kept = torch.zeros(1000)")
