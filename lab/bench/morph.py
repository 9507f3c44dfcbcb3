"""What surgery costs, in training steps, and beside building the network anew."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from lab.base import ConfigError, ReportTable
from lab.bench import morph_foreign, morph_peers
from lab.bench.settings import MorphBench
from lab.morph import Deepen, InsertResidual, Morph, MorphReport, Widen, apply, rebuild, rollback, verify
from lab.nn import small_cnn
from lab.results import machine


def _require_known(names: Sequence[str]) -> None:
    known = {"small_cnn", *torchvision.models.list_models(module=torchvision.models)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError("small_cnn or models of torchvision", ", ".join(unknown), "see torchvision.models")


def _build(name: str, size: int) -> nn.Module:
    model: nn.Module = small_cnn(size=size) if name == "small_cnn" else torchvision.models.get_model(name)
    return model


def run(config: MorphBench) -> dict[str, Any]:
    """Time every operation on every model, with Adam and its state, one after the other in one process.

    With `zoo` or `peers`, see `morph_foreign` and `morph_peers`.
    """
    if config.zoo:
        return morph_peers.run(config) if config.peers else morph_foreign.run(config)
    _require_known((*config.models, *config.compiled))
    results: dict[str, Any] = {}
    for name in config.models:
        torch.manual_seed(config.seed)
        model = _build(name, config.size)
        x_BCHW = torch.randn(config.batch, 3, config.size, config.size)
        optimizer = torch.optim.Adam(model.parameters())
        # B023: the lambda is called before the loop goes on.
        step = _seconds(lambda: _train(model, optimizer, x_BCHW), config.rounds + 1)  # noqa: B023
        rows = [_operation(op, model, optimizer, x_BCHW, config) for op in _operations(model)]
        results[name] = {"step_seconds": step, "operations": rows}
    compiled = {name: _inductor(name, config) for name in config.compiled}
    return {
        "bench": "morph",
        "config": asdict(config),
        "machine": machine(),
        "results": {"models": results, "inductor": compiled, "aim": 1.0},
    }


def _operations(model: nn.Module) -> tuple[Morph, ...]:
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    layer = layers[len(layers) // 2]
    width: int = model.get_submodule(layer).out_channels  # type: ignore[assignment]
    return (
        Widen(layer, 2 * width),
        Deepen(layer),
        InsertResidual("features" if hasattr(model, "features") else "layer2"),
    )


def _operation(
    op: Morph, model: nn.Module, optimizer: torch.optim.Optimizer, x_BCHW: Tensor, config: MorphBench
) -> dict[str, Any]:
    began = time.perf_counter()
    plan = op.plan(model, x_BCHW[:4])
    planned = time.perf_counter() - began
    reports: list[MorphReport] = []
    applied, undone = [], []
    for number in range(config.rounds):
        began = time.perf_counter()
        reports.append(apply(plan, model, optimizer))
        applied.append(time.perf_counter() - began)
        if number == 0:
            difference = verify(reports[0], x_BCHW[:4])
        began = time.perf_counter()
        rollback(reports[-1])
        undone.append(time.perf_counter() - began)

    def anew() -> None:
        # The usual way: copy the network, build the larger one, copy what fits, and start the optimizer again.
        other = rebuild(copy.deepcopy(model), (plan,))
        torch.optim.Adam(other.parameters())

    return {
        "operation": str(op),
        "plan_seconds": planned,
        "apply_seconds": statistics.median(applied),
        "rollback_seconds": statistics.median(undone),
        "rebuild_seconds": _seconds(anew, config.rounds),
        "difference_float64": plan.max_difference,
        "difference_of_weights_as_they_are": difference,
    }


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, x_BCHW: Tensor) -> None:
    model.train()
    optimizer.zero_grad()
    model(x_BCHW).square().mean().backward()
    optimizer.step()


def _seconds(call: Callable[[], None], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _inductor(name: str, config: MorphBench) -> dict[str, Any]:
    """Compile a changed network and compare its output with that of the network before the change."""
    torch.manual_seed(config.seed)
    model = _build(name, config.size).eval()
    x_BCHW = torch.randn(4, 3, config.size, config.size)
    with torch.no_grad():
        expected = model(x_BCHW)
        for op in _operations(model)[:1]:
            apply(op.plan(model, x_BCHW), model).release()
        began = time.perf_counter()
        output = torch.compile(model)(x_BCHW)
        seconds = time.perf_counter() - began
    difference = float((output - expected).abs().max() / expected.abs().max())
    return {"compile_seconds": seconds, "relative_difference": difference}


def result_name(config: MorphBench) -> str:
    """Name of the result's file: each kind of measurement has its own."""
    return (morph_peers.NAME if config.peers else morph_foreign.NAME) if config.zoo else "morph"


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each model and operation, times in steps of training."""
    if result["bench"] != "morph":
        return (morph_peers if result["bench"] == morph_peers.NAME else morph_foreign).summary(result)
    rows = []
    for name, figures in result["results"]["models"].items():
        step = figures["step_seconds"]
        for row in figures["operations"]:
            rows.append(
                (
                    name,
                    row["operation"],
                    f"{step * 1e3:.0f} ms",
                    f"{row['apply_seconds'] / step:.2f}",
                    f"{row['rollback_seconds'] / step:.2f}",
                    f"{row['rebuild_seconds'] / step:.2f}",
                    f"{row['plan_seconds'] / step:.1f}",
                    f"{row['difference_float64']:.0e}",
                )
            )
    notes = [
        f"inductor, {name}: output after the change off by {row['relative_difference']:.0e} (float32), "
        f"compiled in {row['compile_seconds']:.0f} s"
        for name, row in result["results"]["inductor"].items()
    ]
    columns = ("model", "operation", "step", "apply", "roll back", "copy and rebuild", "plan", "difference")
    title = f"surgery, in training steps of the same model (aim: apply <= {result['results']['aim']:g})"
    return ReportTable(title=title, columns=columns, rows=tuple(rows), notes=tuple(notes))
