"""The recipes of `lab train`, each with its own options.

A record is made of parts: what belongs to several recipes is written once. No part imports torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.agent import EvolveConfig
from lab.asose import ASOSEConfig
from lab.cli.options import flags_of
from lab.datasets import MULTITASK, SENTENCES, DataConfig
from lab.multitask import MultitaskConfig
from lab.runs import RECORDS, RunConfig
from lab.store import RUNS_ROOT
from lab.text import TextConfig
from lab.train import CheckpointConfig, DeviceConfig, OptimizerConfig

_DEFAULT = RunConfig()
COMMON = frozenset(
    {
        *("budget", "plan", "epochs", "seed", "save_dir", "resume", "describe"),
        *("dataset", "download", "space", "init_channels", "fixed_cell"),
        *("total_cycles", "model", "policy", "evolve_every", "weighting", "experts"),
        *("task", "encoder", "label_column", "label_value", "span_column", "pooling"),
        *("batch_size", "weight_lr", "device"),
    }
)
"""Options that most runs need: those of the short help page."""


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """The run: length, seed, folder."""

    epochs: int | None = None
    """Stop after N epochs; default: the whole plan of phases."""
    seed: int = 0
    """Run seed; every random stream follows from it."""
    threads: int = 0
    """CPU threads; 0 leaves one core free for the page. Results depend on it in the last bits."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    name: str = ""
    """Folder of this run inside --save-dir; default: date and time."""
    resume: str = ""
    """Resume from: latest, best, a run's folder or a checkpoint file. Settings come from the checkpoint."""
    from_study: str = ""
    """Take the settings of the best trial of this study of lab tune: its folder, or its name in studies/. Options
    given beside it replace single ones."""
    extend: int | None = None
    """With --resume of a finished run: train this many epochs more."""
    allow_different_bits: bool = False
    """Resume on another machine, torch build or thread count; results may then differ in the last bits."""
    detect_anomaly: bool = False
    """Run under torch's anomaly detection: slower, reports the operation whose gradient is NaN."""
    export: tuple[str, ...] = ()
    """Tell the run to another tool too: tensorboard or trackio, where it is installed; or both."""
    json: bool = False
    """Print the report as JSON."""
    describe: bool = False
    """List recipes, spaces, data sets and devices instead of training."""


@dataclass(frozen=True, kw_only=True)
class PlannedRunFlags(RunFlags):
    """The run: budget or length, seed, folder."""

    budget: str = ""
    """What the run may spend, as 90s, 5m, 2h (time of training, measured once) or 447GF, 2TF (operations); width and
    length are planned for it. Default: 2m, unless --epochs or phases are given."""
    plan: bool = False
    """Print the plan with its reasons, and do not train."""
    epochs: int | None = None
    """Stop after N epochs, planning nothing; default: what the budget pays for."""


@dataclass(frozen=True, kw_only=True)
class UnphasedRunFlags(RunFlags):
    """The run: length, seed, folder."""

    epochs: int | None = None
    """Stop after N epochs; default: 65, the default plan of aso-se."""


