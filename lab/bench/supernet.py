"""How much faster a supernet step is when it runs the chosen primitives alone: hard sample against full mixture."""

import statistics
import time
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from lab.base import ReportTable
from lab.bench.settings import SupernetBench
from lab.explore import GumbelExplorer
from lab.nn import SuperNet
from lab.results import machine
from lab.space import NB201


def run(config: SupernetBench) -> dict[str, Any]:
    """Time forward, backward and optimizer step of both kinds in one process, alternating."""
    torch.manual_seed(config.seed)
    net = SuperNet(NB201, config.channels, config.layers, 10)
    explorer = GumbelExplorer(NB201, 1.0, seed=config.seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9)
    x_BCHW = torch.randn(config.batch, 3, config.size, config.size)
    y_B = torch.randint(0, 10, (config.batch,))

    def step(hard: bool) -> float:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        explorer.alpha.grad = None
        nn.functional.cross_entropy(net(x_BCHW, explorer.sample(hard=hard)), y_B).backward()
        optimizer.step()
        return time.perf_counter() - began

    # Not counted: the first step of each kind also allocates what later ones reuse.
    step(True), step(False)
    pairs = [(step(True), step(False)) for _ in range(config.rounds)]
    hard, full = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "bench": "supernet",
        "config": asdict(config),
        "machine": machine(),
        "results": {"hard_seconds": hard, "mixture_seconds": full, "ratio": full / hard, "aim": 3.5},
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """The result in one row."""
    figures = result["results"]
    row = (
        f"{figures['hard_seconds'] * 1e3:.1f} ms",
        f"{figures['mixture_seconds'] * 1e3:.1f} ms",
        f"{figures['ratio']:.2f}",
        f">= {figures['aim']}",
    )
    return ReportTable(title="supernet step", columns=("hard sample", "full mixture", "ratio", "aim"), rows=(row,))
