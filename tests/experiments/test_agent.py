"""The agent on tables: environments, baselines beside it, the selection rule, and the bars where the tables are."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lab.agent import CellSearchConfig
from lab.base import ConfigError, DataError
from lab.experiments import agent as bench
from lab.experiments import table_settings
from lab.experiments.agent import AGENTS, ENVIRONMENTS, AgentBench, teach, walks
from lab.experiments.tabular import STRATEGIES, Landscape, best_so_far, copied_prior, greedy_growth
from lab.space import MACRO, NB125, Genotype

TABLES = Path(__file__).parents[3] / "shared" / "data" / "nas_tables"
NETWORKS = list(product(range(3), repeat=8))
QUICK = CellSearchConfig(updates=0)


@pytest.fixture
def macro():
    """Each place has one right choice, independent of the others."""
    right = (1, 2, 0, 2, 1, 2, 2, 1)
    worth = [50.0 + 5.0 * sum(a == b for a, b in zip(row, right, strict=True)) for row in NETWORKS]
    return Landscape(space=MACRO, validation_N=np.array(worth))


def small(tmp_path, **changes):
    return AgentBench(
        **{"environments": ("digits",), "evaluations": (15, 30), "seeds": 3, "folder": tmp_path} | changes
    )


def test_the_walk_of_each_seed_begins_at_the_first_network_and_asks_for_none_twice(macro):
    asked = walks(macro, 4, 30, np.random.default_rng(0), config=QUICK, growth=True)
    assert asked.shape == (4, 30)
    assert (asked[:, 0] == 0).all()
    assert all(len(set(row)) == 30 for row in asked.tolist())
    assert len({tuple(row) for row in asked.tolist()}) == 4, "every seed walks its own way"
    again = walks(macro, 4, 30, np.random.default_rng(0), config=QUICK, growth=True)
    assert np.array_equal(asked, again)


def test_a_walk_that_knows_the_whole_space_repeats_its_last_network():
    landscape = Landscape(space=NB125, validation_N=np.arange(125.0) / 2)
    asked = walks(landscape, 2, 130, np.random.default_rng(0), config=QUICK, growth=False)
    assert all(len(set(row)) == 125 for row in asked.tolist())
    assert (asked[:, 125:] == asked[:, 124:125]).all()


def test_greedy_growth_starts_at_the_first_cell_and_solves_free_places_at_once(macro):
    asked = greedy_growth(macro, 20, 60, np.random.default_rng(0))
    assert (asked[:, 0] == 0).all()
    assert (macro.validation_N[best_so_far(macro, asked)[:, 16]] == 90.0).all(), "8 places of two other choices"
    assert all(len(set(row)) == 60 for row in asked.tolist())
    every = greedy_growth(Landscape(space=NB125, validation_N=np.arange(125.0)), 2, 200, np.random.default_rng(0))
    assert all(len(set(row)) == 125 for row in every.tolist())


def test_the_copied_prior_draws_what_the_best_of_the_other_column_share(macro):
    asked = copied_prior(macro, 10, 40, np.random.default_rng(0), prior_N=macro.validation_N)
    blind = copied_prior(macro, 10, 40, np.random.default_rng(0), prior_N=np.random.default_rng(1).random(6_561))
    assert all(len(set(row)) == 40 for row in asked.tolist())
    assert macro.validation_N[asked].mean() > macro.validation_N[blind].mean() + 10


def test_a_landscape_numbers_cells_by_their_digits(macro):
    genotype = Genotype.from_indices(MACRO, NETWORKS[1234])
    assert macro.number(genotype) == 1234
    assert macro.measure(genotype) == macro.validation_N[1234]


def test_what_an_agent_learned_elsewhere_guides_the_walk_here(macro):
    config = AgentBench(teachers=1, lesson=250)
    (weights,) = teach(macro, config)
    taught = walks(macro, 6, 12, np.random.default_rng(0), config=QUICK, growth=True, weights=(weights,))
    plain = walks(macro, 6, 12, np.random.default_rng(0), config=QUICK, growth=True)
    assert macro.validation_N[taught].mean() > macro.validation_N[plain].mean() + 5
    assert len(teach(macro, AgentBench(teachers=2, lesson=3))) == 2


def test_without_learning_nothing_is_learned_and_the_network_is_never_asked():
    plain, uniform = AGENTS["agent_without_learning"](CellSearchConfig()), AGENTS["uniform_walk"](CellSearchConfig())
    assert AGENTS["agent"](CellSearchConfig()) == CellSearchConfig()
    assert plain == replace(CellSearchConfig(), updates=0)
    assert (uniform.updates, uniform.learner.epsilon_start, uniform.learner.epsilon_end) == (0, 1.0, 1.0)


def test_what_judges_is_never_what_is_seen_but_where_the_bar_says_so():
    for name, environment in ENVIRONMENTS.items():
        for seen, judged in environment.folds:
            assert (seen in judged) == (name == "Macro"), name
            assert environment.prior not in judged
    assert len(ENVIRONMENTS["Macro, one seed"].folds) == 3
    assert tuple(ENVIRONMENTS) == table_settings.ENVIRONMENTS


def test_the_bench_runs_on_the_labs_own_table_and_goes_on_from_what_is_there(tmp_path):
    result = bench.run(small(tmp_path))
    facts = result["results"]["digits"]
    assert set(facts["methods"]) == {*AGENTS, *STRATEGIES}
    for found in facts["methods"].values():
        assert facts["optimum"] >= found["accuracies"]["30"]["mean"]
    assert facts["methods"]["agent"]["accuracies"]["30"]["mean"] > 90
    assert json.loads(json.dumps(result))["bench"] == "agent"
    assert "agent_without_learning" in str(bench.summary(result))
    kept = tmp_path / "digits-agent.json"
    data = json.loads(kept.read_text())
    assert [len(values) for values in data["accuracies"].values()] == [3, 3]
    data["accuracies"]["15"] = [1.0, 2.0, 3.0]
    kept.write_text(json.dumps(data))
    again = bench.run(small(tmp_path))["results"]["digits"]["methods"]["agent"]["accuracies"]["15"]
    assert again == {"mean": 2.0, "deviation": 1.0, "error": 0.577}
    other = {count: {"mean": 1.5, "deviation": 1.0, "error": 0.4} for count in ("15", "30")}
    own = {count: {"mean": 2.0, "deviation": 1.0, "error": 0.3} for count in ("15", "30")}
    result["results"]["digits"]["methods"]["agent"]["accuracies"] = own
    result["results"]["digits"]["methods"]["uniform_walk"]["accuracies"] = other
    assert "digits: agent above uniform walk by +0.50 +- 0.50, +0.50 +- 0.50" in str(bench.summary(result))
    with pytest.raises(ConfigError, match="another seeds"):
        bench.run(small(tmp_path, seeds=4))


def test_the_seeds_are_dealt_to_the_folds_and_judged_by_unseen_columns(tmp_path, monkeypatch):
    rows = {
        "".join(map(str, row)): {
            "test_acc": [10.0 * row[0], 10.0 * row[1], 10.0 * row[2]],
            "params": 1 + sum(row),
            "flops": 1 + sum(row),
        }
        for row in NETWORKS
    }
    (tmp_path / "nas_bench_macro_cifar10.json").write_text(json.dumps(rows))
    monkeypatch.setenv("LAB_NAS_TABLES", str(tmp_path))
    config = small(tmp_path, environments=("Macro, one seed",), seeds=7, updates=0)
    facts = bench.run(config)["results"]["Macro, one seed"]
    assert facts["optimum"] == 20.0
    assert set(facts["methods"]) == {*AGENTS, *STRATEGIES, "greedy_growth", "copied_prior"}
    kept = json.loads((tmp_path / "macro-one-seed-greedy_growth.json").read_text())
    # What one column says nothing about stays as it was at first, or as it was drawn with the others: 0, 10 or 20.
    assert len(kept["accuracies"]["30"]) == 7
    assert set(kept["accuracies"]["30"]) <= {0.0, 5.0, 10.0}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"environments": ("cifar",)}, "environment"),
        ({"seeds": 2}, "seeds"),
        ({"evaluations": (0,)}, "evaluations"),
        ({"every": 0}, "every"),
    ],
)
def test_settings_outside_their_range_are_refused(tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        small(tmp_path, **changes)


def test_without_a_table_it_says_where_to_point(tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_NAS_TABLES", raising=False)
    with pytest.raises(DataError, match="a table of space macro, found none. Point LAB_NAS_TABLES"):
        bench.run(small(tmp_path, environments=("Macro",)))


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published tables are not part of the project")
def test_the_bars_are_within_reach_of_a_few_seeds(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_NAS_TABLES", str(TABLES))
    config = AgentBench(environments=("Macro",), evaluations=(50, 100), seeds=6, seed=1, folder=tmp_path)
    methods = bench.run(config)["results"]["Macro"]["methods"]
    # Three standard errors of six seeds below the bars: the bars themselves are for hundreds.
    assert methods["agent"]["accuracies"]["50"]["mean"] > 92.9
    assert methods["agent"]["accuracies"]["100"]["mean"] > methods["random"]["accuracies"]["100"]["mean"] + 0.1
