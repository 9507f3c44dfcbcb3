"""Forty trials that load pretrained models on four children, every tensor held against the file; and the control.

The control is what the lab's guard is for: the same loads by four threads of one process, without it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lab.bench.encoders import HEADS, write_encoders
from lab.bench.settings import TuneBench
from lab.bench.tune_study import begun, environment, finish, settings
from lab.state import state_digest
from lab.text import load_pretrained
from lab.text.encoder import read_weights, weight_files
from lab.tune import Dimension
from lab.tune.evaluate import prepare

STEPS = 3
THREADS = 4
OBJECTIVES = ("loss", "meta", "differing")


def evaluate(task: Any, link: Any) -> Mapping[str, float]:
    """Load the trial's model, count what is not the file's, train it for a few steps.

    A file in the folder `found` has what was found of every tensor: `{"model": ..., "hashes": {name: SHA-256}, ...}`.
    """
    name = task.params["model"]
    model, _ = load_pretrained(task.base["folders"][name], HEADS[name])
    found = compare(model, Path(task.base["folders"][name]))
    # A trial is a process of its own.
    Path(task.base["found"], f"{os.getpid()}.json").write_text(json.dumps({"model": name, **found}))
    loss = _train(model, task.params["lr"])
    return {"loss": loss, "meta": float(len(found["meta"])), "differing": float(len(found["differing"]))}


def _prepare(base: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    for name, folder in base["folders"].items():
        load_pretrained(folder, HEADS[name])


evaluate.prepare = _prepare  # type: ignore[attr-defined]


def compose(task: Any, link: Any) -> Mapping[str, float]:
    """Compose the trial's run, up to its first step."""
    prepare(task.base)
    return {"score": 0.0}


compose.prepare = prepare  # type: ignore[attr-defined]


def compare(model: nn.Module, folder: Path) -> dict[str, Any]:
    """Hashes of the file's tensors in the model, those that differ, what is on meta, whether the tie holds."""
    own = dict(model.state_dict())
    hashes, differing = {}, []
    for name, value in read_weights(weight_files(folder)).items():
        if own[name].is_meta:
            differing.append(name)
            continue
        hashes[name] = state_digest(own[name])
        if hashes[name] != state_digest(value):
            differing.append(name)
    meta = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    head = getattr(model, "lm_head", None)
    tied = head is None or head.weight is model.get_input_embeddings().weight  # type: ignore[operator]
    return {"hashes": hashes, "differing": differing, "meta": meta, "tied": tied}


def _train(model: nn.Module, rate: float) -> float:
    """A few steps, whose loss is finite only where every weight has values."""
    ids = torch.arange(16)[None] % 7
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    loss = torch.zeros(())
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(ids)[0].square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def loads(config: TuneBench) -> dict[str, Any]:
    """A study of `config.trials` trials on four children, every tensor of every trial counted; and the two controls."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = {key: str(path) for key, path in write_encoders(folder / "encoders").items()}
        (folder / "found").mkdir()
        given = settings(
            folder,
            "",
            config.trials,
            base={"folders": folders, "found": str(folder / "found")},
            dimensions=(
                Dimension(field="model", choices=tuple(HEADS)),
                Dimension(field="lr", low=1e-3, high=1e-1, log=True),
            ),
            objectives=OBJECTIVES,
            directions=("minimize",) * len(OBJECTIVES),
            target="lab.bench.tune_loads:evaluate",
        )
        with begun(given) as process:
            study = finish(process)
        told = [json.loads(path.read_text()) for path in sorted((folder / "found").iterdir())]
        wanted = {key: _file_hashes(Path(path)) for key, path in folders.items()}
        return {
            "trials": config.trials,
            "complete": study["counts"]["complete"],
            "attempts": study["counts"]["attempts"],
            "models": {key: sum(each["model"] == key for each in told) for key in folders},
            "tensors": sum(len(each["hashes"]) for each in told),
            "tensors_of_a_model": {key: len(hashes) for key, hashes in wanted.items()},
            "equal": sum(each["hashes"] == wanted[each["model"]] and each["tied"] for each in told),
            "meta": sum(len(each["meta"]) for each in told),
            "threads_unguarded": _threads(folders, config.trials, guarded=False),
            "threads_guarded": _threads(folders, config.trials, guarded=True),
        }


def _file_hashes(folder: Path) -> dict[str, str]:
    return {name: state_digest(value) for name, value in read_weights(weight_files(folder)).items()}


def _threads(folders: Mapping[str, str], count: int, *, guarded: bool) -> dict[str, int]:
    """The same number of loads by four threads of a process of their own; how many were not what their file says."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "found.json")
        request = json.dumps({"folders": dict(folders), "count": count, "guarded": guarded, "out": str(out)})
        command = [sys.executable, "-m", "lab.bench.tune_loads", request]
        subprocess.run(command, capture_output=True, check=True, env=environment())
        found: dict[str, int] = json.loads(out.read_text())
    return found


def load_in_threads(folders: Mapping[str, str], count: int, *, guarded: bool) -> dict[str, int]:
    """`count` loads by four threads at once, in this process, which they may spoil; how many were spoilt, or raised."""
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import nullcontext

    import transformers

    from lab.device import load_guard

    kinds = {"roberta": transformers.AutoModel, "gpt2": transformers.AutoModelForCausalLM}

    def load(number: int) -> str:
        name = list(folders)[number % len(folders)]
        with load_guard() if guarded else nullcontext():
            try:
                model = kinds[name].from_pretrained(folders[name], local_files_only=True)
            except (NotImplementedError, RuntimeError, AttributeError, KeyError, ValueError):
                return "raised"
        found = compare(model, Path(folders[name]))
        return "bad" if found["differing"] or found["meta"] or not found["tied"] else "good"

    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(load, range(count)))
    return {"loads": count, "threads": THREADS, **{kind: told.count(kind) for kind in ("good", "bad", "raised")}}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    counts = load_in_threads(given["folders"], given["count"], guarded=given["guarded"])
    Path(given["out"]).write_text(json.dumps(counts))
