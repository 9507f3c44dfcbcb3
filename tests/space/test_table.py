from itertools import product
from pathlib import Path

import pytest

from lab.base import ConfigError, DataError
from lab.space import NB201, Genotype, Table, find_table

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "nas_tables" / "nas_bench_201.csv"


def write_table(path, rows):
    path.write_text("index,ops,toy\n" + "\n".join(f"{i},{ops},{value}" for i, (ops, value) in enumerate(rows)))
    return path


@pytest.fixture
def toy(tmp_path):
    rows = [("".join(map(str, ops)), sum(ops)) for ops in product(range(5), repeat=6)]
    return Table.load(write_table(tmp_path / "nas_bench_201.csv", rows))


def cell(*indices):
    return Genotype(NB201, tuple(NB201.primitives[k] for k in indices))


def test_ranks_count_from_the_best_and_ties_share_the_best_rank(toy):
    assert toy.rank(cell(4, 4, 4, 4, 4, 4), "toy") == 1
    assert toy.rank(cell(4, 4, 4, 4, 4, 3), "toy") == toy.rank(cell(3, 4, 4, 4, 4, 4), "toy") == 2
    assert toy.rank(cell(0, 0, 0, 0, 0, 0), "toy") == NB201.size
    assert toy.query(cell(1, 2, 3, 4, 0, 0), "toy") == 10


def test_an_unknown_column_is_refused(toy):
    with pytest.raises(ConfigError, match="a column of toy"):
        toy.query(cell(0, 0, 0, 0, 0, 0), "cifar")


def test_missing_and_damaged_tables_are_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="nothing at"):
        Table.load(tmp_path / "none.csv")
    with pytest.raises(DataError, match="different cells were expected"):
        Table.load(write_table(tmp_path / "short.csv", [("000000", 1)]))
    monkeypatch.setenv("LAB_NAS_TABLES", str(tmp_path))
    with pytest.raises(DataError, match="nothing at"):
        find_table(NB201)
    monkeypatch.delenv("LAB_NAS_TABLES")
    assert find_table(NB201) is None


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published table is not part of the project")
def test_published_table_has_the_published_optimum():
    table = Table.load(PUBLISHED)
    six_convolutions = cell(3, 3, 3, 3, 3, 3)
    assert table.query(six_convolutions, "c10_test200") == pytest.approx(93.76, abs=0.01)
    assert table.rank(six_convolutions, "c10_test200") == 167
    assert table.query(cell(1, 1, 1, 1, 1, 1), "c10_test200") == pytest.approx(54.297, abs=0.01)
