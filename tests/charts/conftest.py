"""A short recorded search in the shape that the store gives: events with id, step, ts, kind, payload."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

PRIMITIVES = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
EDGES = [["cell", target, source] for target in range(1, 4) for source in range(target)]


@dataclass(frozen=True)
class Row:
    id: int
    step: int
    ts: float
    kind: str
    payload: dict[str, Any]


def cell(*names: str) -> dict[str, Any]:
    return {
        "space": "nb201",
        "cells": {"cell": [[t, s, name] for (_, t, s), name in zip(EDGES, names, strict=True)]},
    }


@pytest.fixture
def genotype() -> dict[str, Any]:
    return cell("nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "none", "nor_conv_3x3")


@pytest.fixture
def snapshot(genotype: dict[str, Any]) -> dict[str, Any]:
    rows = [[0.1, 0.2, 0.1, 0.5, 0.1] for _ in EDGES]
    return {
        "genotype": genotype,
        "argmax_genotype": cell(*["nor_conv_3x3"] * 6),
        "edges": EDGES,
        "primitives": PRIMITIVES,
        "probabilities": rows,
        "entropy": [1.3] * 6,
        "skip_share": 0.0,
        "dominance": 0.3,
        "rank": {},
        "reason": "epoch",
    }


@pytest.fixture
def make_event() -> Callable[..., Row]:
    count = 0

    def make(step: int, kind: str, **payload: Any) -> Row:
        nonlocal count
        count += 1
        return Row(count, step, 1000.0 + step, kind, payload)

    return make


@pytest.fixture
def history(make_event: Callable[..., Row], genotype: dict[str, Any]) -> list[Row]:
    """Two mutations: the first applied at step 20 and accepted at 30, the second applied at 40; a third refused."""
    edits = [["cell", 2, 0, "skip_connect", "nor_conv_3x3"]]
    base = {"old": genotype, "new": genotype, "edits": edits, "requested": "schedule"}

    def phase(step: int, name: str, epochs: int) -> Row:
        return make_event(step, "phase", phase=name, epoch=step // 10, epochs=epochs, cycle=0)

    return [
        phase(0, "warmup", 1),
        phase(10, "arch_training", 1),
        phase(20, "mutation", 0),
        make_event(
            20, "mutation", number=1, status="applied", difference=3e-7, reason="cycle 0", loss_before=0.5, **base
        ),
        phase(20, "weight_retraining", 2),
        make_event(
            30, "mutation", number=1, status="accepted", difference=None, reason="lower loss", loss_after=0.25, **base
        ),
        make_event(40, "mutation", number=2, status="applied", difference=1e-8, reason="asked", **base),
        make_event(45, "mutation", number=3, status="refused", difference=None, reason="no live network", **base),
    ]
