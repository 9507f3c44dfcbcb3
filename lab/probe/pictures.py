"""Images of a data set as small files that a page can show without torch.

P images, C channels, H height, W width.
"""

import base64
import io
import itertools
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

MOST_BYTES = 16_384
"""Of all images together, before base64."""
SIDES = (32, 16, 8)
"""Longer side of a picture in pixels, the first that fits: larger images are made smaller, smaller ones enlarged."""
QUALITIES = (None, 90, 75, 60, 45, 30)
"""Of a WebP file, tried in this order at each size until all are small enough together; None is lossless."""


def encode_images(x_PCHW: Tensor) -> list[str]:
    """Each image as a WebP file, base64; together at most `MOST_BYTES`, as large and as good as that allows.

    Args:
        x_PCHW: as the data set stores them: uint8, or float whose least and largest value become black and white.
            One channel is grey, three are red, green and blue; of any other number the mean is shown in grey.
    """
    found: list[bytes] = []
    for side, quality in itertools.product(SIDES, QUALITIES):
        found = [_file(_picture(x, side), quality) for x in _bytes(x_PCHW)]
        if sum(map(len, found)) <= MOST_BYTES:
            break
    return [base64.b64encode(each).decode() for each in found]


def _bytes(x_PCHW: Tensor) -> Sequence[Tensor]:
    """uint8 images (P, C, H, W) with one channel or three."""
    x = x_PCHW.cpu()
    if x.dtype != torch.uint8:
        low, high = x.min(), x.max()
        x = ((x - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8)
    if x.shape[1] not in (1, 3):
        x = x.float().mean(1, keepdim=True).round().to(torch.uint8)
    return x.unbind()


def _picture(x_CHW: Tensor, side: int) -> Image.Image:
    channels, height, width = x_CHW.shape
    array = x_CHW[0].numpy() if channels == 1 else x_CHW.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array, "L" if channels == 1 else "RGB").convert("RGB")
    longer = max(height, width)
    if longer > side:
        size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
        return picture.resize(size, Image.Resampling.BOX)
    # A browser would blur what it enlarges; the pixels are what a network of such images sees.
    factor = side // longer
    return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST) if factor > 1 else picture


def _file(picture: Image.Image, quality: int | None) -> bytes:
    """A WebP file: lossless without a quality."""
    target = io.BytesIO()
    if quality is None:
        picture.save(target, "WEBP", lossless=True, method=6)
    else:
        picture.save(target, "WEBP", quality=quality, method=6)
    return target.getvalue()
