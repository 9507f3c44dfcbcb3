import pytest

from lab.base import ConfigError
from lab.datasets import DataConfig


def test_the_default_is_the_set_that_needs_no_download():
    assert DataConfig().name == "digits"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": " "}, "empty name"),
        ({"seed": -1}, "seed >= 0, got seed = -1"),
        ({"train_share": 0.0}, "train_share > 0"),
        ({"selection_share": 1.5}, "selection_share > 0 and <= 1"),
        ({"train_share": 0.8}, r"= 1, got 0.8 \+ 0.15 \+ 0.15 = 1.1"),
        ({"train_share": float("nan")}, "train_share"),
        ({"train_limit": 0}, "train_limit >= 30"),
        ({"shift": 17}, "shift"),
        ({"shift": -1}, "shift"),
        ({"image_size": 4}, "image_size"),
        ({"shapes_train": 0}, "shapes_train"),
        ({"shapes_test": 10**6}, "shapes_test"),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(**settings)
