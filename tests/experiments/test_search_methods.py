import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from lab.base import ConfigError, DataError
from lab.experiments import search_methods, zero_cost
from lab.experiments.asose import aso_se, settings
from lab.experiments.proxy import open_proxy
from lab.experiments.search_methods import OTHERS, SearchBench
from lab.experiments.table_settings import ARMS, METHODS
from lab.explore import parameters
from lab.results.record import Clock
from lab.space import NB201, Genotype
from lab.train import Split

TINY = {"channels": 2, "batch_size": 16, "seeds": 1, "method_seeds": 1, "digits_arms": ()}


@pytest.fixture
def images(tmp_path):
    """Two classes that differ in their mean."""
    rng = np.random.default_rng(0)
    labels = np.arange(320) % 2
    pixels = rng.normal(labels[:, None, None, None], 1.0, (320, 12, 12, 3)).astype(np.float32)
    path = tmp_path / "images.npz"
    np.savez(path, x_train=pixels[:280], y_train=labels[:280], x_test=pixels[280:], y_test=labels[280:])
    return path


@pytest.fixture
def proxy(images, tmp_path):
    torch.set_num_threads(1)
    return open_proxy(images, tmp_path / "p", space=NB201, seed=0, batch_size=16, channels=2, layers=3, weight_lr=0.05)


@pytest.fixture
def table(tmp_path, monkeypatch):
    rows = ["".join(map(str, ops)) for ops in product(range(5), repeat=6)]
    lines = [f"{ops},{ops.count('3')},{ops.count('2')}" for ops in rows]
    (tmp_path / "nas_bench_201.csv").write_text("ops,c10_test200,c100_test200\n" + "\n".join(lines))
    monkeypatch.setenv("LAB_NAS_TABLES", str(tmp_path))


@pytest.mark.slow
def test_every_method_finds_a_cell_in_its_budget_and_a_repeated_call_measures_none(images, tmp_path, table):
    config = SearchBench(data=images, budget=0.3, folder=tmp_path / "runs", **TINY)
    result = search_methods.run(config)
    truth = result["results"]["truth"]["nb201"]
    for method in (*ARMS, *METHODS):
        if method == "evidence":
            continue
        (piece,) = result["results"]["methods"]["nb201"][method]
        assert piece["cpu_seconds"] < 8.0
        (facts,) = truth["methods"][method]
        assert facts["CIFAR-10"] == piece["cell"].count("3")
        assert facts["CIFAR-10 regret"] == 6 - facts["CIFAR-10"]
        assert method in str(search_methods.summary(result))
    assert truth["baseline"]["CIFAR-10"] == 6
    assert truth["random"]["CIFAR-10"] == pytest.approx(6 / 5)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(files) == len(ARMS) + len(METHODS) - 1
    assert search_methods.run(config)["results"] == json.loads(json.dumps(result["results"]))
    assert {path: path.stat().st_mtime_ns for path in files} == files
    with pytest.raises(ConfigError, match="another budget"):
        search_methods.run(SearchBench(data=images, budget=2.0, folder=tmp_path / "runs", **TINY))


def test_a_search_goes_on_where_it_was_stopped(images, tmp_path, monkeypatch):
    config = SearchBench(data=images, budget=0.2, methods=("parameters", "random"), folder=tmp_path / "r", **TINY)

    def stop(*arguments):
        raise KeyboardInterrupt

    real = search_methods._search
    monkeypatch.setattr(
        search_methods, "_search", lambda space, name, *rest: real(space, name, *rest) if name != "random" else stop()
    )
    with pytest.raises(KeyboardInterrupt):
        search_methods.run(config)
    assert [path.name for path in (tmp_path / "r").glob("*.json")] == ["parameters-seed0.json"]
    monkeypatch.setattr(
        search_methods, "_search", lambda space, name, *rest: real(space, name, *rest) if name == "random" else stop()
    )
    assert set(search_methods.run(config)["results"]["methods"]["nb201"]) == {"parameters", "random"}


def test_without_a_table_the_cells_are_still_reported(images, tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_NAS_TABLES", raising=False)
    config = SearchBench(data=images, budget=0.2, methods=("parameters",), folder=tmp_path / "r", **TINY)
    assert "LAB_NAS_TABLES" in str(search_methods.summary(search_methods.run(config)))


def test_data_is_needed_and_its_sides_are_even(tmp_path):
    with pytest.raises(ConfigError, match="--data"):
        search_methods.run(SearchBench(folder=tmp_path))
    odd = tmp_path / "odd.npz"
    x, y = np.zeros((40, 7, 8, 3), np.uint8), np.arange(40) % 2
    np.savez(odd, x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(DataError, match="even sides"):
        search_methods.run(SearchBench(data=odd, folder=tmp_path))
    with pytest.raises(ConfigError, match="method"):
        SearchBench(methods=("guessing",))


def test_the_pooled_images_are_means_of_two_by_two(images, proxy):
    first = np.load(images)["x_train"][0]
    pooled = np.load(Path(proxy.data.streams.bundle.name))["x_train"][0]
    assert pooled.shape == (3, 6, 6)
    assert pooled[1, 2, 3] == pytest.approx(first[4:6, 6:8, 1].mean(), abs=1e-5)


def test_a_climb_ends_where_no_neighbour_has_a_better_score(proxy):
    found = zero_cost.local_search(parameters, proxy, Clock(60))
    assert found.genotype == Genotype(NB201, ("nor_conv_3x3",) * 6)
    x = next(proxy.data.batches(Split.TRAIN, 0))[0]
    assert found.details["score"] == parameters(proxy.network(found.genotype, 1), x)


def test_the_product_itself_searches_with_what_an_arm_changes(images, tmp_path, monkeypatch):
    asked = []

    class Stub:
        def __init__(self, config):
            asked.append(config)

        def run(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(search_methods, "Search", Stub)
    config = SearchBench(data=images, folder=tmp_path)
    for space in ("nb201", "nb125"):
        for arm in ARMS:
            with pytest.raises(KeyboardInterrupt):
                search_methods._arm(space, arm, 2, config, images)
            settings = asked[-1]
            assert settings.space == space
            assert settings.budget == (60 if space == "nb201" else 120)
            assert settings.data.seed == settings.seed == (2 if space == "nb201" else 102)
            assert all(getattr(settings, name) == value for name, value in ARMS[arm].items())
    assert asked[-1].data.train_share == 0.3, "the protocol of the table of nb125"


def test_networks_of_a_proxy_follow_its_seed(proxy):
    cell = Genotype(NB201, ("nor_conv_3x3",) * 6)
    a, b, c = proxy.network(cell, 1), proxy.network(cell, 1), proxy.network(cell, 2)
    assert torch.equal(a.backbone.stem.weight, b.backbone.stem.weight)
    assert not torch.equal(a.backbone.stem.weight, c.backbone.stem.weight)


def test_the_search_of_aso_se_uses_every_phase(proxy):
    config = settings(proxy, warmup_epochs=2, trial_epochs=1, cycles=3)
    assert min(config.warmup_epochs, config.arch_training_epochs, config.weight_training_epochs) >= 1
    found = aso_se(proxy, Clock(2.0), warm_up_share=0.5, trial_epochs=1)
    assert found.details["events"][0]["status"] == "Live network"
    assert found.evaluations == 1 + sum(event["status"] == "applied" for event in found.details["events"])
    assert "none" not in found.genotype.primitives


def test_every_method_that_can_be_asked_for_is_there():
    assert ("aso-se", *OTHERS) == METHODS
