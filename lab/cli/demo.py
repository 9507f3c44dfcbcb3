"""`lab demo`."""

import json
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import lab.nn
import lab.runs
from lab.asose import ASOSEConfig
from lab.base import ConfigError, ReportTable
from lab.cli.dashboard import PORT, show, stay
from lab.cli.parse import parse
from lab.datasets import DataConfig
from lab.runs import RunConfig
from lab.space import Genotype
from lab.store import RUNS_ROOT, RunReader, new_run_name
from lab.train import DeviceConfig, OptimizerConfig

if TYPE_CHECKING:
    from lab.runs import RunReport

RESULT = "demo.json"
SHOWS = ("replay", "headless", "port", "browser", "json")
"""Options that say how something is shown; the others say how it is trained."""
EXAMPLES = ("lab demo", "lab demo --replay", "lab demo --headless --json")

START, FACTOR = 4, 2.0
"""Channels of the first stage at first, and how much wider each stage becomes."""
GROWN_CYCLES = (2, 3, 4)
"""Cycles that begin with a wider stage: early, so that all weights are trained at a high rate."""
FIXED = {
    "start": "its first network, never changed",
    "six": "six 3x3 convolutions, final width",
    "final": "its final network, from scratch",
}
"""The fixed networks beside the evolved one: name -> what it is."""


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """A network grows while it trains; a change does not move its output at that moment.

    Scores of untrained networks name its cell, in seconds. It trains on scikit-learn's handwritten digits, begins with
    half of its width, and each of its three stages becomes twice as wide in the first third of the run, live on the
    page. Then three fixed networks get the same compute: the first network never changed, six 3x3 convolutions of the
    final width, and the final network from scratch.
    """

    replay: bool = False
    """Train nothing: show a recorded run on the wall, one screen for a projector, in seconds."""
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
    cycles: int = 4
    """Cycles of exploration, change and training. The second, third and fourth begin with a wider stage, each after the
    first with another cell on trial where the data can tell; with fewer than four nothing grows."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    port: int = PORT
    """Port of the page on 127.0.0.1."""
    browser: bool = True
    """Open a browser window."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        if not self.replay:
            return
        trains = [row for row in fields(self) if row.name not in SHOWS and getattr(self, row.name) != row.default]
        if trains:
            flags = ", ".join(f"--{row.name.replace('_', '-')}" for row in trains)
            raise ConfigError("no option of a training beside --replay", flags, f"remove {flags}: nothing is trained")


