"""`lab demo`."""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import lab.nn
import lab.runs
from lab.asose import ASOSEConfig
from lab.base import ReportTable
from lab.cli.dashboard import PORT, show, stay
from lab.cli.parse import parse
from lab.datasets import DataConfig
from lab.runs import RunConfig
from lab.store import RUNS_ROOT, new_run_name
from lab.train import DeviceConfig, OptimizerConfig

if TYPE_CHECKING:
    from lab.runs import RunReport

RESULT = "demo.json"


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """A network grows on real data, in four phases; a mutation does not change its output at that moment.

    Trains on scikit-learn's handwritten digits and opens the live page, then trains a fixed network of the same size
    for the same number of epochs, for comparison.
    """

    headless: bool = False
    """Do not open the dashboard."""
    dataset: str = "digits"
    """Data set, as for lab train."""
    data_dir: str = "data"
    """Folder of downloaded data sets."""
    train_limit: int | None = None
    """Limit the number of training samples."""
    seed: int = 0
    """Run seed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    threads: int = 0
    """CPU threads; 0 leaves one core free for the page."""
    cycles: int = 5
    """Cycles of exploration, mutation and retraining; each cycle after the first has one mutation."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    port: int = PORT
    """Port of the page on 127.0.0.1."""
    browser: bool = True
    """Open a browser window."""
    json: bool = False
    """Print the result as JSON."""


def demo_config(command: DemoCommand) -> RunConfig:
    """The run of the demo."""
    search = ASOSEConfig(
        warmup_epochs=8,
        arch_training_epochs=3,
        weight_training_epochs=8,
        total_cycles=command.cycles,
        arch_lr=0.05,
        initial_temp=3.0,
        min_temp=0.3,
    )
    data = DataConfig(
        name=command.dataset, data_dir=command.data_dir, seed=command.seed, train_limit=command.train_limit
    )
    return RunConfig(
        data=data,
        search=search,
        optimizer=OptimizerConfig(weight_lr=0.05),
        devices=DeviceConfig(device=command.device),
        batch_size=32,
        seed=command.seed,
        threads=command.threads,
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    command = parse(DemoCommand, arguments, prog="lab demo", examples=("lab demo", "lab demo --headless --json"))
    from lab.cli.serve import dashboard_server

    name = new_run_name(command.save_dir, "demo")
    with ExitStack() as stack:
        if not command.headless:
            address = stack.enter_context(dashboard_server(command.port, command.save_dir))
            show(f"{address}/?run={name}", browser=command.browser)
        evolved, fixed = compare_networks(demo_config(command), command.save_dir, name)
        result = {"evolved": evolved.to_dict(), "fixed": fixed.to_dict()}
        (Path(evolved.run_dir) / RESULT).write_text(json.dumps(result, indent=2), encoding="utf-8")
        sys.stdout.write(json.dumps(result, indent=2) + "\n" if command.json else f"{summary(evolved, fixed)}\n")
        # The page may stay up for hours; a pipe gets the result before.
        sys.stdout.flush()
        if not command.headless and evolved.state == "finished":
            stay()
    return 0


def compare_networks(config: RunConfig, save_dir: Path, name: str) -> "tuple[RunReport, RunReport]":
    """Train the evolving network, then a fixed one of the same size for the same epochs."""
    # Torch and rich take seconds to import; the help page does without.
    from lab.cli.progress import TrainingProgress

    with TrainingProgress() as progress:
        evolved = lab.runs.Run(config, save_dir=save_dir, name=name, observer=progress).execute()
    if evolved.state != "finished":
        return evolved, evolved
    fixed_config = fixed_baseline(config, evolved)
    with TrainingProgress() as progress:
        fixed = lab.runs.Run(fixed_config, save_dir=save_dir, name=f"{name}-fixed", observer=progress).execute()
    return evolved, fixed


def fixed_baseline(config: RunConfig, evolved: "RunReport") -> RunConfig:
    """The run of six 3x3 convolutions nearest in size to the evolved network, for the same epochs."""
    bundle = lab.runs.build(config).streams.bundle
    # Fewer or more channels, not layers: the depth stays that of the evolved network.
    channels = lab.nn.channels_for(
        lab.nn.six_convolutions(),
        evolved.network["parameters"],
        layers=config.layers,
        num_classes=bundle.num_classes,
        in_channels=bundle.shape[0],
    )
    return replace(config, recipe="fixed", init_channels=channels, epochs=evolved.epochs)


def summary(evolved: "RunReport", fixed: "RunReport") -> ReportTable:
    """The two networks side by side."""
    if evolved.state != "finished":
        return evolved.tables()[0]
    mutations = evolved.network["mutations"]
    rows = tuple(
        (
            title,
            f"{report.network['parameters']:,}",
            f"{report.epochs}",
            f"{report.steps}",
            f"{report.seconds:.0f} s",
            f"{report.test_accuracy:.2%}",
        )
        for title, report in (("evolved while it trained", evolved), ("fixed, six 3x3 convolutions", fixed))
    )
    notes = (
        f"{evolved.dataset}: {mutations['applied']} mutations, {mutations['accepted']} accepted, "
        f"{mutations['rejected']} rolled back; largest output change at a mutation "
        f"{evolved.network['largest_difference']:.1e} (relative, eval mode)",
        f"runs in {Path(evolved.run_dir).parent}",
    )
    columns = ("network", "parameters", "epochs", "steps", "time", "test accuracy")
    return ReportTable(title="lab demo", columns=columns, rows=rows, notes=notes)
