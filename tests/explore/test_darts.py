import itertools

import pytest
import torch
from scipy import stats

from lab.explore import GumbelExplorer
from lab.nn import SuperNet
from lab.space import DARTS, Genotype

NODE = DARTS.groups[2]
"""Rows of the four edges into node 4 of the normal cell."""


def make(temperature=1.0, scale=1.0, **fields):
    explorer = GumbelExplorer(DARTS, temperature, seed=5, **fields)
    with torch.no_grad():
        explorer.alpha.copy_(scale * torch.randn(28, 10, generator=torch.Generator().manual_seed(2)))
    return explorer


def pair_law(weights):
    """Probability of each unordered pair of places when two are drawn one after the other by weight."""
    total = sum(weights)
    return {
        (a, b): weights[a] / total * weights[b] / (total - weights[a])
        + weights[b] / total * weights[a] / (total - weights[b])
        for a, b in itertools.combinations(range(len(weights)), 2)
    }


def check(observed, expected):
    kept = [i for i, value in enumerate(expected) if value >= 5]
    rare = [i for i in range(len(expected)) if i not in kept]
    bins = [[values[i] for i in kept] + [sum(values[i] for i in rare)] * bool(rare) for values in (observed, expected)]
    scale = sum(bins[0]) / sum(bins[1])
    return stats.chisquare(bins[0], [value * scale for value in bins[1]]).pvalue


@pytest.mark.parametrize(
    ("temperature", "sampling"), [(0.4, "gumbel"), (1.0, "gumbel"), (4.0, "gumbel"), (0.4, "gdas")]
)
def test_edges_are_drawn_without_replacement_by_weight_and_primitives_by_softmax(temperature, sampling):
    explorer, draws = make(temperature, sampling=sampling), 3_000
    exponent = 1.0 if sampling == "gdas" else 1.0 / temperature
    tempered_EK = explorer.alpha.detach().double().softmax(-1) ** exponent
    tempered_EK[:, 0] = 0.0
    law = pair_law(tempered_EK[list(NODE)].sum(-1).tolist())
    pairs, primitives = dict.fromkeys(law, 0), [0] * 10
    for _ in range(draws):
        choices = explorer.sample().choices
        taken = tuple(place for place, row in enumerate(NODE) if choices[row] >= 0)
        pairs[taken] += 1
        if taken[0] == 0:
            primitives[choices[NODE[0]]] += 1
    assert check(list(pairs.values()), [draws * law[pair] for pair in pairs]) > 0.001
    row_K = tempered_EK[NODE[0]] / tempered_EK[NODE[0]].sum()
    assert primitives[0] == 0
    assert check(primitives[1:], [sum(primitives) * float(p) for p in row_K[1:]]) > 0.001


def test_every_draw_is_a_genotype():
    explorer = make()
    for draw in (explorer.sample, explorer.sample_uniform):
        for _ in range(50):
            genotype = draw().genotype(DARTS)
            assert len(genotype.rows) == 16
            assert "none" not in genotype.primitives


def test_uniform_draws_are_uniform_over_pairs_and_primitives():
    explorer = make(0.01)
    pairs = dict.fromkeys(itertools.combinations(range(4), 2), 0)
    primitives = [0] * 10
    for _ in range(1_200):
        choices = explorer.sample_uniform().choices
        pairs[tuple(place for place, row in enumerate(NODE) if choices[row] >= 0)] += 1
        for choice in choices:
            primitives[choice] += choice >= 0
    assert stats.chisquare(list(pairs.values())).pvalue > 0.001
    assert stats.chisquare(primitives[1:]).pvalue > 0.001
    assert primitives[0] == 0


def test_likeliest_is_the_rule_worked_out_by_hand():
    explorer = make()
    with torch.no_grad():
        explorer.alpha.zero_()
        rows = DARTS.groups[1]
        explorer.alpha[rows[0], 4] = 1.0
        # Larger numbers, but their softmax is flatter: raw values must not be compared between edges.
        explorer.alpha[rows[1]] = 3.0
        explorer.alpha[rows[1], 5] = 3.5
        explorer.alpha[rows[2], 0] = 8.0
        explorer.alpha[rows[2], 6] = 4.0
    genotype = explorer.argmax_genotype
    assert [genotype.indices[row] for row in rows] == [4, 5, -1], "the edge that is most probably none is left"


