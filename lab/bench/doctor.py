"""What the doctor costs: steps of training under `explain_backward`, under torch's anomaly mode and under
`explain_training`, against bare ones; time of the processor, and memory of `explain_training`. With `peers`, what other
tools name of faulty programs instead.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import ReportTable
from lab.bench import doctor_peers
from lab.bench.settings import DoctorBench
from lab.device import measure_memory
from lab.doctor import explain_backward, explain_training
from lab.results import machine

Step = Callable[[], object]


def run(config: DoctorBench) -> dict[str, Any]:
    """Time the four kinds of run on three networks, alternating in one process on one thread; count findings.

    With `peers`, see `doctor_peers`.
    """
    if config.peers:
        return doctor_peers.run(config)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(config.seed)
        return {
            "bench": "doctor",
            "config": asdict(config),
            "machine": machine(),
            "results": {name: _measure(network, config) for name, network in _networks().items()},
        }
    finally:
        torch.set_num_threads(before)


def result_name(config: DoctorBench) -> str:
    """Name of the result's file: the speed and the comparison have one each."""
    return doctor_peers.NAME if config.peers else "doctor"


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each network; with `peers`, for each family of programs."""
    if result["bench"] == doctor_peers.NAME:
        return doctor_peers.summary(result)
    rows = tuple(
        (
            name,
            f"{figures['bare_seconds'] * 1e3:.1f} ms",
            *(_times(figures[kind]) for kind in ("watched", "anomaly", "training")),
            f"{figures['training_peak_ratio']:.2f}",
            str(figures["operations"]),
            str(figures["findings"]),
        )
        for name, figures in result["results"].items()
    )
    columns = (
        *("network", "bare step", "explain_backward, times", "anomaly mode, times", "explain_training, times"),
        *("its peak memory, times", "operations a step", "found"),
    )
    note = "times: median of the rounds' ratios and its 95 % interval"
    return ReportTable(title="doctor: cost of the watch", columns=columns, rows=rows, notes=(note,))


def _measure(network: "_Network", config: DoctorBench) -> dict[str, Any]:
    def steps() -> None:
        for _ in range(config.steps):
            network.step()

    def traced() -> None:
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            steps()

    def checked() -> None:
        for _ in range(config.steps):
            explain_training(network.model, network.step, network.optimizer)

    report = explain_backward(steps)
    training = explain_training(network.model, network.step, network.optimizer)
    kinds: dict[str, Step] = {
        "bare": steps,
        "watched": lambda: explain_backward(steps),
        "anomaly": traced,
        "training": checked,
    }
    times = [{name: _seconds(work) for name, work in kinds.items()} for _ in range(config.rounds)]
    bare, whole = _peak(network, network.step), _peak(network, lambda: _check(network))
    return {
        "bare_seconds": statistics.median(each["bare"] for each in times) / config.steps,
        **{name: _ratio([each[name] / each["bare"] for each in times]) for name in kinds if name != "bare"},
        "training_peak_ratio": whole / bare,
        "bare_peak_bytes": bare,
        "operations": report.operations // config.steps,
        "findings": len(report.findings) + len(training.findings),
        "method": report.method,
    }


def _check(network: "_Network") -> None:
    explain_training(network.model, network.step, network.optimizer)


def _peak(network: "_Network", work: Step) -> int:
    """Most bytes alive at once, those of the model, its gradients and its optimizer among them."""
    with measure_memory("cpu", roots=(network.model, network.optimizer), blame=False) as memory:
        work()
    return memory.peak


def _ratio(ratios: list[float]) -> dict[str, float]:
    """Median, and the 95 % interval of the median by order statistics."""
    ratios = sorted(ratios)
    outside = max(0, int(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    return {"ratio": statistics.median(ratios), "low": ratios[outside], "high": ratios[-1 - outside]}


def _times(figures: dict[str, float]) -> str:
    return f"{figures['ratio']:.2f} ({figures['low']:.2f} to {figures['high']:.2f})"


def _seconds(work: Step) -> float:
    """Processor time: other processes on the machine do not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _networks() -> dict[str, "_Network"]:
    """Name and training step of three networks of 20,000 to 1,100,000 weights."""
    mlp = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    blocks: list[nn.Module] = []
    for width in (3, 16, 32):
        after = 16 if width == 3 else 32
        blocks += [nn.Conv2d(width, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    cnn = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    encoder = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    transformer = nn.Sequential(nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False), nn.Linear(64, 10))
    return {
        "MLP, batch 64": _network(mlp, torch.randn(64, 256)),
        "CNN, batch 32, 32x32": _network(cnn, torch.randn(32, 3, 32, 32)),
        "transformer, batch 16, 32 tokens": _network(transformer, torch.randn(16, 32, 64)),
    }


@dataclass(frozen=True, kw_only=True)
class _Network:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Step


def _network(model: nn.Module, x: Tensor) -> _Network:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return _Network(model=model, optimizer=optimizer, step=step)
