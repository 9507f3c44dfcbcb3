import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lab.base import ConfigError, DataError
from lab.experiments import strategies
from lab.experiments.strategies import PUBLISHED, StrategiesBench
from lab.experiments.tabular import STRATEGIES, Landscape, best_so_far, canonical, noise_floor
from lab.space import NB125, NB201

TABLES = Path(__file__).parents[3] / "shared" / "data" / "nas_tables"
CELLS = list(product(range(5), repeat=3))


@pytest.fixture
def landscape():
    return Landscape(space=NB125, validation_N=np.array([10.0 * sum(cell) for cell in CELLS]))


def write_table(path):
    rows = [f"{''.join(map(str, cell))},{sum(cell)},{8 * sum(cell)}" for cell in CELLS]
    path.write_text("ops,digits_validation_half,digits_test\n" + "\n".join(rows))
    return path


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published table is not part of the project")
def test_published_rows_are_reproduced_within_one_standard_deviation(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_NAS_TABLES", str(TABLES))
    result = strategies.run(StrategiesBench(folder=tmp_path))
    for method, (mean, deviation) in PUBLISHED.items():
        found = result["results"]["methods"][method]["accuracies"]["CIFAR-10"]["100"]
        assert abs(found["mean"] - mean) < deviation, method
        assert 0.5 < found["deviation"] / deviation < 1.5, method
    kept = json.loads((tmp_path / "nb201" / "random.json").read_text())
    assert len(kept["accuracies"]["CIFAR-10"]["100"]) == 300
    assert result["results"]["datasets"]["CIFAR-10"]["optimum"] == pytest.approx(94.373, abs=0.001)
    assert 0.15 < result["results"]["datasets"]["CIFAR-10"]["noise_floor"] < 0.25


@pytest.mark.parametrize("method", STRATEGIES)
def test_a_strategy_is_a_function_of_its_generator_and_asks_for_cells_of_the_space(method, landscape):
    def ask(seed):
        return STRATEGIES[method](landscape, 7, 40, np.random.default_rng(seed))

    assert ask(3).shape == (7, 40)
    assert np.array_equal(ask(3), ask(3))
    assert not np.array_equal(ask(3), ask(4))
    assert ask(3).min() >= 0
    assert ask(3).max() < NB125.size


def test_evolution_changes_one_edge_of_a_cell_among_the_latest_ten(landscape):
    asked = STRATEGIES["regularised_evolution"](landscape, 20, 60, np.random.default_rng(0))
    for row in asked:
        for query in range(10, 60):
            distances = [sum(a != b for a, b in zip(CELLS[row[query]], CELLS[old], strict=True)) for old in row[:query]]
            assert 1 in distances[-10:]


def test_strategies_that_learn_beat_random_search_on_a_sum_over_edges(landscape):
    def reached(method, evaluations):
        asked = STRATEGIES[method](landscape, 200, evaluations, np.random.default_rng(1))
        return landscape.validation_N[best_so_far(landscape, asked)[:, -1]].mean()

    assert reached("local_search", 30) > reached("random", 30) + 2
    assert reached("regularised_evolution", 60) > reached("random", 60)
    asked = STRATEGIES["reinforce"](landscape, 50, 2000, np.random.default_rng(1))
    late, early = landscape.validation_N[asked[:, -200:]].mean(), landscape.validation_N[asked[:, :200]].mean()
    assert late > early + 20, "the policy moves towards the better cells"


def test_local_search_asks_for_no_cell_twice_until_it_knows_all(landscape):
    asked = STRATEGIES["local_search"](landscape, 5, 125, np.random.default_rng(0))
    assert all(len(set(row)) == 125 for row in asked.tolist())


def test_the_best_so_far_is_by_validation_and_never_falls(landscape):
    asked = np.array([[3, 124, 7, 0], [0, 5, 1, 6]])
    assert best_so_far(landscape, asked).tolist() == [[3, 124, 124, 124], [0, 5, 5, 6]]


def test_the_same_network_written_differently_has_one_canonical_text():
    # Node 1 is absent, or nothing reads it: what its edges hold is hidden.
    assert canonical(NB125, (0, 3, 4)) == canonical(NB125, (0, 3, 1)) == canonical(NB125, (2, 3, 0))
    assert canonical(NB125, (1, 3, 2)) == canonical(NB125, (1, 2, 3)), "two edges from the input in another order"
    assert canonical(NB125, (3, 1, 2)) != canonical(NB125, (2, 1, 3))
    assert len({canonical(NB201, cell) for cell in product(range(5), repeat=6)}) < 6466


def test_the_noise_floor_is_the_deviation_between_copies():
    rng = np.random.default_rng(0)
    accuracy = 90 + 0.3 * rng.standard_normal(125)
    assert noise_floor(NB125, accuracy - 50 * (np.arange(125) < 60)) == pytest.approx(0.3, abs=0.12)


def test_the_bench_runs_on_a_table_of_ones_own_and_goes_on_from_what_is_there(tmp_path):
    table = write_table(tmp_path / "t.csv")
    figure = tmp_path / "f" / "figure.svg"
    config = StrategiesBench(
        space="nb125", table=table, seeds=5, evaluations=(5, 20), folder=tmp_path / "r", figure=figure
    )
    result = strategies.run(config)
    assert "local_search" in str(strategies.summary(result))
    assert figure.read_text().startswith("<svg")
    assert "noise floor" in figure.read_text()
    kept = tmp_path / "r" / "nb125" / "random.json"
    data = json.loads(kept.read_text())
    data["accuracies"]["digits"]["5"] = [1.0] * 5
    kept.write_text(json.dumps(data))
    assert strategies.run(config)["results"]["methods"]["random"]["accuracies"]["digits"]["5"] == {
        "mean": 1.0,
        "deviation": 0.0,
    }
    with pytest.raises(ConfigError, match="another evaluations"):
        strategies.run(StrategiesBench(space="nb125", table=table, seeds=5, evaluations=(5,), folder=tmp_path / "r"))
    kept.write_text("{")
    with pytest.raises(ConfigError, match="Remove that file"):
        strategies.run(config)


def test_without_the_table_it_says_where_to_point(tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_NAS_TABLES", raising=False)
    with pytest.raises(DataError, match="LAB_NAS_TABLES"):
        strategies.run(StrategiesBench(folder=tmp_path))
    with pytest.raises(DataError, match="a table of space nb201"):
        strategies.run(StrategiesBench(folder=tmp_path, table=write_table(tmp_path / "t.csv")))
