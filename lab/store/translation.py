"""Runs of earlier versions under today's names: the one place that knows how stored names have changed.

Every reader of stored settings, events, checkpoints and plans goes through here; what is already under today's names
passes unchanged. Not covered: free text, such as the reason of a roll-back; class names in digests (`lab.state.kinds`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lab.base import sequence_like

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
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "accumulation": "grad_accum_steps",
        "reject_sigmas": "reject_z",
        "weights_share": "train_share",
        "architecture_share": "search_share",
        "decisions_share": "selection_share",
    }
)
"""Field of a run's or a measurement's settings -> its name now."""
UNPLANNED: Mapping[str, Any] = MappingProxyType(
    {"prior": "none", "retraining_epochs": 0, "growth_units": "copies", "reading_share": 1.0}
)
"""Settings of a search that began before there were these: without a prior, without a retraining at its end, with
copies of channels where it grew, and read after each epoch."""
HELD_RATE: Mapping[str, Any] = MappingProxyType({"weight_schedule_interval": "epoch"})
"""Settings of an optimizer whose rate was held over each epoch, before there was a choice."""
SETTING_VALUES: Mapping[str, Mapping[str, str]] = MappingProxyType({"model": {"seed_cnn": "small_cnn"}})
"""Field of settings -> its values that were another word -> the word now."""
EVENT_FIELDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"rollback": {"barred": "excluded"}, "genotype": {"likeliest": "argmax_genotype"}}
)
"""Kind of event -> its fields that had another name -> their name now."""
EVENT_VALUES: Mapping[tuple[str, str], Mapping[str, str]] = MappingProxyType(
    {
        ("genotype", "reason"): {"taken": "extracted"},
        ("intervention", "action"): {"lower_rate": "reduce_lr", "gentler_mutation": "reduce_mutation_strength"},
        ("oom", "action"): {"smaller parts": "smaller micro-batches"},
        ("stability", "advice"): {"lower_rate": "reduce_lr", "gentler_mutation": "reduce_mutation_strength"},
    }
)
"""Kind of event and field -> its values that were another word -> the word now."""
STATE_KEYS: Mapping[str, str] = MappingProxyType({"asked": "sampled", "barred": "excluded", "blends": "transitions"})
"""Key in the state of a checkpoint -> its name now."""
OPERATIONS: Mapping[str, str] = MappingProxyType({"together": "compose"})
"""Operation of a plan -> its name now."""
WRAPS: Mapping[str, str] = MappingProxyType({"blend": "interpolated_op"})
"""Kind of a module that a plan puts in -> its name now."""
STEPS: Mapping[str, str] = MappingProxyType({"settle": "finalize"})
"""Kind of a step in a checkpoint's plans -> its name now."""
SPLITS: Mapping[str, str] = MappingProxyType({"weights": "train", "architecture": "search", "decisions": "selection"})
"""Former name of a split -> its name."""
SEARCH_PHASE, TRAINING = "weight_retraining", "training"
"""A phase of the search, and the one phase of every other recipe, which had the former name as well."""


EVERY_ACTION: Mapping[str, Any] = MappingProxyType(
    {"keep": "harmless", "trial_share": 1e9, "trial_patience": 2**31, "least_effect": 1e9}
)
"""Settings of the agent's trials that runs had before they were settings."""


def translate_settings(value: Any) -> Any:
    """Settings as JSON data with today's names of fields, at any depth."""
    if isinstance(value, Mapping):
        return {SETTINGS.get(key, key): _setting(key, item) for key, item in value.items()}
    return [translate_settings(item) for item in value] if isinstance(value, list) else value


def _setting(name: str, value: Any) -> Any:
    words = SETTING_VALUES.get(name)
    return words.get(value, value) if words and isinstance(value, str) else translate_settings(value)


def translate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run, as JSON data, with today's names of records and fields."""
    found: dict[str, Any] = translate_settings(config)
    if "hybrid" in found or found.get("recipe") == "hybrid":
        _rename_multitask(found)
    search = dict(found.get("search") or {})
    for record, names in MOVED.items():
        if search and record not in found:
            found[record] = {name: search[name] for name in names if name in search}
    if "reject_z" in search and "evolve" in found:
        found["evolve"] = {"reject_z": search["reject_z"], **found["evolve"]}
    if "evolve" in found:
        # Before, every action was tried, whatever it cost, and kept where it was not worse for sure.
        found["evolve"] = {**EVERY_ACTION, **found["evolve"]}
    moved = {name for names in MOVED.values() for name in names}
    if "optimizer" in found:
        found["optimizer"] = {**HELD_RATE, **found["optimizer"]}
    if search:
        found["search"] = {**UNPLANNED} | {name: value for name, value in search.items() if name not in moved}
    return found


def translate_phase(phase: str, recipe: str) -> str:
    """Name of a phase of a run of `recipe`."""
    return TRAINING if phase == SEARCH_PHASE and recipe != "aso-se" else phase


