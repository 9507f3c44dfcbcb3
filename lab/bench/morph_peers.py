"""Surgery beside other libraries: pruning on foreign models, growth on each library's own modules.

What counts at a site is counted alike for each: the width is halved, forward and backward run, and the output keeps its
shape. Sites where no change makes sense are left out for all. A library that is not installed is said to be so.
"""

import copy
import importlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import ReportTable
from lab.bench.morph_foreign import known_models, load_zoo, one_thread, train
from lab.bench.settings import MorphBench
from lab.morph import Deepen, Morph, Widen, apply
from lab.morph.trace import Traces
from lab.results import machine

NAME = "morph-peers"
PEERS = {"torch_pruning": "torch-pruning", "gromo": "gromo", "agilerl": "agilerl"}
"""Module -> distribution."""
WIDTH, ADDED = 32, 16
"""Hidden units of the networks that grow, and how many are added."""


class _PeerAnswer:
    """Inside, what another library raises is its answer."""

    def __init__(self) -> None:
        self.reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, Exception):
            self.reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
        return isinstance(error, Exception)


def run(config: MorphBench) -> dict[str, Any]:
    """Prune at every site of the models with each library; then grow small networks with each."""
    zoo, judge = load_zoo(config.zoo)
    versions = {name: _version(module) for module, name in PEERS.items()}
    sites: list[dict[str, Any]] = []
    with one_thread():
        for name in known_models(zoo, config):
            model, examples = zoo["build"](name)
            sites += _pruned(name, model, examples[0], judge, versions)
        growth = {name: grow() for name, (module, grow) in GROWTH.items() if not module or importlib_has(module)}
    return {
        "bench": NAME,
        "config": {"seed": config.seed, "names": list(config.names)},
        "machine": machine(),
        "results": {"versions": versions, "pruning": sites, "growth": growth},
    }


def importlib_has(module: str) -> bool:
    """Whether a module is installed."""
    return importlib.util.find_spec(module) is not None


def _version(module: str) -> str | None:
    return importlib.metadata.version(PEERS[module]) if importlib_has(module) else None


def _pruned(
    name: str, model: nn.Module, example: Any, judge: dict[str, Any], versions: dict[str, str | None]
) -> list[dict[str, Any]]:
    traces, rows = Traces(), []
    # As a user calls it: several changes of one model share a trace.
    for op, site in judge["sites"](model, example):
        if op != "Prune":
            continue
        row: dict[str, Any] = {"model": name, "site": site}

        def ours(changed: nn.Module, site: str = site) -> None:
            apply(judge["planned"](changed, example, "Prune", site, traces), changed).release()

        row["lab.morph"] = _halved(ours, model, example, site)
        if any(reason in row["lab.morph"]["reason"] for reason in judge["MEANINGLESS"]):
            continue
        if versions["torch-pruning"]:
            row["torch-pruning"] = _halved(lambda m, s=site: _torch_pruning(m, example, s), model, example, site)  # type: ignore[misc]
        rows.append(row)
    return rows


def _halved(prune: Callable[[nn.Module], None], model: nn.Module, example: Any, site: str) -> dict[str, Any]:
    """What became of one attempt on a copy."""
    changed = copy.deepcopy(model)
    old = sum(parameter.numel() for parameter in model.parameters())
    shapes = _shapes(changed, example)
    with _PeerAnswer() as attempt:
        began = time.process_time()
        prune(changed)
        seconds = time.process_time() - began
    if attempt.reason:
        return {"ok": False, "reason": attempt.reason, "seconds": None}
    with _PeerAnswer() as attempt:
        if sum(parameter.numel() for parameter in changed.parameters()) >= old:
            attempt.reason = "nothing was pruned"
        elif _shapes(changed.eval(), example) != shapes:
            attempt.reason = "the output has another shape"
        else:
            train(changed, None, example)
    return {"ok": not attempt.reason, "reason": attempt.reason, "seconds": seconds}


