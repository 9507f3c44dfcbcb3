import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from lab.base import ConfigError, TrainingError
from lab.explore import (
    AdaptiveSchedule,
    CosineSchedule,
    GumbelExplorer,
    LinearSchedule,
    best_genotype,
    measure_collapse,
)
from lab.nn import Sample, SuperNet
from lab.space import DARTS, NB125, NB201


def make(temperature=1.0, **fields):
    explorer = GumbelExplorer(NB201, temperature, seed=3, **fields)
    with torch.no_grad():
        explorer.alpha.copy_(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)))
    return explorer


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_cells_are_drawn_with_softmax_of_alpha_over_tau(temperature):
    explorer = make(temperature)
    draws = 2_000
    pairs = dict.fromkeys(itertools.product(range(5), range(5)), 0)
    for _ in range(draws):
        choices = explorer.sample().choices
        pairs[choices[0], choices[4]] += 1
    probabilities = explorer.probabilities().double()
    expected = [draws * float(probabilities[0, a] * probabilities[4, b]) for a, b in pairs]
    observed = list(pairs.values())
    rare = [i for i, value in enumerate(expected) if value < 5]
    kept = [i for i in range(len(expected)) if i not in rare]
    bins = ([observed[i] for i in kept], [expected[i] for i in kept])
    if rare:
        bins[0].append(sum(observed[i] for i in rare))
        bins[1].append(sum(expected[i] for i in rare))
    scale = sum(bins[0]) / sum(bins[1])
    assert stats.chisquare(bins[0], [value * scale for value in bins[1]]).pvalue > 0.001


def test_gdas_draws_do_not_depend_on_the_temperature_and_gumbel_draws_do():
    def frequency(temperature, sampling):
        explorer = make(temperature, sampling=sampling)
        return sum(explorer.sample().choices == explorer.argmax_genotype.indices for _ in range(800)) / 800

    assert abs(frequency(0.2, "gdas") - frequency(5.0, "gdas")) < 0.06
    assert frequency(0.2, "gumbel") > frequency(5.0, "gumbel") + 0.2


@pytest.mark.parametrize("sampling", ["gumbel", "gdas"])
def test_gradient_of_alpha_is_the_formula(sampling):
    explorer = make(0.7, sampling=sampling).double()
    state = explorer.search_state()
    sample = explorer.sample()
    upstream_E = torch.linspace(-1, 1, 6, dtype=torch.float64)
    (sample.weights_E * upstream_E).sum().backward()
    explorer.load_search_state(state)
    noise = explorer._noise()
    with torch.no_grad():
        if sampling == "gumbel":
            y = (explorer.alpha / 0.7 + noise).softmax(-1)
        else:
            y = ((explorer.alpha.log_softmax(-1) + noise) / 0.7).softmax(-1)
    expected = torch.zeros(6, 5, dtype=torch.float64)
    for row, k in enumerate(sample.choices):
        for j in range(5):
            expected[row, j] = upstream_E[row] * y[row, k] * (float(j == k) - y[row, j]) / 0.7
    torch.testing.assert_close(explorer.alpha.grad, expected, rtol=1e-10, atol=1e-12)


def test_weights_are_exactly_one():
    explorer = make(0.37)
    assert all(torch.equal(explorer.sample().weights_E.detach(), torch.ones(6)) for _ in range(50))


