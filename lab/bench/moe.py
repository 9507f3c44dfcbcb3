"""A mixture of experts against transformers' Mixtral block with the same weights: forward and backward.

In each round every way runs once for every number of experts, in turn; a ratio is the median over rounds of the ratio
within a round, so that a machine that slows down slows both. The router's losses are not computed: Mixtral computes
its own outside of the block. Needs the extra `text`.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import ReportTable, require, require_extra
from lab.bench.settings import MoeBench
from lab.device import choose_device
from lab.mahia import ExpertRouter, grouped_refusal
from lab.results import machine
from lab.results.record import progress_bar

PEERS: Mapping[str, str] = MappingProxyType({"grouped": "grouped_mm", "eager": "eager"})
"""Way -> transformers' name of it."""
SPREAD = 0.05
"""Standard deviation of the weights."""
SAME = 1e-4
"""Largest difference of outputs that is taken for the same network."""


def run(config: MoeBench) -> dict[str, Any]:
    """Time the router and both ways of Mixtral's block.

    Raises:
        ConfigError: transformers is not installed.
    """
    torch.set_num_threads(config.threads)
    device = choose_device(config.device).device
    x_BTD = torch.randn(1, config.tokens, config.dim, generator=torch.Generator().manual_seed(config.seed))
    x_BTD = x_BTD.to(device).requires_grad_()
    blocks = {count: build_blocks(config, count, device) for count in config.experts}
    differences = {count: check_same(blocks[count], x_BTD) for count in config.experts}
    pairs = [(count, way) for count in config.experts for way in blocks[count]]
    seconds: dict[tuple[int, str], list[float]] = {pair: [] for pair in pairs}
    with progress_bar(config.rounds + 1) as bar:
        for round_number in range(config.rounds + 1):
            turn = round_number % len(pairs)
            for count, way in pairs[turn:] + pairs[:turn]:
                taken = step_seconds(blocks[count][way], x_BTD)
                if round_number:  # The first round warms up.
                    seconds[count, way].append(taken)
            bar.step(f"round {round_number}")
    rows = [_figures(count, blocks[count], seconds, differences[count]) for count in config.experts]
    first, last = config.experts[0], config.experts[-1]
    return {
        "bench": "moe",
        "config": asdict(config),
        "machine": machine(),
        "results": {
            "device": str(device),
            "rows": rows,
            "cost_ratio": {
                "experts": [first, last],
                **{way: _ratio(seconds[last, way], seconds[first, way]) for way in blocks[first]},
            },
        },
    }


def build_blocks(config: MoeBench, experts: int, device: torch.device) -> dict[str, nn.Module]:
    """The router and Mixtral's block in both ways, with the same weights.

    Raises:
        ConfigError: transformers is not installed.
    """
    require_extra("text", "a comparison with its Mixtral block", ("transformers",))
    from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock

    torch.manual_seed(config.seed)
    router = ExpertRouter(config.dim, experts, config.k, config.hidden)
    for parameter in router.parameters():
        nn.init.normal_(parameter, std=SPREAD)
    blocks: dict[str, nn.Module] = {"router": router.to(device)}
    for way, implementation in PEERS.items():
        settings = MixtralConfig(
            hidden_size=config.dim,
            intermediate_size=config.hidden,
            num_local_experts=experts,
            num_experts_per_tok=config.k,
        )
        settings._experts_implementation = implementation
        block = MixtralSparseMoeBlock(settings).to(device)
        names = {"gate.weight": "gate.weight", "gate_up_proj": "experts.gate_up", "down_proj": "experts.down"}
        state = router.state_dict()
        block.load_state_dict(
            {name: state[names[name.removeprefix("experts.")]] for name, _ in block.named_parameters()}
        )
        blocks[way] = block
    return blocks


def check_same(blocks: dict[str, nn.Module], x_BTD: Tensor) -> float:
    """Largest difference of the outputs from the router's.

    Raises:
        ConfigError: the blocks do not compute the same.
    """
    with torch.no_grad():
        y_BTD = blocks["router"](x_BTD)
        difference = max(float((block(x_BTD) - y_BTD).abs().max()) for block in blocks.values())
    require(
        difference < SAME,
        expected=f"outputs that differ by less than {SAME}",
        got=f"{difference:.1e}",
        hint="compare with another release of transformers",
    )
    return difference


def step_seconds(block: nn.Module, x_BTD: Tensor) -> float:
    """Wall-clock seconds of a forward and a backward; gradients are made anew."""
    block.zero_grad(set_to_none=True)
    x_BTD.grad = None
    began = time.perf_counter()
    block(x_BTD).square().mean().backward()
    if x_BTD.is_cuda:
        torch.cuda.synchronize(x_BTD.device)
    return time.perf_counter() - began


def _ratio(upper: list[float], lower: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))


def _figures(
    count: int, blocks: dict[str, nn.Module], seconds: dict[tuple[int, str], list[float]], difference: float
) -> dict[str, Any]:
    router = blocks["router"]
    assert isinstance(router, ExpertRouter)
    weights = router.experts.gate_up, router.experts.down
    quarters = statistics.quantiles(
        [a / b for a, b in zip(seconds[count, "grouped"], seconds[count, "router"], strict=True)], n=4
    )
    return {
        "experts": count,
        "grouped_product": grouped_refusal(weights[0][0], *weights) == "",
        "milliseconds": {way: 1e3 * statistics.median(seconds[count, way]) for way in blocks},
        "fastest_milliseconds": {way: 1e3 * min(seconds[count, way]) for way in blocks},
        "speed_against": {way: _ratio(seconds[count, way], seconds[count, "router"]) for way in PEERS},
        "speed_against_grouped_quartiles": [quarters[0], quarters[2]],
        "difference": difference,
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each number of experts."""
    figures, config, ways = result["results"], result["config"], ("router", *PEERS)
    rows = tuple(
        (
            str(row["experts"]),
            *(f"{row['milliseconds'][way]:.1f}" for way in ways),
            f"{row['speed_against']['grouped']:.2f}",
            " to ".join(f"{quarter:.2f}" for quarter in row["speed_against_grouped_quartiles"]),
            f"{row['speed_against']['eager']:.2f}",
        )
        for row in figures["rows"]
    )
    columns = ("experts", *(f"{way}, ms" for way in ways), "speed against grouped", "quartiles", "against eager")
    first, last = figures["cost_ratio"]["experts"]
    ratios = ", ".join(f"{way} {figures['cost_ratio'][way]:.2f}" for way in ways)
    notes = (
        f"forward and backward, medians over {config['rounds']} interleaved rounds on {figures['device']}",
        f"cost of {last} experts against {first}: {ratios}",
    )
    title = f"{config['tokens']} tokens, width {config['dim']}, hidden {config['hidden']}, k = {config['k']}"
    return ReportTable(title=title, columns=columns, rows=rows, notes=notes)