def demo_config(command: DemoCommand) -> RunConfig:
    """The run of the demo."""
    grows = command.cycles >= max(GROWN_CYCLES)
    search = ASOSEConfig(
        arch_training_epochs=1,
        weight_training_epochs=2,
        total_cycles=command.cycles,
        retraining_epochs=24,
        growth="width" if grows else "none",
        growth_factor=FACTOR,
        growth_schedule=GROWN_CYCLES if grows else (),
    )
    data = DataConfig(
        name=command.dataset, data_dir=command.data_dir, seed=command.seed, train_limit=command.train_limit
    )
    return RunConfig(
        data=data,
        search=search,
        optimizer=OptimizerConfig(weight_lr=0.05),
        devices=DeviceConfig(device=command.device),
        init_channels=START,
        batch_size=32,
        seed=command.seed,
        threads=command.threads,
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    command = parse(DemoCommand, arguments, prog="lab demo", examples=EXAMPLES)
    if command.replay:
        from lab.cli.replay import replay

        return replay(port=command.port, headless=command.headless, browser=command.browser, as_json=command.json)
    from lab.cli.serve import dashboard_server

    name = new_run_name(command.save_dir, "demo")
    with ExitStack() as stack:
        if not command.headless:
            address = stack.enter_context(dashboard_server(command.port, command.save_dir))
            show(f"{address}/?run={name}", browser=command.browser)
        reports = compare_networks(demo_config(command), command.save_dir, name)
        result = {each: report.to_dict() for each, report in reports.items()}
        evolved = reports["evolved"]
        (Path(evolved.run_dir) / RESULT).write_text(json.dumps(result, indent=2), encoding="utf-8")
        sys.stdout.write(json.dumps(result, indent=2) + "\n" if command.json else f"{summary(reports)}\n")
        sys.stdout.flush()
        if not command.headless and evolved.state == "finished":
            stay()
    return 0


def compare_networks(config: RunConfig, save_dir: Path, name: str) -> "dict[str, RunReport]":
    """Train the evolving network, then the fixed ones with the same compute; their reports by name.

    A run that a person stops is the only one.
    """
    evolved = _train(config, save_dir, name)
    reports = {"evolved": evolved}
    if evolved.state == "finished":
        for each, fixed in fixed_configs(config, evolved, save_dir / name).items():
            reports[each] = _train(fixed, save_dir, f"{name}-{each}")
    return reports


def _train(config: RunConfig, save_dir: Path, name: str) -> "RunReport":
    # Torch and rich take seconds to import; the help page does without.
    from lab.cli.progress import TrainingProgress

    with TrainingProgress() as progress:
        return lab.runs.Run(config, save_dir=save_dir, name=name, observer=progress).execute()


def fixed_configs(config: RunConfig, evolved: "RunReport", run_dir: Path) -> dict[str, RunConfig]:
    """The runs of the fixed networks, each with as many whole epochs as the compute of `evolved` pays for, rounded up.

    Args:
        config: of the evolved network.
        evolved: how it ended.
        run_dir: its folder, which tells its first cell.
    """
    streams = lab.runs.build(config).streams
    told = RunReader(run_dir).events(kinds=("genotype",)).events
    first, last = config.init_channels, config.init_channels
    # Stages grow in turn: once all have, the network is as one that was made so wide.
    if evolved.network["growths"] == lab.nn.STAGES:
        last = round(first * config.search.growth_factor)
    sizes = {
        "start": (Genotype.from_json(told[0].payload["genotype"]), first),
        "six": (lab.nn.six_convolutions(), last),
        "final": (Genotype.from_json(evolved.network["genotype"]), last),
    }
    found = {}
    for each, (cell, channels) in sizes.items():
        network = lab.nn.EvolvableNetwork(
            cell,
            channels=channels,
            layers=config.layers,
            num_classes=streams.bundle.num_classes,
            in_channels=streams.bundle.shape[0],
        )
        epochs = math.ceil(evolved.network["compute"] / lab.runs.epoch_operations(network, streams))
        found[each] = replace(config, recipe="fixed", fixed_cell=cell.arch_str, init_channels=channels, epochs=epochs)
    return found


def summary(reports: "dict[str, RunReport]") -> ReportTable:
    """The networks side by side."""
    evolved = reports["evolved"]
    if evolved.state != "finished":
        return evolved.tables()[0]
    mutations = evolved.network["mutations"]
    rows = tuple(
        (
            FIXED.get(name, "grown while it trained"),
            f"{report.network['parameters']:,}",
            f"{report.epochs}",
            f"{report.steps}",
            f"{report.seconds:.0f} s",
            f"{report.test_accuracy:.2%}",
        )
        for name, report in reports.items()
    )
    notes = (
        f"{evolved.dataset}: {evolved.network['growths']} stages became wider, {mutations['applied']} cells tried, "
        f"{mutations['accepted']} kept; largest output change at a change "
        f"{evolved.network['largest_difference']:.1e} (relative, eval mode)",
        f"equal compute: {evolved.network['compute'] / 1e9:,.0f} GFLOP each (fixed networks: whole epochs)",
        f"runs in {Path(evolved.run_dir).parent}",
    )
    columns = ("network", "parameters", "epochs", "steps", "time", "test accuracy")
    return ReportTable(title="lab demo", columns=columns, rows=rows, notes=notes)
