"""`lab train`."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from lab.agent import EvolveConfig
from lab.asose import ASOSEConfig
from lab.base import ConfigError
from lab.cli.progress import TrainingProgress
from lab.datasets import DataConfig, describe, describe_multitask
from lab.device import choose_device
from lab.multitask import HybridConfig
from lab.runs import RECIPES, RECORDS, Run, RunConfig, find_checkpoint, run_device, saved_config
from lab.space import SPACES
from lab.store import RUNS_ROOT
from lab.train import CheckpointConfig, DeviceConfig, OptimizerConfig, open_group

_DEFAULT = RunConfig()


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Train and evolve a network.

    Ctrl-C ends the run at the next step and leaves a checkpoint; --resume goes on from it with the same bits.
    The dashboard (lab dashboard) follows the run from another process. Several GPUs or machines:
    torchrun --nproc-per-node N -m lab.cli train ...; every rank takes its share of each batch.
    """

    dataset: str = "digits"
    """digits, shapes (synthetic), fashion-mnist, mnist, cifar10, cifar100, svhn, a .npz file or an image folder; for
    recipe hybrid multitask: real records with synthetic texts."""
    data_dir: str = "data"
    """Folder where downloaded sets are looked for."""
    download: bool = False
    """Fetch the data set into --data-dir where it is missing."""
    train_limit: int | None = None
    """Use only so many training samples."""
    epochs: int | None = None
    """End after so many epochs; default: the whole plan of phases."""
    batch_size: int = _DEFAULT.batch_size
    """Samples in a training batch."""
    init_channels: int = _DEFAULT.init_channels
    """Channels of the first stage."""
    layers: int = _DEFAULT.layers
    """Searched cells, split over three stages."""
    space: str = _DEFAULT.space
    """Search space: nb201, nb125 or darts."""
    recipe: str = _DEFAULT.recipe
    """aso-se; fixed: one network of a fixed cell, the baseline; agent: the evolution agent changes a live network (lab
    evolve); hybrid: a model of text and a table learns several tasks at once (--dataset multitask)."""
    fixed_cell: str = ""
    """For recipe fixed: the cell, |op~0|+... or Genotype(normal=[...], ...) for darts; empty for the baseline."""
    search: Annotated[ASOSEConfig, tyro.conf.arg(name="")] = field(default_factory=ASOSEConfig)
    optimizer: Annotated[OptimizerConfig, tyro.conf.arg(name="")] = field(default_factory=OptimizerConfig)
    checkpoints: Annotated[CheckpointConfig, tyro.conf.arg(name="")] = field(default_factory=CheckpointConfig)
    devices: Annotated[DeviceConfig, tyro.conf.arg(name="")] = field(default_factory=DeviceConfig)
    evolve: Annotated[EvolveConfig, tyro.conf.arg(name="")] = field(default_factory=EvolveConfig)
    hybrid: Annotated[HybridConfig, tyro.conf.arg(name="")] = field(default_factory=HybridConfig)
    seed: int = 0
    """Run seed; every random stream follows from it."""
    precision: str = _DEFAULT.precision
    """float32, bf16, or fp16 with a gradient scaler, for the forward pass of the weights' steps."""
    grad_accum_steps: int = _DEFAULT.grad_accum_steps
    """Parts into which a batch is cut, their gradients summed before the one optimizer step."""
    adaptive_batch: str = _DEFAULT.adaptive_batch
    """Where memory runs out in a step, repeat that step in smaller parts with the same gradient: on, off or auto (on
    for CUDA)."""
    compile: bool = False
    """Compile the live network with torch.compile, again after each change of its structure."""
    workers: int = _DEFAULT.workers
    """Processes that prepare batches; 0 prepares them in the training process."""
    on_oom: str = _DEFAULT.on_oom
    """Where the networks cannot be created for want of memory: stop, smaller (fewer channels) or cpu."""
    threads: int = 0
    """CPU threads; 0 leaves one core free for the page. The bits of a run depend on it."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    name: str = ""
    """Folder of this run inside --save-dir; default: date and time."""
    resume: str = ""
    """Go on: latest, best, a run's folder or a checkpoint file. Settings come from the checkpoint."""
    allow_different_bits: bool = False
    """Resume on another machine, torch build or thread count, where the bits may differ."""
    detect_anomaly: bool = False
    """Run under torch's anomaly detection: slower, names the operation whose gradient is NaN."""
    json: bool = False
    """Print the report as JSON."""
    describe: bool = False
    """List recipes, spaces, data sets and devices instead of training."""

    def config(self) -> RunConfig:
        """The run that the flags describe."""
        same = {item.name for item in dataclasses.fields(RunConfig)} & {
            item.name for item in dataclasses.fields(TrainCommand)
        }
        data = DataConfig(
            name=self.dataset,
            data_dir=self.data_dir,
            download=self.download,
            train_limit=self.train_limit,
            seed=self.seed,
        )
        return RunConfig(data=data, **{name: getattr(self, name) for name in same})


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    return execute(arguments, prog="lab train", description=TrainCommand.__doc__ or "")


