from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lab.base import ConfigError
from lab.space import (
    ABSENT,
    DARTS,
    NB201,
    SPACES,
    Edge,
    Edit,
    Genotype,
    genotype_text,
    mutate,
    neighbours,
    parse_genotype,
    sample,
)

seeds = st.integers(0, 100_000)
# The cell that its authors found on CIFAR-10, second-order approximation (Liu, Simonyan, Yang 2019, figures 4 and 5).
PUBLISHED = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)


def test_the_edge_table_is_the_one_written_by_hand():
    by_hand = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3)]
    by_hand += [(5, 0), (5, 1), (5, 2), (5, 3), (5, 4)]
    assert [(edge.target, edge.source) for edge in DARTS.edges[:14]] == by_hand
    assert [(edge.target, edge.source) for edge in DARTS.edges[14:]] == by_hand
    assert [edge.cell for edge in DARTS.edges] == ["normal"] * 14 + ["reduce"] * 14
    assert DARTS.groups[:4] == ((0, 1), (2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12, 13))
    assert SPACES["darts"] is DARTS


def test_the_space_has_ten_primitives_and_its_published_kind_of_size():
    assert len(DARTS.primitives) == 10
    assert DARTS.choosable == DARTS.primitives[1:]
    assert DARTS.size == (1 * 3 * 6 * 10 * 9**8) ** 2
    assert NB201.size == 15_625


@given(seeds)
def test_a_drawn_genotype_has_two_sources_for_each_node_and_never_none(seed):
    genotype = sample(DARTS, Random(seed))
    assert "none" not in genotype.primitives
    assert len(genotype.rows) == 16
    for cell in ("normal", "reduce"):
        for target in range(2, 6):
            taken = [DARTS.edges[row] for row in genotype.rows]
            assert len({e.source for e in taken if e.cell == cell and e.target == target}) == 2


def test_pairs_of_sources_are_drawn_uniformly():
    rng, counts = Random(0), dict.fromkeys([(a, b) for b in range(5) for a in range(b)], 0)
    for _ in range(2_000):
        genotype = sample(DARTS, rng)
        counts[tuple(sorted(DARTS.edges[row].source for row in genotype.rows if 9 <= row < 14))] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


@given(seeds)
def test_text_and_json_give_the_genotype_back(seed):
    genotype = sample(DARTS, Random(seed))
    assert parse_genotype(genotype_text(genotype)) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_indices(DARTS, genotype.indices) == genotype
    assert ABSENT not in str(genotype.to_json())
    assert ABSENT not in genotype_text(genotype)


def test_the_published_cell_is_read_and_written():
    genotype = parse_genotype(PUBLISHED)
    assert genotype.primitives[DARTS.edge_index(Edge("normal", 4, 0))] == "skip_connect"
    assert genotype.primitives[DARTS.edge_index(Edge("normal", 4, 1))] == "sep_conv_3x3"
    assert genotype.primitives[DARTS.edge_index(Edge("normal", 4, 2))] == ABSENT
    assert genotype.primitives[DARTS.edge_index(Edge("reduce", 5, 2))] == "skip_connect"
    # Written in order of the sources, which is the same cell.
    assert genotype_text(genotype) == PUBLISHED.replace(
        "('sep_conv_3x3', 1), ('skip_connect', 0)", "('skip_connect', 0), ('sep_conv_3x3', 1)"
    ).replace("('skip_connect', 2), ('max_pool_3x3', 1)", "('max_pool_3x3', 1), ('skip_connect', 2)")
    assert parse_genotype(PUBLISHED.replace("range(2, 6)", "[2, 3, 4, 5]")) == genotype
    nb201 = sample(NB201, Random(0))
    assert parse_genotype(genotype_text(nb201)) == nb201


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sep_conv_3x3", "none", "a primitive of space darts on edge normal 2<-0"),
        ("sep_conv_3x3", "conv", "a primitive of space darts"),
        ("('sep_conv_3x3', 1), ('sep_conv_3x3', 0)", "('sep_conv_3x3', 0), ('sep_conv_3x3', 0)", "two different nodes"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "two different nodes before node 5"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)", "a list of 8 pairs"),
        (", ('dil_conv_3x3', 2)", "", "a list of 8 pairs"),
        ("normal_concat=range(2, 6)", "normal_concat=range(3, 6)", "normal_concat=range"),
        ("normal_concat=range(2, 6), ", "", "expected Genotype"),
        ("Genotype(normal=", "Genotype(normal=print(", "expected Genotype"),
        ("('dil_conv_3x3', 2)", "__import__('os')", "expected Genotype"),
        ("range(2, 6)", "range(2, 6)" + " " * 4_000, "expected Genotype"),
    ],
)
def test_text_of_another_form_is_refused_and_never_run(old, new, message):
    with pytest.raises(ConfigError, match=message):
        parse_genotype(PUBLISHED.replace(old, new))


