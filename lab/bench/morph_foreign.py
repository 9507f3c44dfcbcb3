"""What surgery costs on models that this project did not write, in training steps of the same model.

Models and sites come from a folder of tests, taken by its path: the lab imports no tests. Time is that of the processor
on one thread, so that other work on the machine is not counted. A model whose library is not installed is left out by
name; a model that was measured is found again.
"""

import runpy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import ConfigError, MorphError, ReportTable
from lab.bench.settings import MorphBench
from lab.device import measure_memory, tensor_bytes
from lab.morph import apply, rollback
from lab.morph.trace import Traces
from lab.morph.twins import double, doubled_copy
from lab.results import machine
from lab.results.record import Records

NAME = "morph-foreign"
SLOW = 0.01
"""Seconds of a step from which on a ratio says something; below it times are given."""
AIM_MEDIAN, AIM_WORST = 6.0, 40.0


def load_zoo(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The models, and the rule for their sites.

    Raises:
        ConfigError: the folder has no zoo.py and judge.py.
    """
    paths = [Path(folder) / name for name in ("zoo.py", "judge.py")]
    if not all(path.is_file() for path in paths):
        raise ConfigError("a folder with zoo.py and judge.py", folder, "give tests/morph of the project's sources")
    return runpy.run_path(str(paths[0])), runpy.run_path(str(paths[1]))


def known_models(zoo: dict[str, Any], config: MorphBench) -> list[str]:
    """The models that are asked for.

    Raises:
        ConfigError: one that the folder does not have.
    """
    known = [*zoo["TIMM"], *zoo["TRANSFORMERS"]]
    unknown = [name for name in config.names if name not in known]
    if unknown:
        raise ConfigError("models of zoo.py", ", ".join(unknown), f"the first are {', '.join(known[:5])}")
    return [name for name in known if not config.names or name in config.names]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(config: MorphBench) -> dict[str, Any]:
    """Time each operation at one site of each model."""
    zoo, judge = load_zoo(config.zoo)
    settings = {name: getattr(config, name) for name in ("batch", "rounds", "seed")}
    records = Records(Path(config.folder), {"bench": NAME, **settings})
    models: dict[str, Any] = {}
    absent = []
    with one_thread():
        for name in known_models(zoo, config):
            try:
                model, examples = zoo["build"](name)
            except ImportError as error:
                absent.append(f"{name}: {error}")
                continue
            models[name] = records.read(name)
            if models[name] is None:
                torch.manual_seed(config.seed)
                models[name] = _measure(name, model, examples[0], zoo, judge, config)
                records.write(name, models[name])
    return {
        "bench": NAME,
        "config": settings,
        "machine": machine(),
        "results": {"models": models, "absent": absent, "aim": {"median": AIM_MEDIAN, "worst": AIM_WORST}},
    }


def _measure(
    name: str, model: nn.Module, example: Any, zoo: dict[str, Any], judge: dict[str, Any], config: MorphBench
) -> dict[str, Any]:
    family = (zoo["TIMM"].get(name) or zoo["TRANSFORMERS"][name]).family
    sites: dict[str, list[str]] = {}
    for op, site in judge["sites"](model, example):
        sites.setdefault(op, []).append(site)
    batch = repeated(example, config.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    step = _median(lambda: train(model, optimizer, batch), config.rounds + 1)
    model.eval()
    rows = [
        # The middle one of the first kind.
        _operation(op, places[min(1, len(places) - 1)], model, example, optimizer, judge, config)
        for op, places in sites.items()
    ]
    memory = _memory(sites.get("Widen", []), model, example, judge)
    return {"family": family, "step_seconds": step, "operations": rows, "memory": memory}


def _memory(places: list[str], model: nn.Module, example: Any, judge: dict[str, Any]) -> dict[str, int] | None:
    """Most bytes at once beside the model, while it is widened at the middle place.

    Beside them, of the changed model in float64: its weights, and a forward in eval and one in train mode. None where
    the place is refused, or the model has no forward in float64, as grouped experts have none.
    """
    try:
        with measure_memory(roots=model, blame=False) as planned:
            plan = judge["planned"](model, example, "Widen", places[min(1, len(places) - 1)], Traces())
    except (MorphError, IndexError):
        return None
    with measure_memory(roots=model, blame=False) as applied:
        report = apply(plan, model)
    copy = doubled_copy(model)
    rollback(report)
    inputs = double(example)
    try:
        with measure_memory(roots=copy, blame=False) as alone, torch.no_grad():
            for mode in (False, True):
                call = copy.train(mode)
                call(**inputs) if isinstance(inputs, dict) else call(inputs)
    except RuntimeError:
        return None
    return {
        "model_bytes": tensor_bytes(model),
        "copy_bytes": tensor_bytes(copy),
        "forward_bytes": alone.allocated_peak,
        "plan_bytes": planned.allocated_peak,
        "apply_bytes": applied.allocated_peak,
    }


def _operation(
    op: str,
    site: str,
    model: nn.Module,
    example: Any,
    optimizer: torch.optim.Optimizer,
    judge: dict[str, Any],
    config: MorphBench,
) -> dict[str, Any]:
    row: dict[str, Any] = {"operation": op, "site": site, "refused": ""}
    traces = Traces()
    began = time.process_time()
    try:
        plan = judge["planned"](model, example, op, site, traces)
    except MorphError as error:
        return {**row, "refused": f"{error.expected}; got {error.got}"}
    planned = time.process_time() - began
    again = 0.0
    if op == "Prune":
        # A second plan on a model that has not changed shares the trace.
        began = time.process_time()
        judge["planned"](model, example, op, site, traces)
        again = time.process_time() - began
    applied = []
    for _ in range(config.rounds):
        began = time.process_time()
        report = apply(plan, model, optimizer)
        applied.append(time.process_time() - began)
        rollback(report)
    figures = {"plan_seconds": planned, "plan_again_seconds": again, "apply_seconds": statistics.median(applied)}
    return {**row, **figures, "difference_float64": plan.max_difference}


def repeated(example: Any, batch: int) -> Any:
    """The example as a batch of `batch` samples."""

    def more(item: Any) -> Any:
        return item.repeat(-(-batch // len(item)), *[1] * (item.dim() - 1))[:batch] if torch.is_tensor(item) else item

    return pytree.tree_map(more, example)


def train(model: nn.Module, optimizer: torch.optim.Optimizer | None, batch: Any) -> None:
    """One step on the mean square of what the model gives; only forward and backward without an optimizer."""
    model.train()
    model.zero_grad()
    output = model(**batch) if isinstance(batch, dict) else model(batch)
    leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    torch.stack([leaf.square().mean() for leaf in leaves]).sum().backward()
    if optimizer is not None:
        optimizer.step()


def _median(call: Callable[[], None], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    # The first one warms up.
    return statistics.median(taken[1:])


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each operation: plan and apply together, in steps where a step is long, else in milliseconds."""
    models, aim = result["results"]["models"], result["results"]["aim"]
    ops = dict.fromkeys(row["operation"] for model in models.values() for row in model["operations"])
    rows = [_row(op, op, models, "plan_seconds") for op in ops]
    rows += [_row("Prune again", "Prune", models, "plan_again_seconds")] if "Prune" in ops else []
    notes = ["again: a second plan of the unchanged model, which shares the trace"] if "Prune" in ops else []
    notes += _memory_notes([model["memory"] for model in models.values() if model.get("memory")])
    notes += [f"left out: {line}" for line in result["results"]["absent"]]
    columns = (
        "operation",
        "planned",
        "median, steps",
        "worst, steps",
        "models",
        "quick: median",
        "worst",
    )
    title = (
        f"plan and apply on {len(models)} foreign models, in training steps of {1e3 * SLOW:.0f} ms and more "
        f"(aim: median <= {aim['median']:g}, worst <= {aim['worst']:g})"
    )
    return ReportTable(title=title, columns=columns, rows=tuple(rows), notes=tuple(notes))


def _memory_notes(found: list[dict[str, int]]) -> list[str]:
    if not found:
        return []
    ratios = [each["plan_bytes"] / (each["copy_bytes"] + each["forward_bytes"]) for each in found]
    kept = [each["apply_bytes"] / each["model_bytes"] for each in found]
    return [
        "memory of a plan to widen, over the changed model in float64 with its forwards: "
        f"median {statistics.median(ratios):.2f}, most {max(ratios):.2f} ({len(found)} models)",
        "memory of apply, over the model's own weights, with what a roll-back needs: "
        f"median {statistics.median(kept):.2f}, most {max(kept):.2f}",
    ]


def _row(label: str, op: str, models: dict[str, Any], plan: str) -> tuple[str, ...]:
    found = [(m["step_seconds"], row) for m in models.values() for row in m["operations"] if row["operation"] == op]
    done = [(step, row[plan] + row["apply_seconds"]) for step, row in found if not row["refused"]]
    ratios = [cost / step for step, cost in done if step >= SLOW]
    quick = [1e3 * cost for step, cost in done if step < SLOW]
    return (
        label,
        f"{len(done)} of {len(found)}",
        f"{statistics.median(ratios):.1f}" if ratios else "-",
        f"{max(ratios):.1f}" if ratios else "-",
        f"{len(ratios)}",
        f"{statistics.median(quick):.0f} ms" if quick else "-",
        f"{max(quick):.0f} ms" if quick else "-",
    )
