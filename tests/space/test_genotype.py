from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.space import NB201, Edge, Genotype, mutate, neighbours, sample

genotypes = st.tuples(*[st.sampled_from(NB201.primitives)] * 6).map(lambda ops: Genotype(NB201, ops))
RESNET = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


@given(genotypes)
def test_text_forms_give_the_genotype_back(genotype):
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_arch_str(genotype.arch_str) == genotype
    assert Genotype(NB201, tuple(NB201.primitives[k] for k in genotype.indices)) == genotype


@given(genotypes, genotypes)
def test_diff_is_what_turns_one_into_the_other_and_digests_differ_with_it(old, new):
    walked = old
    for edit in old.diff(new):
        assert edit.old != edit.new
        walked = walked.replace(edit.edge, edit.new)
    assert walked == new
    assert (old.digest == new.digest) == (old == new)


def test_arch_str_is_the_notation_of_the_published_benchmark():
    genotype = Genotype.from_arch_str(RESNET)
    assert genotype.primitives[NB201.edge_index(Edge("cell", 3, 0))] == "skip_connect"
    assert genotype.arch_str == RESNET
    assert NB201.size == 15_625


@pytest.mark.parametrize("text", ["", "|none~0|", RESNET.replace("~2", "~1"), RESNET.replace("nor_conv_3x3", "conv")])
def test_text_of_another_form_is_refused(text):
    with pytest.raises(ConfigError, match="expected .*, got .*. "):
        Genotype.from_arch_str(text)


@pytest.mark.parametrize(
    "data", [None, {}, {"space": "nb202", "cells": {}}, {"space": "nb201", "cells": {"cell": [[1, 0, "none"]]}}]
)
def test_json_of_another_form_is_refused(data):
    with pytest.raises(ConfigError, match="expected"):
        Genotype.from_json(data)


def test_wrong_number_of_primitives_is_refused():
    with pytest.raises(ConfigError, match="6 primitives"):
        Genotype(NB201, ("none",))


@given(genotypes)
def test_nb201_has_24_neighbours_one_edit_away(genotype):
    found = neighbours(genotype)
    assert len(set(found)) == 24
    assert all(len(genotype.diff(other)) == 1 for other in found)


@given(genotypes, st.floats(0.01, 1.0), st.sampled_from(["random", "guided", "conservative"]), st.integers(0, 99))
def test_mutation_makes_the_promised_number_of_edits(genotype, strength, kind, seed):
    probabilities = [[0.2] * 5] * 6
    mutated = mutate(genotype, strength, kind, Random(seed), probabilities)
    effective = strength / 2 if kind == "conservative" else strength
    assert len(genotype.diff(mutated)) == max(1, round(effective * 6))
    assert mutated == mutate(genotype, strength, kind, Random(seed), probabilities)


def test_guided_mutation_follows_the_probabilities():
    genotype = Genotype.from_arch_str(RESNET)
    probabilities = [[0.0, 0.0, 0.0, 1.0, 0.0]] * 6
    drawn = [mutate(genotype, 0.1, "guided", Random(seed), probabilities) for seed in range(50)]
    assert all(edit.edge == Edge("cell", 3, 0) for other in drawn for edit in genotype.diff(other))
    assert all(edit.new == "nor_conv_3x3" for other in drawn for edit in genotype.diff(other))


def test_guided_mutation_needs_probabilities():
    genotype = sample(NB201, Random(0))
    with pytest.raises(ConfigError, match="probabilities with 6 rows"):
        mutate(genotype, 0.3, "guided", Random(0))
    with pytest.raises(ConfigError, match="mutation kind"):
        mutate(genotype, 0.3, "clever", Random(0))
    with pytest.raises(ConfigError, match="mutation strength"):
        mutate(genotype, 0.0, "random", Random(0))


def test_sampling_reaches_every_primitive_on_every_edge():
    rng = Random(0)
    drawn = {(row, k) for _ in range(300) for row, k in enumerate(sample(NB201, rng).indices)}
    assert len(drawn) == 30


@pytest.mark.parametrize("row", [[1, 0, "none"], [True, 0, "none"], [1.0, 0, "none"], [float("inf"), 0, "none"]])
def test_an_edge_that_comes_twice_or_between_no_nodes_is_refused(row):
    data = Genotype(NB201, ("nor_conv_3x3",) * 6).to_json()
    data["cells"]["cell"].append(row)
    with pytest.raises(ConfigError, match="rows of target, source, primitive"):
        Genotype.from_json(data)
