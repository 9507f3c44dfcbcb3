"""What `lab experiment trials` can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.base import require, require_choice, require_range

TRIAL_ARMS: Mapping[str, str] = MappingProxyType(
    {
        "never": "never keep: the start, never changed",
        "always": "always keep: each proposed change, without trial",
        "trial": "decided by trials, their cost counted",
    }
)
"""Arm -> what it is."""


@dataclass(frozen=True, kw_only=True)
class TrialSetting:
    """Data, network and compute on which changes are tried."""

    text: str
    """For the reader."""
    images: str
    """Name of a set of `lab.experiments.images.IMAGES`; the file of --pixels for cifar-16."""
    channels: int
    """Of the first stage."""
    batch_size: int
    compute: float
    """Of a run, FLOPs."""
    shift: int
    """Largest shift of the augmentation, pixels."""
    flip: bool
    """Whether it mirrors."""


TRIAL_SETTINGS: Mapping[str, TrialSetting] = MappingProxyType(
    {
        "digits": TrialSetting(
            text="digits, C=8",
            images="digits",
            channels=8,
            batch_size=32,
            compute=137e9,
            shift=1,
            flip=False,
        ),
        "fashion": TrialSetting(
            text="Fashion-MNIST 14x14, 4,000 images, C=4",
            images="fashion-14",
            channels=4,
            batch_size=64,
            compute=447e9,
            shift=1,
            flip=False,
        ),
        "pixels": TrialSetting(
            text="CIFAR-10 pixels 16x16, 8,068 images, C=4",
            images="cifar-16",
            channels=4,
            batch_size=64,
            compute=540e9,
            shift=2,
            flip=True,
        ),
    }
)
"""Name -> setting."""


@dataclass(frozen=True, kw_only=True)
class TrialBench:
    """Settings of `lab experiment trials`.

    Whether trials of changes agree over two batch orders, and whether deciding by them pays.
    """

    data_dir: str = "data"
    """Folder of the data sets."""
    pixels: Path | None = None
    """CIFAR-10 (or other images with even sides) as .npz with x_train, y_train, x_test, y_test; needed for setting
    pixels."""
    settings: tuple[str, ...] = tuple(TRIAL_SETTINGS)
    """Settings on which all neighbours are tried."""
    decided: tuple[str, ...] = ("digits", "pixels")
    """Settings on which runs decide by trials, always or never."""
    arms: tuple[str, ...] = tuple(TRIAL_ARMS)
    """What decides in them."""
    cell: str = "333133"
    """The start: a digit for each edge of NAS-Bench-201, 0 none, 1 skip, 2 conv 1x1, 3 conv 3x3, 4 pooling."""
    moment: float = 0.15
    """Share of the compute after which the neighbours are tried, in (0, 1)."""
    steps: int = 64
    """Training steps of a trial of a neighbour, >= 4."""
    dates: tuple[float, ...] = (0.1, 0.3)
    """Shares of the compute at which a run proposes a change, rising, each in (0, 1)."""
    run_steps: int = 20
    """Training steps of a trial inside a run, >= 4; few enough that all dates fit into the trials' share."""
    share: float = 0.1
    """Share of a run's compute that its trials may cost, in (0, 1]."""
    weight_lr: float = 0.05
    """First learning rate, > 0, one cosine over the compute."""
    seeds: int = 5
    """Runs of each arm, >= 2."""
    first_seed: int = 0
    """The first of them, >= 0; seeds from 100 on are for development."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/trials")
    """Where finished pieces are kept, one JSON each; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in (*self.settings, *self.decided):
            require_choice("setting", name, TRIAL_SETTINGS.keys())
        for arm in self.arms:
            require_choice("arm", arm, TRIAL_ARMS.keys())
        require(
            len(self.cell) == 6 and set(self.cell) <= set("01234"),
            expected="six digits from 0 to 4",
            got=self.cell,
            hint="give one for each edge, such as 333133",
        )
        for share in (self.moment, *self.dates):
            require_range("share of the compute", share, 0, 1, open_low=True)
        for name in ("steps", "run_steps"):
            require_range(name, getattr(self, name), 4)
        require_range("share", self.share, 0, 1, open_low=True)
        require_range("weight_lr", self.weight_lr, 0, open_low=True)
        require_range("seeds", self.seeds, 2)
        require_range("first_seed", self.first_seed, 0)
        require_range("threads", self.threads, 1)
