"""Which data set to load and how to split it."""

from dataclasses import dataclass

from lab.base import require, require_range


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data set is loaded, from where, and how its training part is split."""

    name: str = "digits"
    """A set of `lab.datasets.NAMES`, a path to an `.npz` file, or a folder with `train/` and `test/`."""
    data_dir: str = "data"
    """Folder of torchvision's data sets; --download writes there."""
    download: bool = False
    """Download a missing data set (torchvision's only)."""
    seed: int = 0
    """Run seed, >= 0: determines splits, order of batches and augmentation."""
    train_share: float = 0.7
    """Share of the training samples in the train split, which trains weights, in (0, 1); the three shares sum to 1."""
    search_share: float = 0.15
    """Share in the search split, which trains architecture parameters, in (0, 1)."""
    selection_share: float = 0.15
    """Share in the selection split, which decides about changes, in (0, 1)."""
    train_limit: int | None = None
    """Limit the number of training samples to about this many, >= 30, stratified by class; None for all."""
    augment: bool = True
    """Augment the train and search splits by shifts and flips."""
    shift: int | None = None
    """Largest shift in pixels, 0 to 16; None for the data set's default."""
    flip: bool | None = None
    """Flip half of the samples horizontally; None for the data set's default."""
    image_size: int = 32
    """Side in pixels to which images of a folder are resized, 8 to 512."""
    shapes_train: int = 4000
    """Training samples of `shapes`, 100 to 100,000."""
    shapes_test: int = 1000
    """Test samples of `shapes`, 100 to 100,000."""

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), expected="the name of a data set", got="an empty name", hint="give --dataset")
        require_range("seed", self.seed, 0)
        shares = (self.train_share, self.search_share, self.selection_share)
        for field, share in zip(("train_share", "search_share", "selection_share"), shares, strict=True):
            require_range(field, share, 0, 1, open_low=True)
        require(
            abs(sum(shares) - 1) < 1e-9,
            expected="train_share + search_share + selection_share = 1",
            got=f"{' + '.join(f'{share:g}' for share in shares)} = {sum(shares):g}",
            hint="change the shares so that they add up to 1",
        )
        if self.train_limit is not None:
            require_range("train_limit", self.train_limit, 30)
        if self.shift is not None:
            require_range("shift", self.shift, 0, 16)
        require_range("image_size", self.image_size, 8, 512)
        require_range("shapes_train", self.shapes_train, 100, 100_000)
        require_range("shapes_test", self.shapes_test, 100, 100_000)
