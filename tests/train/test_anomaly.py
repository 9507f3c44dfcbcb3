"""`--detect-anomaly`: on while the run trains, and a gradient that is no number is named."""

import warnings

import pytest
import torch
from torch import nn

from lab.base import TrainingError
from lab.cli import main
from lab.datasets import DataConfig
from lab.runs import Run
from lab.store import RunReader
from lab.train.anomaly import anomaly_detection


class Watching:
    def __init__(self):
        self.seen = set()

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        self.seen.add(torch.is_anomaly_enabled())

    def on_text(self, text):
        pass


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("recipe", ["aso-se", "fixed", "agent", "multitask"])
def test_the_mode_is_on_while_the_run_trains_and_off_afterwards(enabled, recipe, make_config, tmp_path):
    observer = Watching()
    data = {"data": DataConfig(name="multitask")} if recipe == "multitask" else {}
    config = make_config(recipe=recipe, epochs=1, detect_anomaly=enabled, **data)
    Run(config, save_dir=tmp_path, name="run", observer=observer).execute()
    assert observer.seen == {enabled}
    assert not torch.is_anomaly_enabled()


def test_a_run_whose_gradient_is_nan_says_operation_and_line(tmp_path, capsys):
    flags = ["fixed", "--epochs", "2", "--weight-lr", "1e20", "--grad-clip", "1e30", "--threads", "1"]
    code = main(["train", *flags, "--detect-anomaly", "--save-dir", str(tmp_path), "--name", "run"])
    error = capsys.readouterr().err
    assert code == 1
    assert "expected finite gradients, got NaN from" in error
    assert "called at" in error
    assert RunReader(tmp_path / "run").state() == "failed"


def test_the_line_is_the_forwards_and_other_warnings_pass():
    x = torch.zeros(3, requires_grad=True)
    with pytest.warns(UserWarning, match="something else"), anomaly_detection(True):
        warnings.warn("something else", UserWarning, stacklevel=1)
    with (
        pytest.raises(
            TrainingError, match=r"NaN from SqrtBackward0, called at .*test_anomaly\.py:\d+ in test_the_line"
        ),
        anomaly_detection(True),
    ):
        (torch.sqrt(x) * 0).sum().backward()
    assert not torch.is_anomaly_enabled()


def test_an_error_of_another_kind_is_passed_on():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), anomaly_detection(True):
        nn.Linear(3, 2)(torch.zeros(1, 4))
