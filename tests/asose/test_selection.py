import pytest
import torch

from lab.asose.selection import batch_statistics, held_out_loss, perturbation_importance, sampled_importance
from lab.explore import GumbelExplorer
from lab.nn import Sample, SuperNet
from lab.space import NB125


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    net = SuperNet(NB125, channels=4, layers=1, num_classes=2, in_channels=1)
    images = [(torch.randn(64, 1, 6, 6), torch.randint(0, 2, (64,))) for _ in range(2)]
    return net, images


def test_batch_statistics_leave_the_network_as_it_was(untrained):
    net, images = untrained
    net.eval()
    net.backbone.stem.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        eval_loss = float(torch.nn.functional.cross_entropy(net(images[0][0], Sample(choices=(3, 3, 3))), images[0][1]))
    with batch_statistics(net):
        inside = held_out_loss(net, Sample(choices=(3, 3, 3)), images[:1])
    assert inside != pytest.approx(eval_loss, rel=1e-4), "statistics of the batch, not the running ones"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.backbone.stem.training
    assert not net.backbone.stem_norm.training
    assert net.backbone.stem_norm.track_running_stats


def test_drawn_worth_finds_the_terms_of_an_additive_loss(monkeypatch):
    torch.manual_seed(1)
    truth = torch.randn(3, 5, dtype=torch.float64)

    def loss(supernet, sample, images):
        return 2.0 + sum(float(truth[row, k]) for row, k in enumerate(sample.choices))

    monkeypatch.setattr("lab.asose.selection.held_out_loss", loss)
    net = SuperNet(NB125, channels=1, layers=1, num_classes=2)
    explorer = GumbelExplorer(NB125, 1.0, seed=0, allow_none=False)
    worth = sampled_importance(net, explorer.sample_uniform, [], draws=200)
    assert torch.isinf(worth[:, 0]).all(), "never drawn"
    expected = truth[:, 1:].mean(-1, keepdim=True) - truth[:, 1:]
    assert torch.allclose(worth[:, 1:], expected, atol=0.01)


def test_removal_worth_is_the_rise_of_the_held_out_loss(untrained):
    net, images = untrained
    mixture = torch.tensor([[0.0, 0.25, 0.25, 0.5, 0.0], [0.2] * 5, [0.0, 0.0, 1.0, 0.0, 0.0]])
    worth = perturbation_importance(net, mixture, images)
    without = mixture.clone()
    without[0] = torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0])
    with batch_statistics(net):
        whole = held_out_loss(net, Sample(mixture_EK=mixture), images)
        rise = held_out_loss(net, Sample(mixture_EK=without), images) - whole
    assert float(worth[0, 3]) == pytest.approx(rise)
    assert worth[0, 0] == -torch.inf, "it had no share"
    assert worth[2, 2] == torch.inf, "nothing would be left"
    assert torch.isfinite(worth[1]).all()