@dataclass(frozen=True, kw_only=True)
class TextRunFlags(RunFlags):
    """The run: length, seed, folder."""

    epochs: int | None = 10
    """Stop after N epochs."""


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """The data set."""

    dataset: str = "digits"
    """digits, shapes (synthetic), fashion-mnist, mnist, cifar10, cifar100, svhn, a .npz file or an image folder."""
    data_dir: str = "data"
    """Folder of downloaded data sets."""
    download: bool = False
    """Download a missing data set into --data-dir."""
    train_limit: int | None = None
    """Limit the number of training samples."""

    def config(self, seed: int) -> DataConfig:
        """The data of a run."""
        return DataConfig(
            name=self.dataset,
            data_dir=self.data_dir,
            download=self.download,
            train_limit=self.train_limit,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class RecordFlags:
    """The data set."""

    dataset: str = MULTITASK
    """multitask: real records with synthetic texts."""

    def config(self, seed: int) -> DataConfig:
        """The data of a run."""
        return DataConfig(name=self.dataset, seed=seed)


@dataclass(frozen=True, kw_only=True)
class SentenceFlags:
    """The table of sentences."""

    dataset: str = SENTENCES
    """Path of a .tsv, .csv or .jsonl table, or sentences: synthetic ones."""
    train_share: float = 0.7
    """Share of the sentences outside the test split that train the weights; the three shares sum to 1."""
    search_share: float = 0.15
    """Share that is kept for decisions outside this run; this recipe does not read it."""
    selection_share: float = 0.15
    """Share that is read after each epoch."""

    def config(self, seed: int) -> DataConfig:
        """The data of a run."""
        return DataConfig(
            name=self.dataset,
            seed=seed,
            train_share=self.train_share,
            search_share=self.search_share,
            selection_share=self.selection_share,
        )


@dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """The network."""

    space: str = _DEFAULT.space
    """Search space: nb201, nb125 or darts."""
    init_channels: int | None = None
    """Channels of the first stage; default: planned for the budget, 16 with --epochs or phases."""
    layers: int = _DEFAULT.layers
    """Searched cells, split over three stages."""


@dataclass(frozen=True, kw_only=True)
class FixedNetworkFlags(NetworkFlags):
    """The network."""

    layers: int = _DEFAULT.layers
    """Cells, split over three stages."""
    fixed_cell: str = ""
    """The cell: |op~0|+..., or Genotype(normal=[...], ...) for darts; empty for the baseline."""


@dataclass(frozen=True, kw_only=True)
class LiveNetworkFlags:
    """The network."""

    init_channels: int = _DEFAULT.init_channels
    """Units of the first layer of small_cnn."""


@dataclass(frozen=True, kw_only=True)
class StepFlags:
    """A training step: batch size, mixed precision."""

    batch_size: int = _DEFAULT.batch_size
    """Samples in a training batch."""
    precision: str = _DEFAULT.precision
    """float32, bf16, or fp16 with a gradient scaler, for the forward pass of the weights' steps."""


@dataclass(frozen=True, kw_only=True)
class ImageStepFlags(StepFlags):
    """A training step: mixed precision, gradient accumulation, memory."""

    grad_accum_steps: int = _DEFAULT.grad_accum_steps
    """Number of micro-batches of a batch, whose gradients are summed before the optimizer step."""
    adaptive_batch: str = _DEFAULT.adaptive_batch
    """If memory runs out in a step, repeat it in smaller micro-batches with the same gradient: on, off or auto (on for
    CUDA)."""
    compile: bool = False
    """Compile the live network with torch.compile, again after each change of its structure."""
    workers: int = _DEFAULT.workers
    """Processes that prepare batches; 0 prepares them in the training process."""
    on_oom: str = _DEFAULT.on_oom
    """What to do if memory runs out when the networks are created: stop, smaller (fewer channels) or cpu."""


@dataclass(frozen=True, kw_only=True)
class TextStepFlags(StepFlags):
    """A training step: mixed precision, gradient accumulation, memory."""

    grad_accum_steps: int = _DEFAULT.grad_accum_steps
    """Number of micro-batches of a batch, whose gradients are summed before the optimizer step."""
    adaptive_batch: str = _DEFAULT.adaptive_batch
    """If memory runs out in a step, repeat it in smaller micro-batches with the same gradient: on, off or auto (on for
    CUDA)."""


@dataclass(frozen=True, kw_only=True)
class AdamWFlags(OptimizerConfig):
    """The optimizer of the weights: AdamW."""

    weight_lr: float = 5e-4
    """Initial learning rate, at most 0.01; 5e-5 suits a pretrained encoder."""
    weight_momentum: float = 0.9
    """First beta of AdamW, in (0, 1)."""
    weight_decay: float = 0.01
    """Weight decay of the matrices, >= 0; biases and norms do not decay."""
    grad_clip: float = 1.0
    """Largest norm of the weights' gradient, > 0."""


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """ASO-SE, alternating search of an architecture: the network changes its cells while it trains."""

    run: PlannedRunFlags = field(default_factory=PlannedRunFlags)
    data: DataFlags = field(default_factory=DataFlags)
    network: NetworkFlags = field(default_factory=NetworkFlags)
    search: ASOSEConfig = field(default_factory=ASOSEConfig)
    step: ImageStepFlags = field(default_factory=ImageStepFlags)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True, kw_only=True)
