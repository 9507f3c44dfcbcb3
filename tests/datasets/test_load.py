import json
import sys

import numpy as np
import pytest
import sklearn.datasets
import torch

from lab.base import DataError
from lab.datasets import NAMES, Augmentation, DataConfig, describe, digits, load
from lab.datasets.sources import SOURCES, find_source


def test_digits_are_real_and_need_nothing():
    bundle = load(DataConfig())
    assert (bundle.shape, bundle.num_classes, bundle.synthetic) == ((1, 8, 8), 10, False)
    assert (len(bundle.x_train), len(bundle.x_test)) == (1438, 359)
    assert float(bundle.x_train.min()) == 0.0
    assert float(bundle.x_train.max()) == 1.0


def test_digits_are_those_of_scikit_learn_and_are_read_without_its_import(monkeypatch):
    pixels_NP, labels_N = sklearn.datasets.load_digits(return_X_y=True)
    wanted = np.column_stack([pixels_NP, labels_N])
    monkeypatch.setattr(digits, "FILE", "where a later version may keep it")
    np.testing.assert_array_equal(digits._table(), wanted)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    np.testing.assert_array_equal(digits._table(), wanted)


def test_the_test_part_of_digits_is_fixed_and_holds_a_fifth_of_each_class():
    first, other = load(DataConfig(seed=0)), load(DataConfig(seed=1))
    assert torch.equal(first.x_test, other.x_test)
    for label in range(10):
        train, test = int((first.y_train == label).sum()), int((first.y_test == label).sum())
        assert abs(test - 0.2 * (train + test)) <= 1


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_what_is_said_of_a_set_is_what_is_loaded(name):
    bundle = load(DataConfig(name=name))
    said = next(row for row in describe() if row["name"] == name)
    assert tuple(said["shape"]) == bundle.shape
    assert (said["train"], said["test"], said["classes"]) == (len(bundle.x_train), len(bundle.x_test), 10)
    assert (said["title"], said["synthetic"], said["licence"]) == (bundle.title, bundle.synthetic, bundle.licence)


def test_only_shapes_are_synthetic():
    assert [row["name"] for row in describe() if row["synthetic"]] == ["shapes"]


def test_the_description_is_json_and_says_what_is_found(tmp_path, idx_folder):
    rows = json.loads(json.dumps(describe(idx_folder)))
    assert [row["name"] for row in rows] == list(NAMES)
    assert [row["name"] for row in rows if row["found"]] == ["digits", "shapes", "mnist"]
    assert [row["name"] for row in rows if not row["needs_download"]] == ["digits", "shapes"]


def test_augmentation_follows_the_set_unless_it_is_asked_for():
    shapes = {"name": "shapes", "shapes_train": 100, "shapes_test": 100}
    assert load(DataConfig()).augmentation == Augmentation(shift=1, flip=False)
    assert load(DataConfig(**shapes)).augmentation == Augmentation(shift=2, flip=True)
    assert load(DataConfig(**shapes, shift=0, flip=False)).augmentation == Augmentation()
    assert load(DataConfig(flip=True)).augmentation == Augmentation(shift=1, flip=True)
    assert load(DataConfig(augment=False)).augmentation == Augmentation()


def test_digits_and_numbers_of_houses_are_never_mirrored():
    assert [s.name for s in SOURCES if s.augmentation.flip] == ["shapes", "fashion-mnist", "cifar10", "cifar100"]


def test_a_shift_as_large_as_the_image_is_refused():
    with pytest.raises(DataError, match="got shift 8 for images of 8x8 pixels"):
        load(DataConfig(shift=8))


@pytest.mark.parametrize(("name", "hint"), [("imagenet", "Choose one of them"), ("cifar", "Did you mean cifar10")])
def test_an_unknown_name_is_refused_and_the_names_are_listed(name, hint):
    with pytest.raises(DataError, match=f"{', '.join(NAMES)}.*got '{name}'. {hint}"):
        load(DataConfig(name=name))


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("Digits", "digits"), ("CIFAR-10", "cifar10"), ("cifar_100", "cifar100"), ("FashionMNIST", "fashion-mnist")],
)
def test_names_are_known_in_every_common_spelling(spelling, name):
    found = find_source(spelling)
    assert found is not None
    assert found.name == name
