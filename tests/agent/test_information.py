"""Measures against what is known."""

import math

import pytest
import torch

from lab.agent import (
    InformationBottleneck,
    differential_entropy,
    discrete_entropy,
    label_information,
    mutual_information,
    pooled_activations,
    redundancy,
)
from lab.base import DataError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [20, 200])
def test_the_entropy_of_fair_dice_is_ln_6_without_the_bias_of_small_samples(count):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randint(6, (count,), generator=generator) for _ in range(300)]
    mean = sum(discrete_entropy(draw) for draw in draws) / len(draws)
    plain = sum(float(-(p := torch.bincount(d) / count)[p > 0].log() @ p[p > 0]) for d in draws) / len(draws)
    assert abs(mean - math.log(6)) < 0.35 * abs(plain - math.log(6))


def test_the_entropy_of_a_normal_is_its_formula_and_follows_the_scale():
    x = normal(4000, 3)
    formula = 0.5 * math.log(2 * math.pi * math.e)
    found = differential_entropy(x)
    assert found == pytest.approx(torch.full((3,), formula, dtype=torch.float64), abs=0.05)
    scaled = differential_entropy(x * 10)
    assert torch.allclose(scaled, found + math.log(10), atol=1e-9)


def test_a_constant_unit_has_no_entropy():
    x = normal(100, 2)
    x[:, 1] = 3.0
    found = differential_entropy(x)
    assert math.isfinite(found[0])
    assert found[1] == -math.inf


def test_independent_normals_share_nothing():
    found = [mutual_information(normal(100, seed=2 * n), normal(100, seed=2 * n + 1), seed=n) for n in range(50)]
    assert sum(found) / 50 <= 0.05


@pytest.mark.parametrize("rho", [0.6, 0.9])
def test_correlated_normals_share_what_the_formula_says(rho):
    found = []
    for n in range(20):
        x, noise = normal(5000, seed=2 * n), normal(5000, seed=2 * n + 1)
        found.append(mutual_information(x, rho * x + math.sqrt(1 - rho**2) * noise, seed=n))
    assert sum(found) / 20 == pytest.approx(-0.5 * math.log(1 - rho**2), rel=0.05)


def test_the_information_of_a_label_is_its_entropy_where_it_is_given_else_none():
    labels = torch.arange(600) % 3
    x = normal(600, 2)
    x[:, 0] = labels * 100 + x[:, 0]
    informed, uninformed = label_information(x, labels)
    assert informed == pytest.approx(math.log(3), rel=0.02)
    assert uninformed < 0.06


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_the_information_of_labels_is_scikit_learns_to_the_bit(classes):
    """Also of a column with ties, one that says much, and with a label that no other sample has."""
    from sklearn.feature_selection import mutual_info_classif

    x, labels = normal(150, 5, seed=classes), torch.arange(150) % classes
    x[:, 0] = x[:, 0].relu()
    x[:, 1] += labels
    labels[77] = 10
    for seed in (0, 3):
        expected = mutual_info_classif(x.numpy(), labels.numpy(), n_neighbors=3, random_state=seed)
        assert label_information(x, labels, seed=seed).tolist() == expected.tolist()