@given(seeds, seeds)
def test_diff_is_what_turns_one_into_the_other(one, other):
    old, new = sample(DARTS, Random(one)), sample(DARTS, Random(other))
    assert old.edit(old.diff(new)) == new
    assert (old.digest == new.digest) == (old == new)


def test_edges_taken_are_two_for_each_node():
    genotype = parse_genotype(PUBLISHED)
    edge = Edge("normal", 3, 2)
    with pytest.raises(ConfigError, match=r"2 edges into node 3 of the normal cell.*got 3 \(from 0, 1, 2\)"):
        genotype.replace(edge, "sep_conv_3x3")
    with pytest.raises(ConfigError, match=r"got 1 \(from 0\)"):
        genotype.replace(Edge("normal", 3, 1), ABSENT)
    moved = genotype.edit([Edit(Edge("normal", 3, 1), "sep_conv_3x3", ABSENT), Edit(edge, ABSENT, "sep_conv_5x5")])
    assert moved.diff(genotype)[0].new == "sep_conv_3x3"
    with pytest.raises(ConfigError, match="sep_conv_7x7 on edge normal 3<-2"):
        genotype.edit([Edit(edge, "sep_conv_7x7", ABSENT)])
    with pytest.raises(ConfigError, match="a primitive of space nb201"):
        Genotype(NB201, (ABSENT,) * 6)
    data = genotype.to_json()
    data["cells"]["normal"][0][1] = 1
    with pytest.raises(ConfigError, match="normal 2<-1 a second time"):
        Genotype.from_json(data)
    with pytest.raises(ConfigError, match="rows of target, source, primitive"):
        Genotype.from_json({"space": "darts", "cells": {"normal": [["two", 0, "skip_connect"]]}})


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_a_genotype_has_344_neighbours_one_input_away(seed):
    genotype = sample(DARTS, Random(seed))
    found = neighbours(genotype)
    assert len(found) == len(set(found)) == 344
    assert all(sum(edit.old != ABSENT for edit in genotype.diff(other)) == 1 for other in found)


@given(seeds, st.floats(0.01, 1.0), st.sampled_from(["random", "guided", "conservative"]))
def test_mutation_changes_the_promised_number_of_inputs(seed, strength, kind):
    genotype = sample(DARTS, Random(seed))
    rng = Random(seed)
    probabilities = [[rng.random() for _ in range(10)] for _ in range(28)]
    mutated = mutate(genotype, strength, kind, Random(seed), probabilities)
    effective = strength / 2 if kind == "conservative" else strength
    edits = genotype.diff(mutated)
    assert sum(edit.old != ABSENT for edit in edits) == max(1, round(effective * 16))
    assert sum(edit.new == ABSENT for edit in edits) == sum(edit.old == ABSENT for edit in edits)
    assert mutated == mutate(genotype, strength, kind, Random(seed), probabilities)


def test_mutation_changes_primitives_and_sources():
    genotype = parse_genotype(PUBLISHED)
    edits = [genotype.diff(mutate(genotype, 0.05, "random", Random(seed))) for seed in range(200)]
    moved = sum(any(edit.new == ABSENT for edit in found) for found in edits)
    assert 60 < moved < 180, "about 62 % of the neighbours take another source"
    assert {edit.new for found in edits for edit in found} == {*DARTS.choosable, ABSENT}


def test_guided_mutation_takes_what_is_probable():
    genotype = parse_genotype(PUBLISHED)
    probabilities = [[0.0] * 10 for _ in range(28)]
    for row in genotype.rows:
        probabilities[row][genotype.indices[row]] = 1.0
    probabilities[DARTS.edge_index(Edge("normal", 5, 2))] = [0.0] * 10
    wanted = Edge("normal", 5, 4)
    probabilities[DARTS.edge_index(wanted)][DARTS.primitives.index("sep_conv_7x7")] = 1.0
    edits = [genotype.diff(mutate(genotype, 0.05, "guided", Random(seed), probabilities)) for seed in range(50)]
    expected = {Edit(Edge("normal", 5, 2), "dil_conv_3x3", ABSENT), Edit(wanted, ABSENT, "sep_conv_7x7")}
    assert all(set(found) == expected for found in edits)


def test_guided_mutation_needs_a_row_for_each_edge():
    with pytest.raises(ConfigError, match="probabilities with 28 rows"):
        mutate(sample(DARTS, Random(0)), 0.3, "guided", Random(0), [[0.1] * 10] * 14)
