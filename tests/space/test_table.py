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


def rows_of_nb125():
    return [["".join(map(str, ops)), f"{50 + sum(ops)}", f"{60 + ops[0]}"] for ops in product(range(5), repeat=3)]


def write_two(path, rows, header="ops,one,two"):
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]))
    return path


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e9", "-1", "100.5", "", "a", "1" + "0" * 5000])
def test_a_number_that_is_no_accuracy_is_refused_with_its_line(tmp_path, value):
    rows = rows_of_nb125()
    rows[40][2] = value
    with pytest.raises(DataError, match="line 42: two is"):
        Table.load(write_two(tmp_path / "t.csv", rows))


@pytest.mark.parametrize("ops", ["012345", "000000", "01", "0123", "005", "٠٠٠", "²00", "", "-1"])
def test_a_row_of_another_length_or_alphabet_is_refused_with_its_line(tmp_path, ops):
    rows = rows_of_nb125()
    rows[40][0] = ops
    with pytest.raises(DataError, match="line 42"):
        Table.load(write_two(tmp_path / "t.csv", rows))


def test_doubled_rows_and_columns_are_refused(tmp_path):
    rows = rows_of_nb125()
    assert len(Table.load(write_two(tmp_path / "t.csv", rows)).columns) == 2
    with pytest.raises(DataError, match="line 127: 444 a second time"):
        Table.load(write_two(tmp_path / "t.csv", [*rows, rows[-1]]))
    with pytest.raises(DataError, match="two columns of one name"):
        Table.load(write_two(tmp_path / "t.csv", rows, "ops,one,one"))
    with pytest.raises(DataError, match="line 2: 3 fields"):
        Table.load(write_two(tmp_path / "t.csv", [[*row, "1"] for row in rows]))
    with pytest.raises(DataError, match="line 2: 3 fields"):
        Table.load(write_two(tmp_path / "t.csv", [row[:2] for row in rows]))


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"00000000": {"test_acc": [1, 2, NaN], "params": 1, "flops": 1}}', '{"1": 1, "1": 2}', "{}"],
)
def test_a_json_table_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=r"t\.json"):
        Table.load(tmp_path / "t.json")