def test_draws_go_on_exactly_from_a_saved_state_and_touch_no_other_generator():
    explorer = make(LinearSchedule(epochs=4))
    torch_state = torch.get_rng_state()
    explorer.sample()
    explorer.update_temperature(0.3)
    state = explorer.search_state()
    drawn = [explorer.sample().choices for _ in range(10)]
    other = GumbelExplorer(NB201, LinearSchedule(epochs=4), seed=99)
    other.load_search_state(state)
    assert [other.sample().choices for _ in range(10)] == drawn
    assert other.temperature == explorer.temperature
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_it_learns_the_better_primitive():
    explorer = GumbelExplorer(NB201, 1.0, seed=0)
    optimizer = torch.optim.Adam(explorer.parameters(), lr=0.1)
    for _ in range(150):
        sample = explorer.sample()
        cost_E = torch.tensor([float(k != 3) for k in sample.choices])
        optimizer.zero_grad()
        (sample.weights_E * (cost_E - 0.5)).sum().backward()
        optimizer.step()
    assert explorer.argmax_genotype.primitives == ("nor_conv_3x3",) * 6


def test_soft_sampling_gives_the_mixture_and_gradients_reach_alpha():
    explorer = make(2.0)
    net = SuperNet(NB201, channels=2, layers=1, num_classes=3)
    for hard in (True, False):
        explorer.alpha.grad = None
        net(torch.randn(4, 3, 8, 8), explorer.sample(hard=hard)).square().sum().backward()
        assert explorer.alpha.grad.abs().sum() > 0
    assert explorer.sample(hard=False).mixture_EK.sum(-1).detach().allclose(torch.ones(6))


def test_uniform_draws_ignore_alpha():
    explorer = make(0.01)
    counts = torch.zeros(5)
    for _ in range(400):
        for k in explorer.sample_uniform().choices:
            counts[k] += 1
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize("kind", [CosineSchedule, AdaptiveSchedule])
def test_a_held_temperature_stays_and_the_schedule_goes_on_underneath(kind):
    explorer, free = (make(kind(initial_temp=5.0, min_temp=0.1, epochs=4)) for _ in range(2))
    explorer.set_temperature(1.0)
    for score in (0.1, 0.5):
        for each in (explorer, free):
            each.sample()
            each.update_temperature(score)
        assert explorer.temperature == 1.0
    resumed = make(kind(initial_temp=5.0, min_temp=0.1, epochs=4))
    resumed.load_search_state(explorer.search_state())
    assert resumed.temperature == 1.0
    resumed.release_temperature()
    assert resumed.temperature == free.temperature != 1.0


def test_a_checkpoint_of_before_a_temperature_could_be_held_has_the_same_state():
    explorer = make()
    state = explorer.search_state()
    assert "held" not in state
    explorer.set_temperature(0.5)
    explorer.load_search_state(state)
    assert explorer.temperature == 1.0


def test_wrong_use_is_refused():
    explorer = make()
    with pytest.raises(TrainingError, match="sample before update_temperature"):
        explorer.update_temperature(0.1)
    with pytest.raises(ConfigError, match="temperature"):
        explorer.set_temperature(0.0)
    with pytest.raises(ConfigError, match="sampling"):
        make(sampling="clever")


def test_collapse_meter_knows_uniform_one_hot_and_all_skip():
    uniform = measure_collapse(NB201, torch.full((6, 5), 0.2))
    assert uniform.entropy == pytest.approx([1.6094379] * 6)
    assert uniform.dominance == pytest.approx(0.0)
    skip = torch.zeros(6, 5)
    skip[:, 1] = 1.0
    collapsed = measure_collapse(NB201, skip)
    assert collapsed.entropy == pytest.approx([0.0] * 6)
    assert (collapsed.skip_share, collapsed.dominance) == (1.0, 1.0)
    assert collapsed.rank == {}


def test_without_none_it_is_never_drawn_and_has_no_probability_or_gradient():
    for sampling in ("gumbel", "gdas"):
        explorer = make(2.0, sampling=sampling, allow_none=False)
        with torch.no_grad():
            explorer.alpha[:, 0] = 9.0
        assert all(0 not in explorer.sample().choices + explorer.sample_uniform().choices for _ in range(100))
        assert "none" not in explorer.argmax_genotype.primitives
        assert explorer.probabilities()[:, 0].abs().sum() == 0
        assert explorer.probabilities().sum(-1).allclose(torch.ones(6))
        explorer.sample().weights_E.sum().backward()
        assert torch.isfinite(explorer.alpha.grad).all()
        assert explorer.alpha.grad[:, 0].abs().sum() == 0
        assert explorer.alpha.grad.abs().sum() > 0
    explorer = make(5.0)
    assert any(0 in explorer.sample_uniform().choices for _ in range(50)), "it is drawn where it is allowed"