def test_without_noise_and_at_low_temperature_the_draw_is_the_likeliest():
    for explorer in (make(2.0, exploration_factor=0.0), make(0.01)):
        argmax_genotype = explorer.argmax_genotype.indices
        assert all(explorer.sample().choices == argmax_genotype for _ in range(20))


@pytest.mark.parametrize("sampling", ["gumbel", "gdas"])
def test_gradient_of_alpha_is_the_formula_on_taken_edges_and_nothing_elsewhere(sampling):
    explorer = make(0.7, sampling=sampling).double()
    state = explorer.search_state()
    drawn = explorer.sample()
    upstream_E = torch.linspace(-1, 1, 28, dtype=torch.float64)
    taken = [row for row, k in enumerate(drawn.choices) if k >= 0]
    (drawn.weights_E * upstream_E)[taken].sum().backward()
    explorer.load_search_state(state)
    noise_EK = explorer._noise()
    with torch.no_grad():
        if sampling == "gumbel":
            y = (explorer.alpha / 0.7 + noise_EK).softmax(-1)
        else:
            y = ((explorer.alpha.log_softmax(-1) + noise_EK) / 0.7).softmax(-1)
    expected = torch.zeros(28, 10, dtype=torch.float64)
    for row in taken:
        k = drawn.choices[row]
        for j in range(10):
            expected[row, j] = upstream_E[row] * y[row, k] * (float(j == k) - y[row, j]) / 0.7
    torch.testing.assert_close(explorer.alpha.grad, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(drawn.weights_E.detach(), torch.ones(28, dtype=torch.float64))


def test_gradients_reach_alpha_of_the_taken_edges_through_the_supernet():
    explorer, net = make(), SuperNet(DARTS, channels=2, layers=3, num_classes=3)
    drawn = explorer.sample()
    net(torch.randn(4, 3, 8, 8), drawn).square().sum().backward()
    reached = [row for row in range(28) if explorer.alpha.grad[row].abs().sum() > 0]
    assert reached == [row for row, k in enumerate(drawn.choices) if k >= 0]
    explorer.alpha.grad = None
    net(torch.randn(4, 3, 8, 8), explorer.sample(hard=False)).square().sum().backward()
    assert bool((explorer.alpha.grad.abs().sum(-1) > 0).all())


def test_it_learns_which_sources_and_which_primitive_are_better():
    explorer = GumbelExplorer(DARTS, 1.0, seed=0)
    optimizer = torch.optim.Adam(explorer.parameters(), lr=0.1)
    good = DARTS.primitives.index("sep_conv_3x3")
    wanted = {row for row, edge in enumerate(DARTS.edges) if edge.source < 2}
    for _ in range(200):
        drawn = explorer.sample()
        cost_E = torch.tensor([0.5 if row in wanted and k == good else 1.5 for row, k in enumerate(drawn.choices)])
        taken = [row for row, k in enumerate(drawn.choices) if k >= 0]
        optimizer.zero_grad()
        (drawn.weights_E * (cost_E - 1.0))[taken].sum().backward()
        optimizer.step()
    expected = Genotype.from_indices(DARTS, [good if row in wanted else -1 for row in range(28)])
    assert explorer.argmax_genotype == expected


def test_what_draws_were_like_counts_taken_edges_alone():
    greedy = make(1.0, exploration_factor=0.0)
    greedy.sample()
    assert greedy.sample_stats.distance == 0.0
    free = make(100.0)
    for _ in range(50):
        free.sample()
    assert 0.9 < free.sample_stats.distance <= 1.0
    assert free.sample_stats.diversity > 0.9


def test_draws_go_on_exactly_from_a_saved_state():
    explorer = make()
    explorer.sample()
    state = explorer.search_state()
    expected = [explorer.sample().choices for _ in range(5)] + [explorer.sample_uniform().choices]
    other = GumbelExplorer(DARTS, 1.0, seed=77)
    other.load_search_state(state)
    assert [other.sample().choices for _ in range(5)] + [other.sample_uniform().choices] == expected
