"""A user's data: one `.npz` file, or a folder of pictures.

Shapes: N samples, H height, W width, C channels.
"""

import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.base import DataError
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

KEYS = ("x_train", "y_train", "x_test", "y_test")
CHANNELS = (1, 3, 4)
NPZ_FORM = f"an .npz file with {', '.join(KEYS)}"
UNREADABLE = (
    *(OSError, ValueError, EOFError, SyntaxError, RuntimeError, MemoryError, OverflowError),
    *(IndexError, KeyError, TypeError, struct.error, zlib.error, zipfile.BadZipFile),
)
"""What the readers of archives and pictures raise where a file is damaged."""
MOST_PIXELS = 50_000_000
"""Of one picture; it is read whole."""
FOLDER_FORM = "a folder with train/ and test/, each holding one folder of pictures for each class"


def load_npz_bundle(config: DataConfig) -> DataBundle:
    """Arrays `x_train y_train x_test y_test`: images NHW, NHWC or NCHW, uint8 or float; labels 0..K-1.

    An optional array `classes` names the classes. No object arrays: the file cannot run code.

    Raises `DataError` where the file is absent, damaged or of another form.
    """
    path = Path(config.name).expanduser()
    if not path.is_file():
        raise DataError(NPZ_FORM, f"no file at {path.resolve()}", "check the path")
    arrays = read_archive(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise DataError(NPZ_FORM, f"{path} without {', '.join(missing)}", "add those arrays")
    labels = {part: labels_of(arrays[f"y_{part}"], f"y_{part} of {path}") for part in ("train", "test")}
    count = int(max(labels["train"].max(initial=-1), labels["test"].max(initial=-1))) + 1
    # Before the names are made: one large label would ask for as many of them.
    if count > max(len(labels["train"]), 1):
        got = f"label {count - 1} among {len(labels['train'])} training samples in {path}"
        raise DataError("training samples of every class, numbered from 0", got, "renumber the labels")
    names = tuple(str(name) for name in arrays.get("classes", np.arange(count)).ravel())
    return DataBundle(
        name=config.name,
        title=path.name,
        synthetic=False,
        classes=names,
        x_train=pixels_of(arrays["x_train"], f"x_train of {path}"),
        y_train=torch.from_numpy(labels["train"]),
        x_test=pixels_of(arrays["x_test"], f"x_test of {path}"),
        y_test=torch.from_numpy(labels["test"]),
        source=f"the file {path}",
        licence="as its owner says",
    )


def read_archive(path: Path) -> dict[str, NDArray[np.generic]]:
    """The known arrays of an .npz file."""
    try:
        with path.open("rb") as file:
            # np.load reads a single .npy array as well, which has no names.
            if not zipfile.is_zipfile(file):
                raise ValueError("not a zip archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files if key in (*KEYS, "classes")}
    except UNREADABLE as error:
        got = f"{path}, which cannot be read ({' '.join(str(error).split())[:120]})"
        raise DataError(NPZ_FORM, got, "write it again with numpy.savez, without object arrays") from error
    foreign = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
    if foreign:
        got = f"{path}, whose {', '.join(foreign)} is no array"
        raise DataError(NPZ_FORM, got, "write it again with numpy.savez")
    return arrays


def labels_of(array: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    """Labels (N,) as int64; one column (N, 1) is taken as well."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        raise DataError("integer labels (N,)", f"{array.shape} {array.dtype} in {where}", "number the classes from 0")
    if flat.size and int(flat.max()) > np.iinfo(np.int64).max:
        raise DataError("integer labels from 0", f"label {int(flat.max())} in {where}", "number the classes from 0")
    return flat.astype(np.int64)


def pixels_of(array: NDArray[np.generic], where: str) -> Tensor:
    """Images as (N, C, H, W), uint8 as they are, floats as float32."""
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError("uint8 or float images", f"{array.dtype} in {where}", "convert them with numpy's astype")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4:
        first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
        if first == last:
            which = "both the second and the last axis could be channels" if first else "no axis of 1, 3 or 4 channels"
            got = f"shape {array.shape} in {where}: {which}"
            raise DataError("images NHW, NHWC or NCHW with 1, 3 or 4 channels", got, "transpose or crop the images")
        array = array if first else array.transpose(0, 3, 1, 2)
    else:
        got = f"shape {array.shape} in {where}"
        raise DataError("images NHW, NHWC or NCHW", got, "reshape the images")
    return torch.from_numpy(np.array(array, dtype=np.uint8 if array.dtype == np.uint8 else np.float32, order="C"))


def load_folder_bundle(config: DataConfig) -> DataBundle:
    """Pictures in `train/CLASS/` and `test/CLASS/`, read as RGB and resized to `image_size` squared, whole in memory.

    Raises `DataError` where a part or a class is absent, or a picture cannot be read.
    """
    path = Path(config.name).expanduser()
    absent = [str((path / part).resolve()) for part in ("train", "test") if not (path / part).is_dir()]
    if absent:
        raise DataError(FOLDER_FORM, f"no {' and no '.join(absent)}", "make those folders, or check the path")
    classes, x_train, y_train = read_pictures(path / "train", config.image_size)
    test_classes, x_test, y_test = read_pictures(path / "test", config.image_size)
    if test_classes != classes:
        differing = sorted(set(classes) ^ set(test_classes))
        got = f"{', '.join(differing[:5])} in one of them only"
        raise DataError(f"the same classes in train/ and test/ of {path}", got, "add or remove those folders")
    return DataBundle(
        name=config.name,
        title=path.name,
        synthetic=False,
        classes=classes,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        source=f"the folder {path}",
        licence="as its owner says",
    )


def read_pictures(folder: Path, side: int) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Class names, images (N, 3, side, side) uint8 and labels (N,) of the pictures in `folder`."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    try:
        pictures = ImageFolder(folder)
    except FileNotFoundError as error:
        raise DataError(FOLDER_FORM, f"{' '.join(str(error).split())[:200]}", "add pictures to that folder") from error
    x_NCHW = torch.empty(len(pictures.samples), 3, side, side, dtype=torch.uint8)
    for row, (name, _) in enumerate(pictures.samples):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(name) as picture:
                    small = _as_rgb(picture).resize((side, side), Image.Resampling.BILINEAR)
        except (*UNREADABLE, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError("a picture that can be read", f"{name} ({error})", "replace or remove that file") from error
        # A copy: the array of a picture is read-only, and torch warns of such memory.
        x_NCHW[row] = torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())
    return tuple(pictures.classes), x_NCHW, torch.tensor(pictures.targets, dtype=torch.int64)


def _as_rgb(picture: "Picture") -> "Picture":
    """The picture with three channels of 8 bits; raises ValueError where its values have no known scale."""
    from PIL import Image

    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"{picture.width} x {picture.height} pixels, {MOST_PIXELS} at most")
    if picture.mode == "F":
        raise ValueError("floating-point pixels, whose scale is not known")
    if picture.mode.startswith("I"):
        # Pillow cuts values above 255 off where it converts these.
        wide = np.asarray(picture).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65_535:
            raise ValueError(f"pixels from {wide.min()} to {wide.max()}, 0 to 65535 at most")
        picture = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    return picture.convert("RGB")
