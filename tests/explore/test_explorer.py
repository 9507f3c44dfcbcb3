import itertools

import pytest
import torch
from scipy import stats

from lab.base import ConfigError, TrainingError
from lab.explore import GumbelExplorer, LinearSchedule, measure_collapse
from lab.nn import SuperNet
from lab.space import NB201


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
        choices = explorer.ask().choices
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
        return sum(explorer.ask().choices == explorer.likeliest.indices for _ in range(800)) / 800

    assert abs(frequency(0.2, "gdas") - frequency(5.0, "gdas")) < 0.06
    assert frequency(0.2, "gumbel") > frequency(5.0, "gumbel") + 0.2


@pytest.mark.parametrize("sampling", ["gumbel", "gdas"])
def test_gradient_of_alpha_is_the_formula(sampling):
    explorer = make(0.7, sampling=sampling).double()
    state = explorer.search_state()
    sample = explorer.ask()
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
    assert all(torch.equal(explorer.ask().weights_E.detach(), torch.ones(6)) for _ in range(50))


def test_draws_go_on_exactly_from_a_saved_state_and_touch_no_other_generator():
    explorer = make(LinearSchedule(epochs=4))
    torch_state = torch.get_rng_state()
    explorer.ask()
    explorer.tell(0.3)
    state = explorer.search_state()
    drawn = [explorer.ask().choices for _ in range(10)]
    other = GumbelExplorer(NB201, LinearSchedule(epochs=4), seed=99)
    other.load_search_state(state)
    assert [other.ask().choices for _ in range(10)] == drawn
    assert other.temperature == explorer.temperature
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_it_learns_the_better_primitive():
    explorer = GumbelExplorer(NB201, 1.0, seed=0)
    optimizer = torch.optim.Adam(explorer.parameters(), lr=0.1)
    for _ in range(150):
        sample = explorer.ask()
        cost_E = torch.tensor([float(k != 3) for k in sample.choices])
        optimizer.zero_grad()
        (sample.weights_E * (cost_E - 0.5)).sum().backward()
        optimizer.step()
    assert explorer.likeliest.primitives == ("nor_conv_3x3",) * 6


def test_soft_asking_gives_the_mixture_and_gradients_reach_alpha_through_the_supernet():
    explorer = make(2.0)
    net = SuperNet(NB201, channels=2, layers=1, num_classes=3)
    for hard in (True, False):
        explorer.alpha.grad = None
        net(torch.randn(4, 3, 8, 8), explorer.ask(hard=hard)).square().sum().backward()
        assert explorer.alpha.grad.abs().sum() > 0
    assert explorer.ask(hard=False).mixture_EK.sum(-1).detach().allclose(torch.ones(6))


def test_uniform_draws_ignore_alpha():
    explorer = make(0.01)
    counts = torch.zeros(5)
    for _ in range(400):
        for k in explorer.ask_uniform().choices:
            counts[k] += 1
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


def test_wrong_use_is_refused():
    explorer = make()
    with pytest.raises(TrainingError, match="ask before tell"):
        explorer.tell(0.1)
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
