"""What each measurement of `lab bench` can be set to; apart from what measures, so that help pages need no torch."""

from dataclasses import dataclass

from lab.base import require, require_choice, require_range


@dataclass(frozen=True, kw_only=True)
class SupernetBench:
    """Settings of `lab bench supernet`.

    Supernet step: only the sampled primitives against the full mixture.
    """

    channels: int = 16
    """Channels of the first stage, >= 1."""
    layers: int = 3
    """Searched cells, >= 1; three are one for each stage."""
    size: int = 32
    """Side of the input in pixels, >= 8."""
    batch: int = 64
    """Samples in a batch, >= 2."""
    rounds: int = 15
    """Pairs of steps that are timed, >= 3; the two kinds alternate."""
    seed: int = 0
    """Seed of weights, inputs and draws."""

    def __post_init__(self) -> None:
        require_range("channels", self.channels, 1)
        require_range("layers", self.layers, 1)
        require_range("size", self.size, 8)
        require_range("batch", self.batch, 2)
        require_range("rounds", self.rounds, 3)


@dataclass(frozen=True, kw_only=True)
class OverheadBench:
    """Settings of `lab bench overhead`.

    Training with store and monitor against the plain loop.
    """

    dataset: str = "digits"
    """Data set; digits has the shortest steps, so the overhead shows most."""
    channels: int = 16
    """Channels of the first stage, >= 1."""
    batch: int = 32
    """Samples in a batch, >= 2."""
    rounds: int = 20
    """Pairs of epochs that are timed, >= 3."""
    checkpoint_frequency: int = 5
    """Epochs between checkpoints, >= 1, and so between flushes."""
    threads: int = 1
    """CPU threads, >= 1."""

    def __post_init__(self) -> None:
        require_range("rounds", self.rounds, 3)
        require_range("checkpoint_frequency", self.checkpoint_frequency, 1)
        require_range("threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class StoreBench:
    """Settings of `lab bench store`.

    Rows per second, reading while a trainer writes, reading after a kill.
    """

    steps: int = 50_000
    """Steps of ten scalars each for the writing speed, >= 100."""
    rate: float = 200.0
    """Steps a second of the trainer that is read beside, > 0 and <= 1000."""
    reads: int = 1000
    """Incremental reads beside each trainer, >= 100."""
    pause: float = 0.01
    """Seconds between two reads, in [0, 10]."""

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 100)
        require_range("rate", self.rate, 0, 1000, open_low=True)
        require_range("reads", self.reads, 100)
        require_range("pause", self.pause, 0, 10)


@dataclass(frozen=True, kw_only=True)
class LongRunBench:
    """Settings of `lab bench long-run`.

    A run with many rows on the page: seconds to the first plot, bytes handed to the browser.
    """

    scalars: int = 1_000_000
    """About how many scalars the run has, >= 1000."""
    genotypes: int = 5_000
    """Genotypes, each with the mutation that led to it, >= 1."""
    settle: float = 30.0
    """Seconds after the first plot in which the page may complete itself, in [0, 600]."""
    watch: float = 10.0
    """Seconds for which the page is watched then, in [1, 600]: that of a run that has ended should stand still."""
    chromium: str = ""
    """Path of the browser; empty for the first Chromium on PATH."""
    seed: int = 0
    """Of the made-up numbers."""

    def __post_init__(self) -> None:
        require_range("scalars", self.scalars, 1000)
        require_range("genotypes", self.genotypes, 1)
        require_range("settle", self.settle, 0, 600)
        require_range("watch", self.watch, 1, 600)


@dataclass(frozen=True, kw_only=True)
class DoctorBench:
    """Settings of `lab bench doctor`.

    Training steps under explain_backward, anomaly mode and explain_training, against plain steps.

    With `peers`: what other tools name of faulty programs.
    """

    steps: int = 2
    """Training steps in one timed run, >= 1."""
    rounds: int = 50
    """Timed runs of each kind, >= 3; the kinds alternate."""
    seed: int = 0
    """Seed of weights and inputs."""
    peers: bool = False
    """Time nothing: count what other tools name of faulty programs (extra `peers`). The result is doctor-peers.json."""
    cases: str = "tests/doctor/cases"
    """With `peers`, the folder of the programs: a package whose module `runner` has `all_cases()`."""
    patience: float = 60.0
    """With `peers`, seconds that a tool gets for one program, in [1, 600]; it is ended after them."""

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)
        require_range("rounds", self.rounds, 3)
        require_range("patience", self.patience, 1, 600)


