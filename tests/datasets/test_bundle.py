import dataclasses

import pytest
import torch

from lab.base import DataError
from lab.datasets import DataBundle


def sound():
    return DataBundle(
        name="tiny",
        title="tiny",
        synthetic=False,
        classes=("a", "b"),
        x_train=torch.zeros(6, 1, 4, 5),
        y_train=torch.tensor([0, 1, 0, 1, 0, 1]),
        x_test=torch.zeros(2, 1, 4, 5),
        y_test=torch.tensor([0, 1]),
        source="the test",
        licence="MIT",
    )


def test_a_bundle_knows_its_form():
    assert sound().shape == (1, 4, 5)
    assert sound().num_classes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": torch.zeros(6, 4, 5)}, r"images \(N, C, H, W\).*got \(6, 4, 5\) torch.float32 in the train part"),
        ({"x_test": torch.zeros(2, 1, 4, 5, dtype=torch.int32)}, "got .* torch.int32 in the test part"),
        ({"x_test": torch.zeros(0, 1, 4, 5), "y_test": torch.zeros(0, dtype=torch.int64)}, "at least one image"),
        ({"y_train": torch.tensor([0, 1])}, "expected 6 int64 labels"),
        ({"y_test": torch.tensor([0.0, 1.0])}, "expected 2 int64 labels"),
        ({"y_test": torch.tensor([0, 2])}, "labels from 0 to 1 in tiny, got labels from 0 to 2 in the test part"),
        ({"y_train": torch.tensor([0, 1, 0, 1, 0, -1])}, "got labels from -1 to 1"),
        ({"x_train": torch.full((6, 1, 4, 5), float("nan"))}, "120 NaN or infinite pixels in the train part"),
        ({"x_test": torch.zeros(2, 3, 4, 5)}, "train and test images of one form"),
        ({"x_test": torch.zeros(2, 1, 4, 5, dtype=torch.uint8)}, "train and test images of one form"),
        ({"y_train": torch.zeros(6, dtype=torch.int64)}, "every class in tiny, found none of b"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        dataclasses.replace(sound(), **changes)