def _shapes(model: nn.Module, example: Any) -> list[tuple[int, ...]]:
    with torch.no_grad():
        output = model(**example) if isinstance(example, dict) else model(example)
    return [tuple(leaf.shape) for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _torch_pruning(model: nn.Module, example: Any, site: str) -> None:
    """As its README does it: a graph of dependencies, the group of a layer, and the group pruned."""
    tp: Any = importlib.import_module("torch_pruning")
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    layer: Any = model.get_submodule(site)
    linear = isinstance(layer, nn.Linear)
    function = tp.prune_linear_out_channels if linear else tp.prune_conv_out_channels
    width: int = layer.weight.shape[0]
    group = graph.get_pruning_group(layer, function, idxs=list(range(width // 2, width)))
    if not graph.check_pruning_group(group):
        raise ValueError("check_pruning_group says that the group would lose all channels")
    group.prune()


# --- growth -----------------------------------------------------------------------------------------------------------


def _plain() -> nn.Module:
    layers = (nn.Linear(16, WIDTH), nn.SELU(), nn.Linear(WIDTH, WIDTH), nn.SELU(), nn.Linear(WIDTH, 8))
    return nn.Sequential(*layers)


def _grown(model: nn.Module, change: Callable[[nn.Module, torch.optim.Optimizer, Tensor], object]) -> dict[str, Any]:
    """How far the output moves, how many of the weights keep a state of the optimizer, and the processor's time."""
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, x)
    model.eval()
    with torch.no_grad():
        before = model(x)
        began = time.process_time()
        with torch.enable_grad():
            change(model, optimizer, x)
        seconds = time.process_time() - began
        after = model.eval()(x)
    weights = list(model.parameters())
    kept = sum(
        parameter in optimizer.state and optimizer.state[parameter]["exp_avg"].shape == parameter.shape
        for parameter in weights
    )
    difference = float((after - before).abs().max() / before.abs().max())
    return {"output_difference": difference, "with_state": kept, "weights": len(weights), "seconds": seconds}


def _lab(op: Morph) -> dict[str, Any]:
    torch.manual_seed(0)
    return _grown(_plain(), lambda model, optimizer, x: apply(op.plan(model, x), model, optimizer))


def _gromo(**options: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    model = importlib.import_module("gromo.containers.growing_mlp").GrowingMLP(16, 8, WIDTH, 2)

    def change(model: Any, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        layer = model.layers[1]
        layer.create_layer_extensions(extension_size=ADDED, **options)
        layer.apply_change(scaling_factor=1.0, extension_size=ADDED)
        layer.delete_update(include_previous=True)

    return _grown(model, change)


def _agilerl(change: Callable[[Any], object]) -> dict[str, Any]:
    torch.manual_seed(0)
    kind = importlib.import_module("agilerl.modules.mlp").EvolvableMLP
    model = kind(16, 8, [WIDTH, WIDTH], min_mlp_nodes=8, random_seed=0)
    return _grown(model, lambda model, optimizer, x: change(model))


PAIRED: dict[str, Any] = {"neuron_pairing": "vv_z_negz"}
GROWTH: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "lab.morph Widen": ("", lambda: _lab(Widen("0", WIDTH + ADDED))),
    "GroMo add units": ("gromo", _gromo),
    "GroMo add pairs": ("gromo", lambda: _gromo(**PAIRED)),
    "GroMo add pairs, no noise": ("gromo", lambda: _gromo(**PAIRED, noise_ratio=0.0)),
    "AgileRL add_node": ("agilerl", lambda: _agilerl(lambda m: m.add_node(hidden_layer=0, numb_new_nodes=ADDED))),
    "lab.morph Deepen": ("", lambda: _lab(Deepen("3"))),
    "AgileRL add_layer": ("agilerl", lambda: _agilerl(lambda m: m.add_layer())),
}
"""What is done -> the module that it needs, and the attempt. All on a network of two hidden layers, 16-32-32-8."""


def summary(result: dict[str, Any]) -> ReportTable:
    """Pruning by library, then growth by what is done."""
    figures = result["results"]
    rows = []
    for tool in ("lab.morph", "torch-pruning"):
        found = [site[tool] for site in figures["pruning"] if tool in site]
        if found:
            right = sum(each["ok"] for each in found)
            rows.append((f"{tool}: halve a width", f"{right} of {len(found)} sites", "-", "-"))
    for name, row in figures["growth"].items():
        kept = f"{row['with_state']} of {row['weights']}"
        rows.append((name, f"{row['output_difference']:.0e}", kept, f"{1e3 * row['seconds']:.0f} ms"))
    both = [site for site in figures["pruning"] if site.get("torch-pruning", {}).get("ok") and site["lab.morph"]["ok"]]
    ratios = sorted(site["lab.morph"]["seconds"] / site["torch-pruning"]["seconds"] for site in both)
    notes = [f"{name}: not installed" for name, version in figures["versions"].items() if version is None]
    if ratios:
        middle = ratios[len(ratios) // 2]
        notes.append(
            f"time of lab.morph (plan, trial, apply) over torch-pruning: median {middle:.2f}, {len(both)} sites"
        )
    columns = ("what", "runs, or output difference", "weights with their state", "time")
    return ReportTable(title="surgery beside other libraries", columns=columns, rows=tuple(rows), notes=tuple(notes))