@dataclass(frozen=True, kw_only=True)
class MorphBench:
    """Settings of `lab bench morph`.

    Surgery: plan, apply, rollback, in training steps of the same model.

    With `zoo`: on models that nobody here wrote. With `peers`: beside other libraries.
    """

    models: tuple[str, ...] = ("small_cnn", "resnet18", "mobilenet_v2", "convnext_tiny")
    """`small_cnn` or names of torchvision's classification models."""
    batch: int = 32
    """Samples of a training step, >= 4."""
    size: int = 64
    """Side of the images in pixels, a multiple of 4, >= 32."""
    rounds: int = 5
    """Times that each is timed, >= 3."""
    compiled: tuple[str, ...] = ("small_cnn", "resnet18")
    """Models whose changed network is compiled with inductor as well; needs a C++ compiler."""
    seed: int = 0
    """Seed of weights and inputs."""
    zoo: str = ""
    """Folder with zoo.py and judge.py, as tests/morph: its models in place of `models`; morph-foreign.json."""
    names: tuple[str, ...] = ()
    """Models of `zoo`; none takes all."""
    folder: str = "runs/bench/morph"
    """With `zoo`, where the figures of each model are kept and found again."""
    peers: bool = False
    """With `zoo`: beside torch-pruning, GroMo and AgileRL, as far as installed. The result is morph-peers.json."""

    def __post_init__(self) -> None:
        require(
            bool(self.zoo) or not (self.peers or self.names),
            expected="a folder of models in zoo for peers and names",
            got="none",
            hint="give --zoo tests/morph",
        )
        require_range("batch", self.batch, 4)
        require_range("size", self.size, 32)
        require_range("rounds", self.rounds, 3)


@dataclass(frozen=True, kw_only=True)
class MoeBench:
    """Settings of `lab bench moe`.

    A mixture of experts against Mixtral's block in transformers.
    """

    tokens: int = 2048
    """Tokens in a batch, >= 1."""
    dim: int = 128
    """Width of a token, >= 1."""
    hidden: int = 256
    """Hidden width of an expert, >= 1."""
    experts: tuple[int, ...] = (8, 16, 32, 64)
    """Numbers of experts, each >= k."""
    k: int = 2
    """Experts of a token, >= 2: transformers' weight of a single expert is 1."""
    rounds: int = 40
    """Times that each is timed, >= 3, after one that warms up."""
    threads: int = 1
    """CPU threads, >= 1."""
    device: str = "cpu"
    """auto, cpu, cuda, cuda:N or mps."""
    seed: int = 0
    """Of weights and tokens."""

    def __post_init__(self) -> None:
        for name in ("tokens", "dim", "hidden", "threads"):
            require_range(name, getattr(self, name), 1)
        require_range("rounds", self.rounds, 3)
        require_range("k", self.k, 2)
        require(bool(self.experts), expected="at least one number of experts", got="none", hint="name one")
        for count in self.experts:
            require_range("experts", count, self.k)


