"""NAS-Bench-Macro's networks as a space, and its published table."""

import json
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import DataError
from lab.space import ALL_SPACES, MACRO, SIZES, SPACES, Genotype, Table, find_table, mutate, neighbours, sample

TABLES = Path(__file__).parents[3] / "shared" / "data" / "nas_tables"
networks = st.tuples(*[st.sampled_from(MACRO.primitives)] * 8).map(lambda blocks: Genotype(MACRO, blocks))


def rows():
    """A table in the published form: what a network gets grows with its digits."""
    return {
        "".join(map(str, digits)): {
            "test_acc": [sum(digits), sum(digits) + 1.0, sum(digits) + 5.0],
            "params": 100 + sum(digits),
            "flops": 7,
        }
        for digits in product(range(3), repeat=8)
    }


def write(path, data):
    path.write_text(json.dumps(data))
    return path


@given(networks)
def test_a_network_survives_json_and_has_16_neighbours_each_one_position_away(network):
    assert Genotype.from_json(network.to_json()) == network
    found = neighbours(network)
    assert len(set(found)) == 16
    assert all(len(network.diff(other)) == 1 for other in found)


def test_the_space_holds_6561_networks_and_is_none_that_a_supernet_is_built_of():
    assert MACRO.size == 6_561
    assert MACRO.name not in SPACES
    assert set(ALL_SPACES) == {*SPACES, MACRO.name, SIZES.name}
    drawn = sample(MACRO, Random(0))
    assert len(drawn.diff(mutate(drawn, 0.25, "random", Random(0)))) == 2


def test_a_table_in_the_published_form_gives_mean_seeds_and_sizes(tmp_path):
    table = Table.load(write(tmp_path / "t.json", rows()))
    assert table.space == MACRO
    assert table.columns == ("mean", "seed0", "seed1", "seed2", "params", "flops")
    network = Genotype.from_indices(MACRO, (2, 1, 0, 0, 0, 0, 0, 0))
    assert [table.query(network, column) for column in table.columns] == [5.0, 3.0, 4.0, 8.0, 103.0, 7.0]
    largest = Genotype.from_indices(MACRO, (2,) * 8)
    assert table.rank(largest, "mean") == 1
    assert table.rank(network, "flops") == 1, "equal values share the best rank"
    assert table.rank(Genotype.from_indices(MACRO, (0,) * 8), "seed2") == MACRO.size


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"00000003": {"test_acc": [1, 2, 3], "params": 1, "flops": 1}}, "00000003 is no network"),
        ({"00000000": {"test_acc": [1, 2], "params": 1, "flops": 1}}, "00000000 is no network with 3 accuracies"),
        ({"00000000": {"test_acc": [1, 2, None], "params": 1, "flops": 1}}, "Check the file"),
        ({"00000000": [1, 2, 3]}, "Check the file"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, changed, named):
    with pytest.raises(DataError, match=named):
        Table.load(write(tmp_path / "t.json", rows() | changed))


def test_a_table_that_lacks_networks_or_is_no_object_is_refused(tmp_path):
    fewer = rows()
    del fewer["00000000"]
    for data in (fewer, {}, [1]):
        with pytest.raises(DataError, match=r"NAS-Bench-Macro's JSON, got .*t\.json"):
            Table.load(write(tmp_path / "t.json", data))


def test_the_table_is_found_through_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_NAS_TABLES", raising=False)
    assert find_table(MACRO) is None
    monkeypatch.setenv("LAB_NAS_TABLES", str(tmp_path))
    write(tmp_path / "nas_bench_macro_cifar10.json", rows())
    table = find_table(MACRO)
    assert table is not None
    assert table.space == MACRO


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published table is not part of the project")
def test_the_published_table_has_the_published_optimum():
    table = Table.load(TABLES / "nas_bench_macro_cifar10.json")
    means = [table.query(Genotype.from_indices(MACRO, digits), "mean") for digits in product(range(3), repeat=8)]
    assert max(means) == pytest.approx(93.127, abs=5e-4)
    identity = Genotype.from_indices(MACRO, (0,) * 8)
    assert table.query(identity, "mean") == pytest.approx(45.363, abs=5e-4)
    assert table.query(identity, "params") == 387_882
