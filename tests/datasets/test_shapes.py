import numpy as np
import torch

from lab.datasets import DataConfig, load
from lab.datasets.shapes import CONTRAST, SHAPES, draw_colours

SMALL = DataConfig(name="shapes", shapes_train=600, shapes_test=200)


def test_shapes_say_that_they_are_synthetic():
    bundle = load(SMALL)
    assert bundle.synthetic
    assert bundle.title == "shapes (synthetic)"


def test_shapes_have_ten_classes_alike_in_number():
    bundle = load(SMALL)
    assert bundle.shape == (3, 32, 32)
    assert bundle.x_train.dtype == torch.uint8
    assert torch.bincount(bundle.y_train).tolist() == [60] * 10
    assert torch.bincount(bundle.y_test).tolist() == [20] * 10


def test_default_sizes_are_4000_and_1000():
    bundle = load(DataConfig(name="shapes"))
    assert (len(bundle.x_train), len(bundle.x_test)) == (4000, 1000)


def test_the_images_do_not_change_from_call_to_call_or_with_the_run_seed():
    first, again = load(SMALL), load(DataConfig(name="shapes", shapes_train=600, shapes_test=200, seed=9))
    assert torch.equal(first.x_train, again.x_train)
    assert torch.equal(first.x_test, again.x_test)


def test_no_test_image_is_a_training_image_and_no_two_images_are_alike():
    bundle = load(DataConfig(name="shapes", shapes_train=400, shapes_test=400))
    images = torch.cat([bundle.x_train, bundle.x_test]).flatten(1)
    assert len(images.unique(dim=0)) == 800


def test_shape_and_ground_can_be_told_apart():
    ground, shape = draw_colours(2000, np.random.default_rng(0))
    assert np.linalg.norm(ground - shape, axis=1).min() >= CONTRAST


def test_every_shape_keeps_its_class_when_mirrored_and_stays_inside_the_unit_square():
    axis = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    for name, inside in SHAPES.items():
        mask = inside(u, v)
        assert mask.any(), name
        assert (mask == mask[:, ::-1]).mean() > 0.999, name
        assert not (mask & (np.maximum(abs(u), abs(v)) > 1)).any(), name


def test_classes_can_be_learnt_from_the_outlines():
    axis = np.linspace(-1, 1, 64, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    masks = [inside(u, v) for inside in SHAPES.values()]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert (one & other).sum() / (one | other).sum() < 0.85