def execute(arguments: Sequence[str], *, prog: str, description: str) -> int:
    """Run a training command that calls itself `prog`; the exit code."""
    command = tyro.cli(
        TrainCommand, args=list(arguments), prog=prog, description=description, config=(tyro.conf.OmitArgPrefixes,)
    )
    if command.describe:
        return _describe(command)
    config = command.config()
    resume = None
    if command.resume:
        resume = find_checkpoint(command.resume, command.save_dir)
        config = _resumed(config, saved_config(resume))
    with open_group(run_device(config)) as group, ExitStack() as stack:
        training = Run(
            config,
            save_dir=command.save_dir,
            name=command.name,
            resume=resume,
            allow_different_bits=command.allow_different_bits,
            observer=stack.enter_context(TrainingProgress()) if group.rank == 0 else None,
            group=group,
        )
        report = training.execute()
        if group.rank > 0:
            return 0
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return 0


def _resumed(given: RunConfig, saved: RunConfig) -> RunConfig:
    """The saved settings; flags may repeat them, other values are refused."""
    different = [
        f"{name} {value} for {saved_value}"
        for name, value, default, saved_value in _settings(given, saved)
        if value not in (default, saved_value)
    ]
    if different:
        raise ConfigError(
            "the settings that the run was started with", ", ".join(different), "leave these flags away to resume"
        )
    return saved


def _settings(given: RunConfig, saved: RunConfig) -> list[tuple[str, Any, Any, Any]]:
    default = RunConfig()
    rows: list[tuple[str, Any, Any, Any]] = []
    parts: list[tuple[Any, Any, Any]] = [(given, default, saved)]
    parts += [tuple(getattr(each, name) for each in (given, default, saved)) for name in RECORDS if name != "monitor"]
    for one, two, three in parts:
        for item in dataclasses.fields(one):
            if item.name not in RECORDS or one is not given:
                rows.append((item.name, *(getattr(part, item.name) for part in (one, two, three))))
    return rows


def _describe(command: TrainCommand) -> int:
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    payload: dict[str, Any] = {
        "recipes": list(RECIPES),
        "spaces": list(SPACES),
        "datasets": [*describe(command.data_dir), describe_multitask()],
        "devices": devices,
        "device": str(choose_device().device),
    }
    if command.json:
        sys.stdout.write(json.dumps(payload, indent=2) + "\n")
    else:
        for key in ("recipes", "spaces", "devices"):
            sys.stdout.write(f"{key}: {', '.join(payload[key])}\n")
        for item in payload["datasets"]:
            sys.stdout.write("data set " + ", ".join(f"{name} {value}" for name, value in item.items()) + "\n")
    return 0