class FixedFlags:
    """One network of a fixed cell: the baseline."""

    run: PlannedRunFlags = field(default_factory=PlannedRunFlags)
    data: DataFlags = field(default_factory=DataFlags)
    network: FixedNetworkFlags = field(default_factory=FixedNetworkFlags)
    step: ImageStepFlags = field(default_factory=ImageStepFlags)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True, kw_only=True)
class AgentFlags:
    """The evolution agent changes a live network while it trains, and keeps changes that help.

    Every change is a trial: the changed network is compared with a control copy on held-out samples. Rejected changes
    are rolled back, bit for bit. The baselines are --policy random, schedule and none.
    """

    run: UnphasedRunFlags = field(default_factory=UnphasedRunFlags)
    data: DataFlags = field(default_factory=DataFlags)
    network: LiveNetworkFlags = field(default_factory=LiveNetworkFlags)
    evolve: EvolveConfig = field(default_factory=EvolveConfig)
    step: ImageStepFlags = field(default_factory=ImageStepFlags)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True, kw_only=True)
class MultitaskFlags:
    """One MAHIA-X model of a text and a table learns several tasks at once."""

    run: UnphasedRunFlags = field(default_factory=UnphasedRunFlags)
    data: RecordFlags = field(default_factory=RecordFlags)
    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    step: StepFlags = field(default_factory=StepFlags)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True, kw_only=True)
class TextFlags:
    """A classifier on a pretrained encoder learns from sentences: their class, the span that is the evidence, or both.

    Every tensor of the encoder is proven to be the one in its file before training. Needs the extra text.
    """

    run: TextRunFlags = field(default_factory=TextRunFlags)
    data: SentenceFlags = field(default_factory=SentenceFlags)
    text: TextConfig = field(default_factory=TextConfig)
    step: TextStepFlags = field(default_factory=TextStepFlags)
    optimizer: AdamWFlags = field(default_factory=AdamWFlags)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe of `lab train`."""

    flags: type
    """Its options."""
    examples: tuple[str, ...]
    """What follows `lab train`."""


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "aso-se": Recipe(
            flags=SearchFlags,
            examples=(
                "--dataset digits --save-dir runs",
                "--warmup-epochs 8 --total-cycles 3 --growth depth,width",
                "--resume latest",
            ),
        ),
        "fixed": Recipe(flags=FixedFlags, examples=("fixed --epochs 30", "fixed --space darts --init-channels 8")),
        "agent": Recipe(
            flags=AgentFlags,
            examples=("agent --model resnet18 --dataset cifar10", "agent --model my_package.networks:make_model"),
        ),
        "multitask": Recipe(flags=MultitaskFlags, examples=("multitask --weighting gradnorm",)),
        "text": Recipe(
            flags=TextFlags,
            examples=(
                "text --epochs 5",
                "text --encoder path/to/encoder --dataset table.tsv --label-column intent --weight-lr 5e-5",
            ),
        ),
    }
)
"""Recipe -> its options; `lab.runs.build` has the factory of each."""


def homes(flag: str) -> list[str]:
    """The commands that take `flag`."""
    return [f"lab train {name}" for name, recipe in RECIPES.items() if flag in flags_of(recipe.flags)]


def run_config(recipe: str, command: Any) -> RunConfig:
    """The run that the options of a recipe describe."""
    own = {item.name for item in dataclasses.fields(RunConfig)}
    fields: dict[str, Any] = {"recipe": recipe, "data": command.data.config(command.run.seed)}
    for item in dataclasses.fields(command):
        part = getattr(command, item.name)
        values = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
        if isinstance(part, RECORDS.get(item.name, ())):
            # A recipe may have other defaults than the record has; the run holds the record itself.
            fields[item.name] = RECORDS[item.name](**values)
        elif item.name != "data":
            fields |= {name: value for name, value in values.items() if name in own}
    if fields.get("init_channels") is None:
        fields.pop("init_channels", None)
    # A budget in words is not the run's number of operations, which a plan gives.
    fields.pop("budget", None)
    return RunConfig(**fields)
