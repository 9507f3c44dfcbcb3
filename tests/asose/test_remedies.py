import pytest
import torch

from lab.asose import ASOSEConfig
from lab.asose.architecture import ArchitectureTrainer
from lab.asose.remedies import Remedies
from lab.base import ConfigError
from lab.explore import GumbelExplorer, LinearSchedule
from lab.nn import Sample, SuperNet
from lab.space import NB125, NB201
from lab.store import AlertEvent, GenotypeEvent

SAMPLE = Sample(choices=(1,) * 6)


def make(epochs=5, **fields):
    explorer = GumbelExplorer(NB201, LinearSchedule(epochs=epochs), seed=0)
    return explorer, Remedies(explorer, ASOSEConfig(**fields))


def explore(explorer, remedies, epochs=1):
    for _ in range(epochs):
        explorer.sample()
        explorer.update_temperature(0.5)
        remedies.end_epoch()


def test_without_settings_nothing_is_changed():
    explorer, remedies = make()
    assert remedies.apply(SAMPLE) is SAMPLE
    explore(explorer, remedies, 3)
    assert remedies.gradient().abs().sum() == 0
    assert remedies.stopped == ""


def test_beta_decay_is_the_gradient_of_mean_logsumexp_with_a_weight_that_grows():
    explorer, remedies = make(beta_decay=8.0)
    assert remedies.gradient().abs().sum() == 0, "none at the beginning"
    explore(explorer, remedies, 2)
    alpha = explorer.alpha.detach().clone().requires_grad_()
    (8.0 * 0.5 * alpha.logsumexp(-1).mean()).backward()
    torch.testing.assert_close(remedies.gradient(), alpha.grad)
    explore(explorer, remedies, 2)
    assert float(remedies.gradient().sum()) == pytest.approx(8.0), "all of it at the last exploration epoch"


def test_dropout_and_auxiliary_skip_fall_to_nothing_over_exploration():
    explorer, remedies = make(skip_dropout=0.4, auxiliary_skip=1.0)
    first = remedies.apply(SAMPLE)
    assert (first.skip_dropout, first.auxiliary_skip, first.choices) == (0.4, 1.0, SAMPLE.choices)
    explore(explorer, remedies, 2)
    half = remedies.apply(SAMPLE)
    assert (half.skip_dropout, half.auxiliary_skip) == (pytest.approx(0.2), pytest.approx(0.5))
    explore(explorer, remedies, 2)
    assert remedies.apply(SAMPLE) is SAMPLE


def test_exploration_stops_at_so_many_skips_or_when_the_order_of_alpha_stays():
    explorer, remedies = make(max_skips=2)
    with torch.no_grad():
        explorer.alpha.zero_()
        explorer.alpha[:, 3] = 1.0
        explorer.alpha[0, 1] = 2.0
    explore(explorer, remedies)
    assert remedies.stopped == ""
    with torch.no_grad():
        explorer.alpha[1, 1] = 2.0
    explore(explorer, remedies)
    assert "2 skip connections" in remedies.stopped
    explorer, remedies = make(stable_epochs=2)
    explore(explorer, remedies, 2)
    with torch.no_grad():
        explorer.alpha.neg_()
    explore(explorer, remedies, 2)
    assert remedies.stopped == "", "the order changed in between"
    explore(explorer, remedies)
    assert "2 exploration epochs" in remedies.stopped
    other = Remedies(explorer, ASOSEConfig(stable_epochs=2))
    other.load_state_dict(remedies.state_dict())
    assert other.stopped == remedies.stopped


def test_a_stopped_exploration_goes_on_to_the_mutation_and_is_skipped_later(make_parts):
    phases, records = make_parts({"stable_epochs": 1, "arch_lr": 1e-9, "arch_training_epochs": 4, "total_cycles": 3})
    assert phases.count("arch_training") == 2
    assert any(isinstance(r, AlertEvent) and r.title == "Exploration ended" for r in records)
    shown = [record for record in records if isinstance(record, GenotypeEvent) and record.reason == "epoch"]
    assert len(shown) == 2
    assert all(
        0 <= record.strength <= 1 and 0 <= record.diversity <= 1 and 0 <= record.distance <= 1 for record in shown
    )