def test_mixture_sampling_runs_every_allowed_primitive():
    explorer = make(1.0, sampling="mixture", allow_none=False)
    assert explorer.sample().mixture_EK.detach().allclose(explorer.probabilities())
    uniform = explorer.sample_uniform(hard=False).mixture_EK
    assert explorer.sample_uniform().choices is not None
    assert uniform[:, 1:].allclose(torch.full((6, 4), 0.25))
    assert uniform[:, 0].abs().sum() == 0
    assert explorer.sample_stats.count == 0
    assert explorer.sample_stats.diversity is None


def test_draws_tell_diversity_distance_and_strength():
    certain, even = make(1.0), make(1.0)
    with torch.no_grad():
        certain.alpha.zero_()
        certain.alpha[:, 3] = 60.0
        even.alpha.zero_()
    for _ in range(300):
        certain.sample()
        even.sample()
    assert certain.sample_stats.count == 200
    assert certain.sample_stats.diversity == pytest.approx(0.0, abs=1e-9)
    assert certain.sample_stats.distance == 0.0
    assert certain.sample_stats.strength == pytest.approx(0.0, abs=1e-9)
    assert even.sample_stats.diversity > 0.98
    assert even.sample_stats.distance == pytest.approx(0.8, abs=0.05)
    assert even.sample_stats.strength == pytest.approx(1.0)


def test_exploration_factor_scales_how_far_draws_are_from_the_most_probable_cell():
    def distance(factor):
        explorer = make(1.0, exploration_factor=factor)
        for _ in range(200):
            explorer.sample()
        return explorer.sample_stats.distance

    assert distance(0.0) == 0.0
    assert 0.0 < distance(0.3) < distance(1.0) < distance(5.0)


