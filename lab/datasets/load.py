"""One door to every data set: a name, a file or a folder gives a `DataBundle` or one clear `DataError`."""

import dataclasses
import difflib
from pathlib import Path

from lab.base import DataError
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.digits import load_digits_bundle
from lab.datasets.files import load_folder_bundle, load_npz_bundle
from lab.datasets.shapes import load_shapes_bundle
from lab.datasets.sources import NAMES, Augmentation, find_source


def load(config: DataConfig) -> DataBundle:
    """Read the data set that `config.name` names: exactly that one, or a `DataError`, never another in its place."""
    return with_augmentation(read(config), config)


def read(config: DataConfig) -> DataBundle:
    """The set as it is published, with its own augmentation."""
    source = find_source(config.name)
    if source is None:
        return read_own(config)
    if source.name == "digits":
        return load_digits_bundle(source)
    if source.name == "shapes":
        return load_shapes_bundle(source, config)
    # Importing torchvision takes seconds; runs on digits and shapes do without it.
    from lab.datasets.vision import load_vision_bundle

    return load_vision_bundle(source, config)


def read_own(config: DataConfig) -> DataBundle:
    """An `.npz` file or an image folder; raises `DataError` where the name is neither."""
    path = Path(config.name).expanduser()
    if path.suffix == ".npz":
        return load_npz_bundle(config)
    if path.is_dir() or len(path.parts) > 1:
        return load_folder_bundle(config)
    expected = f"a data set among {', '.join(NAMES)}, a path to an .npz file, or an image folder"
    close = difflib.get_close_matches(config.name.lower(), NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else "choose one of them"
    raise DataError(expected, repr(config.name), hint)


def with_augmentation(bundle: DataBundle, config: DataConfig) -> DataBundle:
    """`bundle` with the shift and flip that `config` asks for in place of its own."""
    own = bundle.augmentation
    augmentation = Augmentation(
        shift=own.shift if config.shift is None else config.shift,
        flip=own.flip if config.flip is None else config.flip,
    )
    if not config.augment:
        augmentation = Augmentation()
    if augmentation.shift >= min(bundle.shape[1:]):
        got = f"shift {augmentation.shift} for images of {bundle.shape[1]}x{bundle.shape[2]} pixels"
        raise DataError(f"a shift smaller than the images of {bundle.name}", got, "lower shift")
    return dataclasses.replace(bundle, augmentation=augmentation)
