"""What a watch costs: steps of training under `explain_backward`, and under torch's anomaly mode, against bare ones."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import ReportTable
from lab.bench.settings import DoctorBench
from lab.doctor import explain_backward
from lab.results import machine

Step = Callable[[], object]


def run(config: DoctorBench) -> dict[str, Any]:
    """Time the three kinds of run on three networks, alternating in one process on one thread; count findings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(config.seed)
        return {
            "bench": "doctor",
            "config": asdict(config),
            "machine": machine(),
            "results": {name: _measure(step, config) for name, step in _networks().items()},
        }
    finally:
        torch.set_num_threads(before)


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each network."""
    rows = tuple(
        (
            name,
            f"{figures['bare_seconds'] * 1e3:.1f} ms",
            f"{figures['watched_ratio']:.2f}",
            f"{figures['anomaly_ratio']:.2f}",
            str(figures["operations"]),
            str(figures["findings"]),
        )
        for name, figures in result["results"].items()
    )
    columns = ("network", "bare step", "watched, times", "anomaly mode, times", "operations a step", "found")
    return ReportTable(title="explain_backward: cost of the watch", columns=columns, rows=rows)


def _measure(step: Step, config: DoctorBench) -> dict[str, Any]:
    def steps() -> None:
        for _ in range(config.steps):
            step()

    def traced() -> None:
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            steps()

    report = explain_backward(steps)
    times = [
        (_seconds(steps), _seconds(lambda: explain_backward(steps)), _seconds(traced)) for _ in range(config.rounds)
    ]
    bare, watched, anomaly = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "bare_seconds": bare / config.steps,
        "watched_ratio": watched / bare,
        "anomaly_ratio": anomaly / bare,
        "operations": report.operations // config.steps,
        "findings": len(report.findings),
        "method": report.method,
    }


def _seconds(work: Step) -> float:
    """Processor time: other processes on the machine do not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _networks() -> dict[str, Step]:
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
        "MLP, batch 64": _step(mlp, torch.randn(64, 256)),
        "CNN, batch 32, 32x32": _step(cnn, torch.randn(32, 3, 32, 32)),
        "transformer, batch 16, 32 tokens": _step(transformer, torch.randn(16, 32, 64)),
    }


def _step(model: nn.Module, x: Tensor) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step