def test_the_best_genotype_of_darts_takes_two_edges_of_each_node_and_no_absent_one():
    scores = torch.randn(28, 10, generator=torch.Generator().manual_seed(0))
    scores[:, 0] = 99.0
    scores[3, 5] = scores[4, 6] = 50.0
    cell = best_genotype(DARTS, scores)
    assert len(cell.rows) == 16
    assert {3, 4} <= set(cell.rows), "the third node's strongest two edges"
    assert (cell.primitives[3], cell.primitives[4]) == (DARTS.primitives[5], DARTS.primitives[6])
    for rows in DARTS.groups:
        taken = {row for row in rows if row in cell.rows}
        best = scores[:, 1:].max(dim=-1).values
        assert min(best[row] for row in taken) >= max((best[row] for row in set(rows) - taken), default=-99)
    assert GumbelExplorer(DARTS, 1.0).argmax_genotype.space is DARTS
    assert measure_collapse(DARTS, GumbelExplorer(DARTS, 1.0).probabilities()).skip_share <= 1


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("allow_none", [True, False])
def test_whole_cells_are_drawn_with_the_enumerated_softmax_of_alpha_over_tau(temperature, allow_none):
    explorer = GumbelExplorer(NB125, temperature, seed=5, allow_none=allow_none)
    with torch.no_grad():
        explorer.alpha.copy_(torch.randn(3, 5, generator=torch.Generator().manual_seed(2)))
    alpha = explorer.alpha.detach().double().numpy() / temperature
    if not allow_none:
        alpha[:, 0] = -np.inf
    chance = np.exp(alpha) / np.exp(alpha).sum(-1, keepdims=True)
    cells = list(itertools.product(range(5), repeat=3))
    expected = np.array([chance[0, a] * chance[1, b] * chance[2, c] for a, b, c in cells])
    draws = 6_000
    counts = Counter(explorer.sample().choices for _ in range(draws))
    observed = np.array([counts[cell] for cell in cells], dtype=float)
    frequent = draws * expected >= 5
    observed = np.append(observed[frequent], observed[~frequent].sum())
    expected = draws * np.append(expected[frequent], expected[~frequent].sum())
    if expected[-1] == 0:
        assert observed[-1] == 0
        observed, expected = observed[:-1], expected[:-1]
    assert len(observed) > 10
    assert stats.chisquare(observed, expected).pvalue > 0.001


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_gradient_of_alpha_through_a_network_is_the_formula_worked_out_by_hand(temperature):
    """dL/dalpha_ej = <dL/d(out_e), out_e> y_k (1[j = k] - y_j) / tau: the chosen output's own product, by hand."""
    torch.manual_seed(0)
    net = SuperNet(NB201, channels=2, layers=1, num_classes=3).double()
    explorer = make(temperature).double()
    x, y = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    state = explorer.search_state()
    sample = explorer.sample()
    torch.nn.functional.cross_entropy(net(x, sample), y).backward()
    explorer.load_search_state(state)
    noise = explorer._noise().numpy()
    perturbed = explorer.alpha.detach().numpy() / temperature + noise
    soft = np.exp(perturbed) / np.exp(perturbed).sum(-1, keepdims=True)
    products = np.zeros(6)
    for row, chosen in enumerate(sample.choices):
        caught = []
        handle = (
            net.edge(0, row)
            .order[chosen]
            .register_forward_hook(lambda module, inputs, out, caught=caught: caught.append(out * 1.0) or caught[-1])
        )
        plain = torch.nn.functional.cross_entropy(net(x, Sample(choices=sample.choices)), y)
        (upstream,) = torch.autograd.grad(plain, caught, allow_unused=True)
        handle.remove()
        products[row] = 0.0 if upstream is None else float((upstream * caught[0]).sum().detach())
    expected = np.zeros((6, 5))
    for row, chosen in enumerate(sample.choices):
        for j in range(5):
            step = float(j == chosen) - soft[row, j]
            expected[row, j] = products[row] * soft[row, chosen] * step / temperature
    assert np.abs(expected).max() > 1e-6
    assert np.abs(explorer.alpha.grad.numpy() - expected).max() < 1e-10


def test_an_excluded_primitive_is_never_sampled_and_stays_excluded_in_a_saved_state():
    explorer = make(1.0)
    with torch.no_grad():
        explorer.alpha[2, 3] = 8.0
    assert explorer.argmax_genotype.primitives[2] == "nor_conv_3x3"
    explorer.exclude(2, "nor_conv_3x3")
    other = make(1.0)
    other.load_search_state(explorer.search_state())
    for one in (explorer, other):
        assert one.argmax_genotype.primitives[2] != "nor_conv_3x3"
        assert one.left(2) == ("none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3")
        assert len(one.left(1)) == 5
        drawn = [(one.sample().choices, one.sample_uniform().choices) for _ in range(150)]
        assert all(3 not in (a[2], b[2]) for a, b in drawn)
        assert any(a[1] == 3 or b[1] == 3 for a, b in drawn), "on another edge it stays"
        assert one.probabilities()[2, 3] == 0
        assert one.sample(hard=False).mixture_EK[2, 3] == 0
        assert one.sample_uniform(hard=False).mixture_EK[2].tolist() == [0.25, 0.25, 0.25, 0.0, 0.25]
    for name in ("none", "skip_connect", "nor_conv_1x1"):
        explorer.exclude(2, name)
    with pytest.raises(ConfigError, match="a primitive left on edge"):
        explorer.exclude(2, "avg_pool_3x3")
    assert explorer.argmax_genotype.primitives[2] == "avg_pool_3x3"