def translate_event(kind: str, payload: Mapping[str, Any], recipe: str = "aso-se") -> dict[str, Any]:
    """Payload of an event of a run of `recipe`."""
    names = EVENT_FIELDS.get(kind, {})
    found = {names.get(name, name): value for name, value in payload.items()}
    for (of, field), words in EVENT_VALUES.items():
        if of == kind and isinstance(found.get(field), str):
            found[field] = words.get(found[field], found[field])
    if kind == "phase" and isinstance(found.get("phase"), str):
        found["phase"] = translate_phase(found["phase"], recipe)
    info = found.get("info")
    if kind == "action" and isinstance(info, dict) and isinstance(info.get("changes"), list):
        found["info"] = {**info, "changes": [_change(text) for text in info["changes"]]}
    return found


def _change(text: Any) -> Any:
    """`operation {arguments}` of an action's event."""
    if not isinstance(text, str):
        return text
    name, space, rest = text.partition(" ")
    return f"{OPERATIONS.get(name, name)}{space}{rest}"


def translate_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan of surgery as JSON data."""
    found = dict(plan)
    if isinstance(found.get("op"), str):
        found["op"] = OPERATIONS.get(found["op"], found["op"])
    if isinstance(found.get("steps"), list):
        found["steps"] = [_renamed_kind(step, WRAPS) for step in found["steps"]]
    return found


def translate_steps(steps: list[Any]) -> list[Any]:
    """The plans of a checkpoint: what was done to its structure, in order."""
    return [_renamed_kind(step, STEPS) for step in steps]


def _renamed_kind(step: Any, kinds: Mapping[str, str]) -> Any:
    return (
        {**step, "kind": kinds.get(step["kind"], step["kind"])} if isinstance(step, dict) and "kind" in step else step
    )


def translate_head(head: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON beside a checkpoint's tensors; its settings are read through `translate_config`."""
    found = dict(head)
    if "morphs" in found:
        found.setdefault("plans", found.pop("morphs"))
    if isinstance(found.get("plans"), list):
        found["plans"] = translate_steps(found["plans"])
    if isinstance(found.get("training_history"), list):
        recipe = recipe_of(found.get("base"))
        found["training_history"] = [
            {**row, "phase": translate_phase(row["phase"], recipe)}
            if isinstance(row, dict) and isinstance(row.get("phase"), str)
            else row
            for row in found["training_history"]
        ]
    return found


def translate_state(value: Any) -> Any:
    """The state of a checkpoint, nested dicts, lists and tuples, with today's keys; tensors are the same objects."""
    if isinstance(value, dict):
        # The tensors of a module have the names that its author gave them.
        if all(hasattr(item, "dtype") for item in value.values()):
            return value
        return {STATE_KEYS.get(key, key): translate_state(item) for key, item in value.items()}
    return sequence_like(value, map(translate_state, value)) if isinstance(value, list | tuple) else value


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


def translate_loop_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """State of the training loop, as a checkpoint holds it, with today's keys."""
    found = dict(state)
    numbers = dict(found["numbers"])
    if "rng" not in found:
        found["rng"] = {"torch": found.pop("torch_rng")}
    if "split" not in found:
        part = numbers.pop("_part")
        found["split"] = SPLITS.get(part, part)
    # Before, an epoch had begun where a step of it was done, and nothing was told again.
    numbers.setdefault("_begun", numbers["batch"] > 0)
    numbers.setdefault("ended", False)
    found.setdefault("events", [])
    if isinstance(found["events"], list):
        # Before, no images were told: a run that goes on tells them then.
        found["events"] = {"recent": found["events"], "images_told": False}
    # Before, the layers were looked at on each epoch's first step.
    found["events"] = {"layers_due": 0, **found["events"]}
    if "network" in found["strategy"]:  # of a recipe that searches nothing
        numbers["_segment"] = numbers["_segment"].replace(SEARCH_PHASE, TRAINING)
        monitor = found["monitor"]
        found["monitor"] = {**monitor, "segment": monitor["segment"].replace(SEARCH_PHASE, TRAINING)}
    return {**found, "numbers": numbers}


def translate_piece(piece: Mapping[str, Any]) -> dict[str, Any]:
    """A piece of a measurement with its settings."""
    found: dict[str, Any] = translate_settings(piece)
    for old, new in (("morphs", "plans"), ("told", "events")):
        if old in found:
            found.setdefault(new, found.pop(old))
    if isinstance(found.get("plans"), list):
        found["plans"] = translate_steps(found["plans"])
    return found


def recipe_of(base: Any) -> str:
    """Recipe of a run, from its settings or from a checkpoint's base; aso-se where they say nothing."""
    config = base.get("config", base) if isinstance(base, Mapping) else {}
    return str(config.get("recipe", "aso-se")) if isinstance(config, Mapping) else "aso-se"
