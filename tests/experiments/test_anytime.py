"""The accuracy at every moment of a training, of a network that grows and of fixed ones."""

import itertools
import json

import pytest
import torch

from lab.asose.growth import Growth
from lab.base import ConfigError
from lab.experiments import anytime
from lab.experiments.compute_settings import AnytimeBench
from lab.nn import EvolvableNetwork, SuperNet, six_convolutions
from lab.space import NB201
from lab.train.optimizer import make_weight_optimizer


def test_readings_and_dates_divide_the_logarithm_of_the_compute():
    read, dates = anytime.moments(), anytime.dates((4, 8, 16))
    assert read[0] == 1 / 32
    assert read[-1] == 1.0
    assert all(late / early == pytest.approx(2**0.5) for early, late in itertools.pairwise(read))
    assert dates == pytest.approx([32 ** (-2 / 3), 32 ** (-1 / 3)])


def test_the_mean_is_over_the_logarithm_and_the_compute_to_a_level_lies_on_it():
    row = {"readings": [[0.25, 0.2], [0.5, 0.6], [1.0, 0.8]]}
    assert anytime.mean_accuracy(row) == pytest.approx((0.4 + 0.7) / 2)
    assert anytime.compute_to(row, 0.4) == pytest.approx(0.25 * 2**0.5)
    assert anytime.compute_to(row, 0.1) == 0.25
    assert anytime.compute_to(row, 0.9) is None


def test_what_grows_has_the_size_of_one_that_was_made_so_wide_and_its_output():
    torch.manual_seed(0)
    supernet = SuperNet(NB201, 4, 3, 10, 1)
    network = EvolvableNetwork.from_supernet(supernet, six_convolutions())
    optimizer = make_weight_optimizer(supernet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0)
    growth = Growth(supernet, kinds=("width",), factor=1.5, seed=0)
    for factor, width in ((2.0, 8), (1.5, 12)):
        difference = anytime.widen(growth, network, optimizer, factor, torch.randn(4, 1, 8, 8))
        made = EvolvableNetwork(six_convolutions(), channels=width, layers=3, num_classes=10, in_channels=1)
        assert [p.shape for p in network.parameters()] == [p.shape for p in made.parameters()]
        assert 0.0 <= difference <= 1e-5


def test_every_network_has_the_whole_budget_and_a_repeated_call_trains_nothing(tmp_path, monkeypatch):
    config = AnytimeBench(images="digits", budget=2.0, widths=(2, 4), seeds=2, first_seed=100, folder=tmp_path)
    found = anytime.run(config)
    assert list(found["results"]) == ["grown", "2", "4"]
    for own in found["results"].values():
        assert own["operations"] == pytest.approx(2e9, rel=0.05)
        assert [share for share, _ in own["curve"]] == anytime.moments()
    grown, narrow, wide = found["results"].values()
    assert grown["parameters"] == wide["parameters"] > narrow["parameters"]
    assert grown["grown_ahead"]["mean"] == 0.0
    ahead = grown["mean_accuracy"]["mean"] - wide["mean_accuracy"]["mean"]
    assert wide["grown_ahead"]["mean"] == pytest.approx(ahead)
    assert "grown, 2 to 4" in str(anytime.summary(found))
    monkeypatch.setattr(anytime, "measure", None)
    assert json.dumps(anytime.run(config)["results"]) == json.dumps(found["results"])


@pytest.mark.parametrize("widths", [(), (4,), (8, 4), (0, 4)])
def test_widths_rise(widths):
    with pytest.raises(ConfigError, match="each larger than the one before"):
        AnytimeBench(widths=widths)
