"""A network that is too wide for its compute is made narrower before its first step."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from lab.agent import EvolveConfig
from lab.agent.fit import fit_widths
from lab.checkpoint import load_checkpoint
from lab.morph import MorphPlan
from lab.nn import measure_flops, small_cnn
from lab.runs import Run, build, find_checkpoint, saved_config
from lab.store import RunReader
from lab.train import OptimizerConfig
from lab.train.settings import LEAST_EPOCHS


def widths(network):
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_every_width_shrinks_by_one_share_until_the_compute_reaches_far_enough():
    torch.manual_seed(0)
    network, x_BCHW = small_cnn(num_classes=4, size=16, channels=32), torch.randn(4, 3, 16, 16)
    first, before = widths(network), float(measure_flops(network, x_BCHW[:1]))
    reach = lambda flops: 2.0 * before / flops  # noqa: E731
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    reports = fit_widths(network, x_BCHW, reach=reach, least=20.0, optimizer=optimizer)
    after = float(measure_flops(network, x_BCHW[:1]))
    assert 20.0 <= reach(after) <= 30.0, "no narrower than it must be"
    shares = [new / old for new, old in zip(widths(network), first, strict=True)]
    assert max(shares) - min(shares) < 0.06
    assert network(x_BCHW).shape == (4, 4)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in network.parameters()}
    assert {report.plan.op for report in reports} == {"prune"}


def test_a_network_that_the_compute_pays_for_stays_bit_for_bit():
    torch.manual_seed(0)
    network, x_BCHW = small_cnn(num_classes=4, size=16, channels=4), torch.randn(4, 3, 16, 16)
    kept = [p.clone() for p in network.parameters()]
    assert fit_widths(network, x_BCHW, reach=lambda flops: 20.0, least=20.0) == ()
    assert all(torch.equal(old, new) for old, new in zip(kept, network.parameters(), strict=True))


def test_layers_that_share_a_residual_stream_shrink_together():
    torch.manual_seed(0)
    network, x_BCHW = resnet18(num_classes=4), torch.randn(4, 3, 32, 32)
    before = float(measure_flops(network, x_BCHW[:1]))
    assert fit_widths(network, x_BCHW, reach=lambda flops: 5.0 * before / flops, least=20.0)
    assert 3.9 <= before / float(measure_flops(network, x_BCHW[:1])) <= 6.0
    assert network(x_BCHW).shape == (4, 4)


def test_what_nothing_can_make_narrower_ends_without_a_change():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    assert fit_widths(network, torch.randn(4, 3, 2, 2), reach=lambda flops: 1.0, least=20.0) == ()


@pytest.fixture
def make_run(make_config, tmp_path):
    """A run of the agent whose compute is that of so many epochs of its network as it is at first."""

    def make(name, epochs, observer=None, optimizer=None, **evolve):
        settings = {"probe_steps": 3, "evolve_from": 99} | evolve
        first = build(make_config({}, recipe="agent", epochs=99, init_channels=16, evolve=EvolveConfig(**settings)))
        images = first.data.length("train") * first.streams.train.batch_size
        compute = 3.0 * first.strategy.measure_flops(first.data) * images * epochs
        config = EvolveConfig(**settings, compute=compute)
        more = {} if optimizer is None else {"optimizer": optimizer}
        settings = make_config({}, recipe="agent", epochs=99, init_channels=16, evolve=config, **more)
        return Run(settings, save_dir=tmp_path, name=name, observer=observer)

    return make


class Stop:
    """Ends the run inside its third epoch."""

    loop = None

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (2, 1):
            self.loop.interrupt()

    def on_text(self, text):
        pass


def test_a_run_tells_it_gets_the_epochs_and_goes_on_with_the_same_bits(make_run, tmp_path, monkeypatch):
    whole = make_run("whole", 2).execute()
    assert LEAST_EPOCHS <= whole.epochs <= 2 * LEAST_EPOCHS
    (text,) = [alert["text"] for alert in _alerts(whole) if alert["title"] == "Made narrower before the first step"]
    assert text.startswith("The compute pays for 2.0 epochs of a network with")
    observer, make_loop = Stop(), Run._make_loop

    def kept(run, *told):
        observer.loop = make_loop(run, *told)
        return observer.loop

    monkeypatch.setattr(Run, "_make_loop", kept)
    assert make_run("stopped", 2, observer).execute().state == "stopped"
    path = find_checkpoint(str(tmp_path / "stopped"), tmp_path)
    assert {MorphPlan.from_json(plan["plan"]).op for plan in load_checkpoint(path).plans} == {"prune"}
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert [a["title"] for a in _alerts(resumed)].count("Made narrower before the first step") == 1


def _alerts(report):
    return [event.payload for event in RunReader(Path(report.run_dir)).events(kinds=("alert",)).events]


def test_the_average_begins_with_the_narrow_network(make_run):
    run = make_run("run", 2, optimizer=OptimizerConfig(weight_average=0.9))
    strategy = run.parts.strategy
    strategy.begin_epoch(0, 0, run.parts.data)
    assert strategy.agent.reports
    averaged = strategy.state().averaged
    assert [p.shape for p in averaged.parameters()] == [p.shape for p in strategy.network.parameters()]
    pairs = zip(averaged.parameters(), strategy.network.parameters(), strict=True)
    assert all(torch.equal(own, live) for own, live in pairs)


@pytest.mark.parametrize("policy", ["random", "none"])
def test_baselines_and_a_network_of_ones_own_keep_their_widths(policy, make_run):
    run = make_run("run", 2, policy=policy)
    before = run.parts.strategy.summary()["parameters"]
    run.parts.strategy.begin_epoch(0, 0, run.parts.data)
    assert run.parts.strategy.summary()["parameters"] == before
    assert not EvolveConfig(model="package.module:make").fits
    assert not EvolveConfig(fit_compute=False).fits
    assert EvolveConfig().fits