@pytest.fixture
def make_parts(make_config):
    from lab.runs import build
    from lab.train import NullSink, TrainingLoop

    class Ear(NullSink):
        def __init__(self):
            self.heard = []

        def record(self, step, record):
            self.heard.append(record)

    def run(search):
        config = make_config(search)
        parts, ear = build(config), Ear()
        loop = TrainingLoop(
            parts.strategy,
            parts.data,
            parts.monitor,
            ear,
            epochs=config.total_epochs,
            save=lambda reason: None,
            save_every=99,
        )
        loop.run()
        return [row["phase"] for row in loop.history], ear.heard

    return run


class Decisions:
    def __init__(self, x, y):
        self.batch = (x, y)

    def selection(self):
        return iter([self.batch] * 3)


@pytest.mark.parametrize("sampling", ["mixture", "gumbel"])
def test_perturbation_chooses_and_guides_by_held_out_loss_whatever_alpha_says(sampling):
    torch.manual_seed(0)
    net = SuperNet(NB125, channels=6, layers=1, num_classes=2, in_channels=1)
    x = torch.randn(96, 1, 6, 6)
    # The label is in the product of neighbours, which pooling hides.
    y = (x[:, 0, 1:-1, 1:-1] * x[:, 0, 1:-1, 2:]).sum((1, 2)).gt(0).long()
    config = ASOSEConfig(sampling=sampling, allow_none=False, selection="perturbation")
    trainer = ArchitectureTrainer(net, config, seed=0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x, trainer.draw_uniform()), y).backward()
        optimizer.step()
    with torch.no_grad():
        trainer.explorer.alpha[:, 4] = 5.0
    favourite = trainer.explorer.argmax_genotype
    assert favourite.primitives == ("avg_pool_3x3",) * 3
    guide_before = trainer.guide()
    assert guide_before == trainer.explorer.probabilities().tolist()
    with torch.no_grad():
        trainer.explorer.alpha.zero_()
    chosen = trainer.select(Decisions(x, y))
    assert chosen != favourite
    worth = trainer.worth_EK
    assert chosen.indices == tuple(worth.argmax(-1).tolist())
    guide = trainer.guide()
    assert all(sum(row) == pytest.approx(1.0) for row in guide)
    for row, name in enumerate(chosen.primitives):
        assert guide[row].index(max(guide[row])) == NB125.primitives.index(name)
        assert guide[row][0] == 0.0, "the absent edge is left out"
    state = trainer.state_dict()
    other = ArchitectureTrainer(net, config, seed=9)
    other.load_state_dict(state)
    assert other.guide() == guide


def test_a_restarted_mutation_starts_from_the_weights_that_exploration_left(make_config):
    from lab.runs import build

    search = {"mutation_test": "restart", "weight_training_epochs": 1, "total_cycles": 3, "reject_z": 1e9}
    parts = build(make_config(search))
    strategy, data = parts.strategy, parts.data
    epoch, weights = 0, None
    while strategy.mutator.number == 0:
        plan = strategy.begin_epoch(epoch, 0, data)
        if strategy.phase == "weight_retraining" and strategy.mutator.number == 0:
            weights = strategy.controller.origin["supernet"]
        if strategy.mutator.number:
            break
        for x, y in data.batches(plan.split, epoch):
            strategy.step(x, y)
        strategy.end_epoch(epoch, data)
        epoch += 1
    now = strategy.live.supernet.state_dict()
    assert weights is not None
    assert all(torch.equal(now[name], value) for name, value in weights.items() if name.endswith("weight"))
    assert strategy.mutator.pending[0].loss_before > 0
    assert strategy.controller.child.transitions == {}


def test_a_restart_and_growth_exclude_each_other():
    with pytest.raises(ConfigError, match="growth none with mutation_test restart"):
        ASOSEConfig(mutation_test="restart", growth="width")