def test_few_samples_of_a_label_are_told_by_their_distances():
    """The formula by hand: psi(8) + psi(k) - psi(4) - <psi(m)>, with what lies nearer than the third of its label."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    x = torch.tensor([0.0, 1.0, 3.0, 6.0, 100.0, 101.0, 103.0, 106.0], dtype=torch.float64)
    psi = torch.special.digamma(torch.arange(9.0, dtype=torch.float64))
    # The third of four is the farthest one: all others of the label but that are nearer, and the sample itself.
    assert float(label_information(x, labels)) == pytest.approx(float(psi[8] + psi[3] - psi[4] - psi[3]), abs=1e-12)


@pytest.mark.parametrize("copies", [1, 2, 4, 10])
@pytest.mark.parametrize("columns", [1, 4])
def test_samples_that_come_several_times_say_nothing_more(columns, copies):
    x, labels = normal(100, columns), torch.randint(3, (100,), generator=torch.Generator().manual_seed(0))
    once = label_information(x, labels)
    assert torch.allclose(label_information(x.repeat(copies, 1), labels.repeat(copies)), once)
    assert float(once.mean()) <= 0.1
    found = [
        mutual_information(normal(100, seed=2 * n).repeat(copies), normal(100, seed=2 * n + 1).repeat(copies))
        for n in range(20)
    ]
    assert sum(found) / 20 <= 0.05


def test_a_sampler_with_replacement_shows_no_information_where_there_is_none():
    found = []
    for n in range(20):
        generator = torch.Generator().manual_seed(n)
        drawn = torch.randint(300, (300,), generator=generator)
        x, labels = normal(300, 1, seed=n), torch.randint(3, (300,), generator=generator)
        found.append(float(label_information(x[drawn], labels[drawn])))
    assert sum(found) / 20 <= 0.05


def test_a_unit_that_is_off_for_many_samples_keeps_what_its_zeros_say():
    x = normal(400, 1)
    assert float(label_information(x.relu(), (x[:, 0] > 0).long())) == pytest.approx(math.log(2), rel=0.1)
    assert float(label_information(x.relu(), torch.arange(400) % 2)) <= 0.05


def test_a_copy_is_redundant_and_a_free_unit_is_not():
    x = normal(500, 4)
    x[:, 1] = 2 * x[:, 0] - 1
    x[:, 3] = 1.0
    assert redundancy(x) == pytest.approx(torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64), abs=0.02)


def test_half_explained_is_half_redundant():
    x = normal(4000, 2)
    x[:, 1] = x[:, 0] + x[:, 1]
    assert redundancy(x) == pytest.approx(torch.full((2,), 0.5, dtype=torch.float64), abs=0.04)


@pytest.mark.parametrize("shape", [(6, 5), (6, 9, 5), (6, 5, 3, 3), (6, 5, 2, 3, 3)])
def test_activations_are_pooled_to_one_number_a_unit(shape):
    assert pooled_activations(torch.randn(shape)).shape == (6, 5)


def test_compression_is_0_for_one_point_and_ln_n_for_far_ones():
    bottleneck = InformationBottleneck(noise=1.0)
    assert float(bottleneck.compression(torch.ones(8, 3))) == pytest.approx(0.0, abs=1e-6)
    assert float(bottleneck.compression(100 * torch.eye(8))) == pytest.approx(math.log(8), rel=1e-6)
    two = torch.tensor([[0.0]] * 4 + [[100.0]] * 4)
    assert float(bottleneck.compression(two)) == pytest.approx(math.log(2), rel=1e-6)


def test_the_objective_has_the_gradient_of_its_formula():
    bottleneck = InformationBottleneck(beta=0.3, noise=0.7)
    representation = normal(5, 3).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0, 1])
    assert torch.autograd.gradcheck(lambda t: bottleneck.objective(t, t, labels), (representation,))
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(representation, labels), representation)[0]
    whole = torch.autograd.grad(bottleneck.objective(representation, representation, labels), representation)[0]
    assert float((plain - whole).abs().max()) > 1e-3, "compression has no part in the gradient"


def test_minimising_compression_draws_points_together():
    representation = normal(16, 2).requires_grad_()
    optimizer = torch.optim.SGD([representation], lr=1.0)
    bottleneck = InformationBottleneck()
    before = float(bottleneck.compression(representation).detach())
    for _ in range(50):
        optimizer.zero_grad()
        bottleneck.compression(representation).backward()
        optimizer.step()
    assert float(bottleneck.compression(representation).detach()) < 0.5 * before


def test_relevance_is_the_labels_entropy_for_a_sure_and_right_network():
    labels = torch.arange(300) % 3
    sure = 50.0 * torch.nn.functional.one_hot(labels).double()
    assert InformationBottleneck().relevance(sure, labels) == pytest.approx(math.log(3), rel=0.01)
    assert InformationBottleneck().relevance(torch.zeros(300, 3), labels) <= 0.01


def test_bad_samples_are_named():
    with pytest.raises(DataError, match=r"at least 4 samples in rows \(N, C\), got shape \(2, 3\)"):
        differential_entropy(torch.zeros(2, 3))
    with pytest.raises(DataError, match="finite values, got NaN or infinity"):
        label_information(torch.full((9, 1), math.nan), torch.zeros(9))
    with pytest.raises(DataError, match="at least 4 different samples, got 3 among 9"):
        label_information(normal(3, 1).repeat(3, 1), torch.zeros(9))
    with pytest.raises(DataError, match="more than 6 samples for 5 columns, got 6"):
        redundancy(torch.randn(6, 5))
    with pytest.raises(DataError, match="Pool them"):
        pooled_activations(torch.zeros(3))


def test_labels_that_no_two_samples_share_tell_nothing():
    assert label_information(normal(9, 2), torch.arange(9)).tolist() == [0.0, 0.0]
    twice = normal(9, 2).repeat(2, 1)
    assert label_information(twice, torch.arange(9).repeat(2)).tolist() == [0.0, 0.0]
