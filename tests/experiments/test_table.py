import csv

import pytest

from lab.base import ConfigError
from lab.experiments import table
from lab.experiments.table import TableBench
from lab.space import NB125, Genotype, Table, find_table

TINY = {"seeds": 2, "epochs": 2, "channels": 1, "batch_size": 64}


def test_cells_are_trained_once_and_a_repeated_call_goes_on(tmp_path, monkeypatch):
    config = TableBench(cells=2, folder=tmp_path, **TINY)
    first = table.run(config)["results"]
    assert first["cells"] == 2
    trained = []
    real = table._train
    monkeypatch.setattr(table, "_train", lambda ops, *rest: trained.append(ops) or real(ops, *rest))
    more = TableBench(cells=3, folder=tmp_path, **TINY)
    result = table.run(more)
    assert trained == ["002", "002"], "two seeds of the one new cell"
    assert table.run(more)["results"] == result["results"]
    assert len(trained) == 2
    assert "3 cells" in str(table.summary(result))
    with pytest.raises(ConfigError, match="another epochs"):
        table.run(TableBench(cells=2, folder=tmp_path, **(TINY | {"epochs": 3})))


def test_the_csv_is_a_table_that_the_lab_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(
        table,
        "_train",
        lambda ops, streams, config, seed: {
            "validation_half": 10.0,
            "validation": float(int(ops, 5)) / 2,
            "validation_loss": 1.0,
            "test": float(int(ops, 5)) / 2 + seed,
            "test_loss": 1.0,
        },
    )
    path = tmp_path / "out" / "nb125_digits.csv"
    table.run(TableBench(folder=tmp_path / "r", csv=path, **TINY))
    truth = Table.load(path)
    assert truth.space == NB125
    best = Genotype(NB125, ("avg_pool_3x3",) * 3)
    assert truth.rank(best, "digits_test") == 1
    assert truth.query(best, "digits_test") == 62.5
    with path.open() as handle:
        assert len(list(csv.DictReader(handle))) == 125


def test_a_cell_is_trained_by_its_own_seed_and_protocol(tmp_path):
    config = TableBench(cells=1, folder=tmp_path, **TINY)
    assert config.protocol == TableBench(cells=5, folder=tmp_path / "x", **TINY).protocol
    assert TableBench(weight_lr=0.3).protocol != TableBench().protocol


def test_the_labs_own_table_is_found_without_a_setting(monkeypatch):
    monkeypatch.delenv("LAB_NAS_TABLES", raising=False)
    truth = find_table(NB125)
    assert truth is not None
    assert "digits_test" in truth.columns
    skips = Genotype(NB125, ("skip_connect",) * 3)
    absent = Genotype(NB125, ("none",) * 3)
    assert truth.query(absent, "digits_test") < 15 < 50 < truth.query(skips, "digits_test")
    assert truth.rank(absent, "digits_test") > 100
