from random import Random

import pytest
import torch

from lab.asose import TOLERANCE, LiveNetwork
from lab.base import ConfigError
from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.nn import BASELINES, SuperNet, parse_cell
from lab.runs import Run, find_checkpoint, saved_config
from lab.runs.build import make_strategy
from lab.space import ABSENT, DARTS, NB201, Genotype, genotype_text, mutate, sample
from lab.store import RunReader, control

PROBE = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def config(make_config):
    """All four phases twice in seconds; the mutation changes half of the edges that are taken."""
    search = {"mutation_strength": 0.5, "mutation_kind": "random", "checkpoint_frequency": 99}
    epochs = dict.fromkeys(("warmup_epochs", "arch_training_epochs", "weight_training_epochs"), 1)
    return make_config(search | epochs, space="darts", layers=3)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run that went through; tests read it."""
    return Run(config, save_dir=tmp_path_factory.mktemp("darts"), name="a").execute()


def batches():
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(8, 1, 8, 8, generator=generator) for _ in range(10)]


def make_live():
    torch.manual_seed(0)
    return LiveNetwork(SuperNet(DARTS, 4, 3, 5, 1), lr=0.1, momentum=0.9, weight_decay=1e-4)


def events(report, kind):
    return [event.payload for event in RunReader(report.run_dir).events(kinds=(kind,)).events]


@pytest.mark.slow
def test_a_run_goes_through_all_four_phases(finished):
    cycle = ["arch_training", "mutation", "weight_retraining"]
    assert [payload["phase"] for payload in events(finished, "phase")] == ["warmup", *cycle, *cycle, "finished"]
    assert finished.network["mutations"]["applied"] == 1
    assert finished.network["largest_difference"] <= 1e-5
    assert finished.test_accuracy > 0.2, "it must have learnt something (ten classes)"


@pytest.mark.slow
def test_the_events_tell_what_the_search_believes_and_what_a_mutation_did(finished):
    shown = events(finished, "genotype")[-1]
    assert len(shown["edges"]) == len(shown["probabilities"]) == 28
    assert shown["primitives"] == list(DARTS.primitives)
    live, argmax_genotype = Genotype.from_json(shown["genotype"]), Genotype.from_json(shown["argmax_genotype"])
    assert len(live.rows) == len(argmax_genotype.rows) == 16
    applied = events(finished, "mutation")[0]
    assert sum(edit[3] != ABSENT for edit in applied["edits"]) == 8
    assert any(edit[4] == ABSENT for edit in applied["edits"]), "no source changed; the mutation proves too little"
    assert applied["difference"] <= 1e-5


@pytest.mark.parametrize(
    "stop_at",
    [pytest.param((1, "arch_training", 1), marks=pytest.mark.large), (4, "weight_retraining", 3)],
    ids=lambda stop_at: stop_at[1],
)
@pytest.mark.slow
@pytest.mark.usefixtures("prompt_inbox")
def test_a_run_that_was_stopped_ends_with_the_same_bits(config, finished, tmp_path, stop_at):
    class Stopper:
        def on_step(self, epoch, epochs, phase, batch, batches, loss):
            if (epoch, phase, batch) == stop_at:
                control.send(tmp_path / "a", "stop")

        def on_text(self, text):
            pass

    first = Run(config, save_dir=tmp_path, name="a", observer=Stopper()).execute()
    assert first.state == "stopped"
    path = find_checkpoint("latest", tmp_path)
    if stop_at[1] == "weight_retraining":
        transitions = load_checkpoint(path).state["strategy"]["live"]["child"]["transitions"]
        assert ABSENT in {transition[-1] for transition in transitions}, (
            "stopped outside the transition to another source"
        )
    second = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert second.digest == finished.digest
    assert second.test_loss == finished.test_loss


@pytest.mark.slow
def test_checkpoints_before_the_mutation_are_kept(finished):
    assert "pre_mutation" in {file.reason for file in list_checkpoints(finished.run_dir + "/checkpoints")}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.large) for seed in (1, 2))])
def test_a_live_network_under_hand_over_is_restored_with_its_sources(seed):
    part = make_live()
    rng = Random(seed)
    assert part.extract(sample(DARTS, rng), batches(), PROBE) <= TOLERANCE
    target = mutate(part.child.genotype, 0.6, "random", rng)
    assert part.mutate(target, batches(), PROBE) <= TOLERANCE
    part.child.set_beta(0.3)
    assert ABSENT in part.child.transitions.values()
    other = make_live()
    other.load_state_dict(part.state_dict())
    assert other.child.genotype == target
    assert other.child.transitions == part.child.transitions
    part.child.eval()
    assert torch.equal(other.child.eval()(PROBE), part.child(PROBE))
    for network in (part, other):
        network.child.set_beta(1.0)
        network.child.finalize()
    assert torch.equal(other.child(PROBE), part.child(PROBE))


def test_only_a_network_of_three_stages_grows(make_config):
    for growth in ("width", "depth"):
        grown = make_config({"growth": growth}, space="darts", layers=3)
        with pytest.raises(ConfigError, match="a network of three stages to grow.*Set growth none"):
            make_strategy(grown, num_classes=10, in_channels=1, size=8, device=torch.device("cpu"))


def test_the_fixed_baseline_trains_a_cell_of_its_space(make_config, tmp_path):
    text = genotype_text(sample(DARTS, Random(1)))
    config = make_config(recipe="fixed", space="darts", layers=3, fixed_cell=text, epochs=1)
    report = Run(config, save_dir=tmp_path, name="fixed").execute()
    assert Genotype.from_json(report.network["genotype"]) == parse_cell(text, DARTS)
    assert all(parse_cell("", space) == cell and cell.space == space for space, cell in BASELINES.items())
    with pytest.raises(ConfigError, match="--fixed-cell of space nb201, got darts"):
        parse_cell(text, NB201)
    with pytest.raises(ConfigError, match="--fixed-cell as Genotype"):
        parse_cell("Genotype(normal=3)", DARTS)


@pytest.mark.gpu
def test_a_run_on_a_gpu_leaves_nothing_elsewhere(make_config):
    config = make_config(space="darts", layers=3)
    device = torch.device("cuda")
    strategy = make_strategy(config, num_classes=10, in_channels=1, size=8, device=device)
    live, x, y = strategy.live, PROBE.to(device), torch.arange(8, device=device)
    live.extract(strategy.explorer.argmax_genotype, [batch.to(device) for batch in batches()], x)
    strategy.architecture.step(x, y)
    target = mutate(live.child.genotype, 0.5, "random", Random(1))
    assert live.mutate(target, [batch.to(device) for batch in batches()], x) <= TOLERANCE
    live.child.set_beta(0.5)
    live.child(x).sum().backward()
    tensors = [
        tensor for network in (live.supernet, live.child) for tensor in (*network.parameters(), *network.buffers())
    ]
    assert {tensor.device.type for tensor in [*tensors, strategy.explorer.alpha]} == {"cuda"}
    assert len(strategy.explorer.sample_uniform().genotype(DARTS).rows) == 16
