"""Drawn shapes: a synthetic set of colour images, for colour and three channels without a download.

Shapes: n images, S side in pixels (drawn at twice the side and averaged, so edges are smooth).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lab.base import derive_seed
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.sources import Source

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 32
NOISE = 12.0
"""Standard deviation of the pixel noise, in grey levels of 255."""
CONTRAST = 90.0
"""Least Euclidean distance of the shape's colour from the ground's, in grey levels."""


def square(u: Grid, v: Grid, half: float) -> Mask:
    return np.maximum(abs(u), abs(v)) < half


def triangle(u: Grid, v: Grid) -> Mask:
    return (v < 0.7) & (v > -0.9 + 1.8 * abs(u))


def star(u: Grid, v: Grid) -> Mask:
    angle, radius = np.arctan2(u, -v), np.hypot(u, v)
    return radius < 0.62 + 0.36 * np.cos(5 * angle)


SHAPES: dict[str, Callable[[Grid, Grid], Mask]] = {
    "circle": lambda u, v: np.hypot(u, v) < 0.85,
    "ring": lambda u, v: abs(np.hypot(u, v) - 0.7) < 0.2,
    "square": lambda u, v: square(u, v, 0.75),
    "frame": lambda u, v: square(u, v, 0.85) & ~square(u, v, 0.5),
    "triangle": triangle,
    "cross": lambda u, v: square(u, v, 0.9) & (np.minimum(abs(u), abs(v)) < 0.27),
    "star": star,
    "crescent": lambda u, v: (np.hypot(u, v) < 0.9) & (np.hypot(u, v + 0.45) > 0.75),
    "hourglass": lambda u, v: square(u, v, 0.85) & (abs(u) < abs(v)),
    "bars": lambda u, v: square(u, v, 0.85) & (abs((v + 0.85) % 0.68 - 0.17) < 0.17),
}
"""Whether a point belongs to the shape; u to the right, v down, the shape inside the unit circle or square."""


def draw_colours(n: int, rng: np.random.Generator) -> tuple[Grid, Grid]:
    """Ground and shape colours (n, 3) in 0..255, at least CONTRAST apart."""
    ground, shape = rng.uniform(0, 255, (2, n, 3))
    close = np.linalg.norm(ground - shape, axis=1) < CONTRAST
    while close.any():
        shape[close] = rng.uniform(0, 255, (int(close.sum()), 3))
        close = np.linalg.norm(ground - shape, axis=1) < CONTRAST
    return ground.astype(np.float32), shape.astype(np.float32)


def draw_shape(inside: Callable[[Grid, Grid], Mask], n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """`n` images (n, 3, S, S) of one shape, each with its own place, size, tilt, colours and noise."""
    fine = 2 * SIDE
    axis = ((np.arange(fine) + 0.5) / fine * 2 - 1).astype(np.float32)
    size = rng.uniform(0.45, 0.85, (n, 1, 1)).astype(np.float32)
    tilt = rng.uniform(-0.35, 0.35, (n, 1, 1)).astype(np.float32)
    centre = (rng.uniform(-1, 1, (2, n, 1, 1)) * (0.95 - size)).astype(np.float32)
    right, down = axis[None, None, :] - centre[0], axis[None, :, None] - centre[1]
    u = (np.cos(tilt) * right + np.sin(tilt) * down) / size
    v = (np.cos(tilt) * down - np.sin(tilt) * right) / size
    cover = inside(u, v).reshape(n, SIDE, 2, SIDE, 2).mean(axis=(2, 4), dtype=np.float32)[:, None]
    ground, shape = draw_colours(n, rng)
    image = ground[:, :, None, None] * (1 - cover) + shape[:, :, None, None] * cover
    image += rng.normal(0, NOISE, image.shape).astype(np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def draw_part(n: int, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """`n` images (n, 3, S, S) uint8 and their labels (n,), classes in turn; a function of `n` and `part` alone."""
    labels = np.arange(n) % len(SHAPES)
    images = np.empty((n, 3, SIDE, SIDE), dtype=np.uint8)
    for label, (name, inside) in enumerate(SHAPES.items()):
        own = np.flatnonzero(labels == label)
        rng = np.random.default_rng(derive_seed(0, "shapes", part, name))
        for chunk in np.array_split(own, -(-len(own) // 500)):
            images[chunk] = draw_shape(inside, len(chunk), rng)
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def load_shapes_bundle(source: Source, config: DataConfig) -> DataBundle:
    """Ten classes of drawn shapes, 3x32x32, the same images for every run seed."""
    x_train, y_train = draw_part(config.shapes_train, "train")
    x_test, y_test = draw_part(config.shapes_test, "test")
    return DataBundle.of_source(
        source, classes=tuple(SHAPES), x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test
    )