@dataclass(frozen=True, kw_only=True)
class LoadingBench:
    """Settings of `lab bench loading`.

    Batches from the training process against worker processes.
    """

    dataset: str = "shapes"
    """Data set; shapes (synthetic) has colour images of 32x32."""
    data_dir: str = "data"
    """Folder in which it is looked for."""
    channels: int = 4
    """Channels of the first stage of the network that is trained, >= 1."""
    layers: int = 3
    """Its cells, >= 1."""
    batch_size: int = 64
    """Samples in a batch, >= 2."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Numbers of processes that are compared, each >= 0; 0 prepares batches in the training process."""
    rounds: int = 5
    """Epochs that are timed of each way, >= 1."""
    train_limit: int | None = None
    """Use about this many training samples, >= 30; None for all."""
    threads: int = 1
    """CPU threads of the training process, >= 1."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        for name in ("channels", "layers", "rounds", "threads"):
            require_range(name, getattr(self, name), 1)
        for count in self.workers:
            require_range("workers", count, 0)


DASHBOARD_PARTS = ("latency", "paint", "ticks", "listing", "tabs", "replay")


@dataclass(frozen=True, kw_only=True)
class DashboardBench:
    """Settings of `lab bench dashboard`.

    Latency from trainer to page and from button to trainer; what a long run, many runs and many tabs cost.
    """

    parts: tuple[str, ...] = DASHBOARD_PARTS
    """What is measured: latency, paint (navigation to the first chart of a long run), ticks (of the page of a long run
    that goes on), listing (of many runs), tabs (what they take from a training), replay (lab demo --replay until the
    wall stands there)."""
    seconds: float = 20.0
    """Window in which steps or ticks are watched, in [5, 600]."""
    clicks: int = 5
    """Clicks on *Mutate now*, in [1, 100]."""
    scalars: int = 1_000_000
    """About how many scalars the long run has, >= 1000."""
    genotypes: int = 5_000
    """Its genotypes, each with the mutation that led to it, >= 1."""
    opens: int = 3
    """How often the long run is opened on a server of its own, and the replay started, in [1, 20]."""
    runs: int = 200
    """Runs to list, >= 1."""
    tabs: int = 30
    """Tabs on one training, in [1, 200]."""
    seen: int = 1
    """Those of them that can be seen, in [1, 200]; of one window it is one."""
    pairs: int = 4
    """Pairs of windows with and without the tabs, in turn, in [1, 50]."""
    chromium: str = ""
    """Path of the browser; empty looks for one on PATH."""
    seed: int = 0
    """Of the made-up numbers."""

    def __post_init__(self) -> None:
        for part in self.parts:
            require_choice("parts", part, DASHBOARD_PARTS)
        require_range("parts", len(self.parts), 1)
        require_range("seconds", self.seconds, 5, 600)
        require_range("scalars", self.scalars, 1000)
        for name, high in (("clicks", 100), ("opens", 20), ("tabs", 200), ("seen", 200), ("pairs", 50)):
            require_range(name, getattr(self, name), 1, high)
        for name in ("genotypes", "runs"):
            require_range(name, getattr(self, name), 1)


TUNE_PARTS = ("kills", "supervisors", "overhead", "parallel", "opening", "start", "loads")


@dataclass(frozen=True, kw_only=True)
class TuneBench:
    """Settings of `lab bench tune`.

    Studies under SIGKILL, their overhead over bare Optuna, the start of a trial, models loaded in parallel.
    """

    parts: tuple[str, ...] = TUNE_PARTS
    """What is measured: kills (of children), supervisors (killed and resumed), overhead, parallel, opening, start (of a
    text model's trial), loads (of pretrained models in trials). The last two need the extra text."""
    trials: int = 40
    """Trials of a study, >= 4."""
    seconds: float = 0.3
    """Length of a trial that is killed, in (0, 10]."""
    length: float = 0.1
    """Length of a trial whose overhead is measured, in (0, 10]."""
    rounds: int = 3
    """Rounds in which overheads are measured, >= 1; the medians are told."""
    kills: int = 8
    """Children that are killed in a study, >= 1."""
    supervisor_kills: int = 20
    """Supervisors that are killed, one after another, >= 1."""
    seeds: int = 10
    """Studies with killed children on each storage, >= 1."""
    postgresql: str = ""
    """postgresql://USER@HOST/DATABASE of an empty database; empty for a server of the bench's own, where PostgreSQL is
    installed."""

    def __post_init__(self) -> None:
        for part in self.parts:
            require_choice("parts", part, TUNE_PARTS)
        require_range("trials", self.trials, 4)
        for name in ("seconds", "length"):
            require_range(name, getattr(self, name), 0, 10, open_low=True)
        for name in ("rounds", "kills", "supervisor_kills", "seeds"):
            require_range(name, getattr(self, name), 1)
