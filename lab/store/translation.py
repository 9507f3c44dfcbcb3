"""Runs of earlier versions in today's words: the one place that knows how stored names have changed.

Every reader of stored settings, events and checkpoint heads goes through here; what is already in today's words passes
unchanged.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MOVED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "optimizer": (
            *("weight_lr", "weight_schedule", "rate_patience", "weight_momentum", "weight_decay"),
            *("grad_clip", "max_rollbacks"),
        ),
        "checkpoints": ("save_checkpoints", "checkpoint_frequency", "max_checkpoints"),
        "devices": ("device", "memory_fraction"),
    }
)
"""Record of a run's settings -> its fields that lay in `search` before."""


def translate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run, as JSON data, with today's names of records and fields."""
    found = dict(config)
    if "hybrid" in found or found.get("recipe") == "hybrid":
        _rename_multitask(found)
    search = dict(found.get("search") or {})
    for record, names in MOVED.items():
        if search and record not in found:
            found[record] = {name: search[name] for name in names if name in search}
    if "reject_sigmas" in search and "evolve" in found:
        found["evolve"] = {"reject_sigmas": search["reject_sigmas"], **found["evolve"]}
    moved = {name for names in MOVED.values() for name in names}
    if search:
        found["search"] = {name: value for name, value in search.items() if name not in moved}
    return found


def _rename_multitask(found: dict[str, Any]) -> None:
    """Settings of before recipe hybrid was called multitask; then a plan of phases ended the fixed baseline as well."""
    if "hybrid" in found:
        found["multitask"] = found.pop("hybrid")
    if found.get("recipe") == "hybrid":
        found["recipe"] = "multitask"
    names = ("warmup_epochs", "total_cycles", "arch_training_epochs", "weight_training_epochs")
    search = found.get("search") or {}
    if found.get("recipe") == "fixed" and found.get("epochs") is not None and all(name in search for name in names):
        warmup, cycles, *phases = (search[name] for name in names)
        found["epochs"] = min(found["epochs"], warmup + cycles * sum(phases))


SPLITS: Mapping[str, str] = MappingProxyType({"weights": "train", "architecture": "search", "decisions": "selection"})
"""Former name of a split -> its name."""


def translate_loop_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """State of the training loop, as a checkpoint holds it, with today's keys."""
    found = dict(state)
    numbers = dict(found["numbers"])
    if "rng" not in found:
        found["rng"] = {"torch": found.pop("torch_rng")}
    if "split" not in found:
        part = numbers.pop("_part")
        found["split"] = SPLITS.get(part, part)
    if "network" in found["strategy"]:  # of a recipe that searches nothing
        numbers["_segment"] = numbers["_segment"].replace("weight_retraining", "training")
        monitor = found["monitor"]
        found["monitor"] = {**monitor, "segment": monitor["segment"].replace("weight_retraining", "training")}
    return {**found, "numbers": numbers}
