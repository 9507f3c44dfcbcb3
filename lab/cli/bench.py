"""`lab bench`."""

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import tyro

from lab.base import ConfigError, require_choice

BENCHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "supernet": ("SupernetBench", "supernet step: chosen primitives alone against the full mixture"),
        "overhead": ("OverheadBench", "training with store and monitor against the bare loop"),
        "store": ("StoreBench", "rows a second, reading beside a writing trainer, reading after a kill"),
        "doctor": ("DoctorBench", "training steps under explain_backward and anomaly mode, against bare ones"),
        "morph": ("MorphBench", "surgery: plan, apply, roll back, in training steps of the same model"),
        "table": ("TableBench", "every cell of a small space trained on digits: a true table of the lab's own"),
        "search": ("SearchBench", "searches on a CPU proxy at one budget, the found cells looked up in the table"),
        "remedies": ("RemediesBench", "options of exploration on 125 cells, judged by the lab's own table"),
        "strategies": ("StrategiesBench", "search strategies on a table alone, hundreds of seeds in seconds"),
        "ablation": (
            "AblationBench",
            "the search without one of its phases, or without its transition, at equal time",
        ),
        "growth": ("GrowthBench", "a network that grows while it trains against what came out, from scratch"),
        "agent": ("AgentBench", "the agent on tables of known accuracies, beside searches and beside no learning"),
        "evolve": ("EvolveBench", "the agent on a live network against random actions, a schedule and no change"),
        "scores": ("ScoresBench", "do scores of information say where a change pays, beside trivial ones"),
        "moe": ("MoeBench", "a mixture of experts against Mixtral's block in transformers"),
        "loading": ("LoadingBench", "batches from the training process or from worker processes"),
        "dashboard": ("DashboardBench", "from the trainer to the page, and from the button to the trainer"),
    }
)
"""Name -> its configuration in `lab.bench.NAME`, and what it measures."""


def overview() -> str:
    """What `lab bench --help` prints."""
    width = max(map(len, BENCHES))
    rows = "\n".join(f"  {name.ljust(width)}  {text}" for name, (_, text) in BENCHES.items())
    return (
        "usage: lab bench NAME [options] [--out FOLDER] [--json]\n\n"
        f"{rows}\n\n"
        "A figure is a ratio within one run where it can be: machines are noisy.\n"
        "--out writes NAME.json into FOLDER (the project's own results lie in docs/results).\n"
        "lab bench NAME --help explains the options of one.\n"
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return 0
    name, rest = arguments[0], list(arguments[1:])
    require_choice("bench", name, BENCHES.keys())
    module = importlib.import_module(f"lab.bench.{name}")
    config_type = getattr(module, BENCHES[name][0])

    def options(
        config: Annotated[config_type, tyro.conf.arg(name="")] = config_type(),  # type: ignore[valid-type]  # noqa: B008
        out: Path | None = None,
        json: bool = False,
    ) -> tuple[Any, Path | None, bool]:
        """Measure.

        Args:
            config: settings of the measurement.
            out: folder into which NAME.json is written.
            json: print the result as JSON.
        """
        return config, out, json

    config, out, as_json = tyro.cli(options, args=rest, prog=f"lab bench {name}", config=(tyro.conf.OmitArgPrefixes,))
    result = module.run(config)
    if out is not None:
        texts = {f"{name}.json": json.dumps(result, indent=2) + "\n"}
        if hasattr(module, "figure"):
            texts[f"{name}.svg"] = module.figure(result)
        _write(out, texts)
    text = json.dumps(result, indent=2) if as_json else str(module.summary(result))
    sys.stdout.write(text + "\n")
    return 0


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("a folder that can be written", str(error), "give another --out") from error
