"""What to load and how to share it out."""

from dataclasses import dataclass

from lab.base import require, require_range


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data set is read, from where, and how its training part is divided."""

    name: str = "digits"
    """A set of `lab.datasets.NAMES`, a path to an `.npz` file, or a folder with `train/` and `test/`."""
    data_dir: str = "data"
    """Folder in which torchvision's sets are looked for, and into which they are downloaded."""
    download: bool = False
    """Fetch a set that is not there (torchvision's sets only)."""
    seed: int = 0
    """Run seed: decides the division, the order of batches and the augmentation. At least 0."""
    train_share: float = 0.7
    """Share of the training part that trains weights, in (0, 1); the three shares add up to 1."""
    search_share: float = 0.15
    """Share of the training part that trains architecture parameters, in (0, 1)."""
    selection_share: float = 0.15
    """Share of the training part that decides about changes, in (0, 1)."""
    train_limit: int | None = None
    """Use about this many training samples, each class in proportion; None for all. At least 30."""
    augment: bool = True
    """Shift and flip the samples that train weights and architecture."""
    shift: int | None = None
    """Largest shift in pixels, 0 to 16; None for the set's own."""
    flip: bool | None = None
    """Mirror half of the samples left to right; None for the set's own."""
    image_size: int = 32
    """Side in pixels to which an image folder's pictures are resized, 8 to 512."""
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
