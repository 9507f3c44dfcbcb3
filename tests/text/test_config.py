"""Settings of a text model: what is refused, in our words."""

import pytest

from lab.base import ConfigError
from lab.datasets import DataConfig
from lab.runs import RunConfig
from lab.text import TextConfig


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"task": "answer"}, "task to be one of criteria, evidence, share, joint"),
        ({"pooling": "sum"}, "pooling to be one of cls, mean, max, attention"),
        ({"max_length": 3}, "max_length >= 4"),
        ({"dropout": 1.0}, "dropout >= 0 and <= 0.9"),
        ({"tiny_dim": 30, "tiny_heads": 4}, "a multiple of tiny_heads"),
        ({"fold_column": "fold"}, "fold_column and test_fold together"),
        ({"encoder": " "}, "a name in encoder"),
        ({"criteria_weight": 1.5}, "criteria_weight >= 0 and <= 1"),
    ],
)
def test_a_setting_outside_its_range_is_refused(fields, match):
    with pytest.raises(ConfigError, match=match):
        TextConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, "weight_lr <= 0.01 with recipe text"),
        ({"weight_lr": 1e-3, "workers": 2}, "workers 0 with recipe text"),
        ({"weight_lr": 1e-3, "compile": True}, "compile False with recipe text"),
        ({"weight_lr": 1e-3, "train_limit": 100}, "train_limit"),
    ],
)
def test_a_run_refuses_what_the_recipe_has_no_use_for(fields, match):
    with pytest.raises(ConfigError, match=match):
        RunConfig.from_fields(recipe="text", name="sentences", **fields)


def test_the_settings_of_a_run_come_back_from_json():
    text = TextConfig(task="joint", pooling="attention", label_value="a")
    config = RunConfig.from_fields(recipe="text", weight_lr=1e-3, text=text, data=DataConfig(name="sentences"))
    assert RunConfig.from_json(config.to_json()) == config
