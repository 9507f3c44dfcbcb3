"""The average of the live network's weights goes along with what a search does to it."""

import copy
import importlib
import json
import math
import signal
from dataclasses import replace
from random import Random

import pytest
import torch

from lab.asose import LiveNetwork
from lab.asose.growth import Growth
from lab.asose.mutation_trial import FIRST_EPOCH, MutationTrials
from lab.checkpoint import load_checkpoint
from lab.morph.average import NetworkAverage, named_tensors
from lab.nn import SuperNet, train_mode
from lab.probe import ProofSamples, outputs, relative_difference
from lab.runs import Run, build, find_checkpoint, restore_network, saved_config
from lab.space import NB201, Edge, Genotype, mutate
from lab.state import clone_state, state_digest, structure_digest
from lab.store import RunReader
from lab.train import Criterion, Split, StepOptions, evaluate
from lab.trial import TrialConfig

TEXT = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
TRIAL = TrialConfig(steps=4, looks=1, least_effect=1e6, share=1.0, reading_share=1.0)
KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig
from lab.asose.growth import Growth
advance = Growth.advance
def dying_advance(self, child):
    if self.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(self, child)
Growth.advance = dying_advance
Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="killed").execute()
"""
RANKS = """
import json, sys
import torch
from lab.morph import NetworkAverage
from lab.runs import Run, RunConfig
from lab.train import open_group

begin = NetworkAverage.begin
with open_group(torch.device("cpu")) as group:
    def other_bits(self, network):
        # As two GPUs may: the statistics differ in their last bits.
        begin(self, network)
        for name, buffer in self.network.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(1e-6 * group.rank)
    NetworkAverage.begin = other_bits
    Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="ranks", group=group).execute()
"""
trial_module = importlib.import_module("lab.trial.trial")


def batches(count=10):
    return [torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]


PROBE = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(77))


def train(live, steps=4):
    for x in batches(steps):
        live.optimizer.zero_grad()
        live.child.train()(x).square().mean().backward()
        live.optimizer.step()
        live.update_average()


@pytest.fixture
def live():
    """A live network that has trained; its average has other weights."""
    torch.manual_seed(0)
    made = LiveNetwork(SuperNet(NB201, 4, 3, 5, 1), lr=0.1, momentum=0.9, weight_decay=1e-4, average=0.9)
    made.extract(Genotype.from_arch_str(TEXT), batches(), PROBE)
    train(made)
    assert relative_difference(outputs(made.averaged, PROBE), outputs(made.child, PROBE)) > 1e-3
    return made


def assert_alike(live):
    """The average has the structure of the child and no tensor of it, and goes on with it."""
    assert structure_digest(live.averaged) == structure_digest(live.child)
    shared = {tensor.data_ptr() for network in (live.supernet, live.child) for tensor in network.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in live.averaged.state_dict().values()}
    train(live, 1)


def moved(live, before):
    return relative_difference(outputs(live.averaged, PROBE), before)


def test_a_mutation_and_its_transition_move_the_average_no_more_than_the_network(live):
    before, stream = outputs(live.averaged, PROBE), torch.get_rng_state()
    target = mutate(live.child.genotype, 0.5, "random", Random(1))
    edges = [edit.edge for edit in live.child.genotype.diff(target)]
    live.mutate(target, batches(), PROBE)
    assert moved(live, before) <= 1e-5
    assert torch.equal(torch.get_rng_state(), stream)
    assert_alike(live)
    live.set_beta(1.0, edges)
    before = outputs(live.averaged, PROBE)
    live.finalize(edges)
    assert moved(live, before) <= 1e-5
    assert not live.averaged.transitions
    assert live.averaged.genotype == target
    assert_alike(live)


def test_what_is_new_begins_with_the_values_of_the_network(live):
    known = named_tensors(live.averaged)
    live.mutate(live.child.genotype.replace(Edge("cell", 1, 0), "nor_conv_1x1"), batches(), PROBE)
    own, theirs = named_tensors(live.averaged), named_tensors(live.child)
    new = [name for name in own if ".new." in name]
    assert len(new) > 3
    assert all(torch.equal(own[name], theirs[name]) for name in new)
    kept = {name: name.replace(".old.", ".") for name in own if name not in new and not name.endswith("beta")}
    assert list(kept.values()) == list(known)
    assert all(torch.equal(own[name], known[old]) for name, old in kept.items())


@pytest.mark.parametrize("units", ["drawn", "copies"])
def test_a_stage_that_widens_leaves_the_function_of_the_average(live, units):
    growth = Growth(live.supernet, kinds=("width",), factor=1.5, seed=3, units=units, average=live.average)
    for _ in range(3):
        before, stream = outputs(live.averaged, PROBE), torch.get_rng_state()
        width = live.child.backbone.stem.out_channels
        assert growth.grow(live.child, live.optimizer, probe_BCHW=PROBE, statistics=batches(), steps=2)
        assert moved(live, before) <= 1e-5
        assert torch.equal(torch.get_rng_state(), stream)
        if units == "drawn":
            fresh = [network.backbone.stem.weight[width:] for network in (live.averaged, live.child)]
            assert torch.equal(*fresh)
        assert_alike(live)
    assert live.averaged.backbone.stem.out_channels > 4


def test_a_stage_that_deepens_leaves_the_function_of_the_average(live):
    growth = Growth(live.supernet, kinds=("depth",), factor=1.5, seed=3, average=live.average)
    for _ in range(2):
        before = outputs(live.averaged, PROBE)
        assert growth.grow(live.child, live.optimizer, probe_BCHW=PROBE, statistics=batches(), steps=2)
        assert moved(live, before) <= 1e-5
        assert_alike(live)
        assert [growth.advance(live.child), growth.advance(live.child)] == [0.5, 1.0]
        before = outputs(live.averaged, PROBE)
        growth.finalize(live.child)
        assert moved(live, before) <= 1e-5
        assert all(cell.beta is None for cell in live.averaged.backbone.cells)
        assert_alike(live)


def test_the_average_begins_anew_with_an_extraction_and_comes_back_with_a_state(live):
    kept = clone_state(live.state_dict())
    live.mutate(mutate(live.child.genotype, 0.5, "random", Random(1)), batches(), PROBE)
    train(live)
    live.load_state_dict(clone_state(kept))
    assert state_digest(live.state_dict()) == state_digest(kept)
    assert_alike(live)
    live.extract(live.child.genotype, batches(), PROBE)
    assert live.average.count == 0
    assert moved(live, outputs(live.child, PROBE)) == 0.0
    del kept["average"]
    live.load_state_dict(kept)
    assert live.average.count == 0


@pytest.fixture(scope="module")
def make_grown(make_config):
    def make(average, **search):
        plan = {"total_cycles": 4, "growth": "depth,width", "growth_factor": 1.5, "weight_average": average}
        return make_config(plan | search)

    return make


def searched(run):
    strategy = run.parts.strategy
    state = strategy.live.state_dict()
    state.pop("average", None)
    return state_digest({"live": state, "alpha": strategy.explorer.alpha.detach()})


@pytest.mark.parametrize("schedule", ["cosine", pytest.param("plateau", marks=pytest.mark.large)])
def test_a_search_goes_the_same_way_to_the_same_bits_as_without(make_grown, tmp_path, schedule):
    fields = {"weight_schedule": schedule, "rate_patience": 1}
    runs = [Run(make_grown(average, **fields), save_dir=tmp_path, name=f"at-{average}") for average in (0.0, 0.9)]
    plain, averaged = (run.execute() for run in runs)
    assert searched(runs[1]) == searched(runs[0])
    assert plain.network == {k: v for k, v in averaged.network.items() if k != "weight_average"}
    assert plain.network["growths"] >= 3
    assert plain.network["mutations"]["applied"] >= 2
    assert averaged.test_loss != plain.test_loss
    read = runs[1].parts.strategy.state().averaged
    assert evaluate(read, runs[1].parts.data.test()).loss == averaged.test_loss
    restored = named_tensors(restore_network(load_checkpoint(find_checkpoint(averaged.run_dir, tmp_path))))
    assert all(torch.equal(tensor, restored[name]) for name, tensor in named_tensors(read).items())
    alerts = RunReader(tmp_path / "at-0.9").events(kinds=("alert",)).events
    assert sum(event.payload["title"] == "Averaged weights" for event in alerts) == 1
    losses = [[row["decision_loss"] for row in report.history if row["decision_loss"]] for report in (plain, averaged)]
    assert len(losses[0]) == len(losses[1]) > 0
    assert all(one != other for one, other in zip(*losses, strict=True))


@pytest.mark.slow
def test_a_search_that_was_killed_ends_with_the_same_bits_of_the_average(make_grown, run_code, tmp_path):
    config = make_grown(0.9)
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert (resumed.digest, resumed.test_loss) == (whole.digest, whole.test_loss)


def test_a_budget_pays_for_no_reading_of_the_average(make_config, tmp_path):
    search = {"prior": "scores", "prior_evaluations": 25, "warmup_epochs": 0, "retraining_epochs": 6}

    def run(average, budget=None):
        config = make_config(search | {"weight_average": average}, budget=budget)
        made = Run(config, save_dir=tmp_path, name=f"at-{average}-{budget}")
        return made, made.execute()

    budget = 0.8 * run(0.0)[1].network["compute"]
    (one, plain), (other, averaged) = run(0.0, budget), run(0.9, budget)
    assert averaged.network["compute"] == plain.network["compute"] <= budget
    assert searched(one) == searched(other)


@pytest.mark.slow
def test_two_ranks_have_the_average_of_one_process(make_config, run_ranks, tmp_path):
    phases = {"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1, "weight_average": 0.9}
    status, output = run_ranks(RANKS, tmp_path, json.dumps(make_config(phases).to_json()))
    assert status == 0, output
    alone = Run(make_config(phases, grad_accum_steps=2), save_dir=tmp_path, name="alone").execute()
    together = json.loads((tmp_path / "ranks" / "report.json").read_text())
    assert together["test_loss"] == pytest.approx(alone.test_loss, rel=1e-5)
    assert together["network"]["weight_average"] == alone.network["weight_average"]


@pytest.fixture
def parts(make_config):
    """A run whose live network has trained for an epoch."""
    search = {"prior": "scores", "prior_evaluations": 25, "warmup_epochs": 0, "weight_average": 0.9}
    found = build(make_config(search))
    found.strategy.begin_epoch(0, 0, found.data)
    for inputs, labels in found.data.batches(Split.TRAIN, 0):
        found.strategy.step(inputs, labels)
    return found


def try_cell(parts, monkeypatch, *, better):
    if better:
        judge = trial_module.estimate
        verdict = {"mean": -1.0, "low": -2.0, "high": -0.5}
        monkeypatch.setattr(trial_module, "estimate", lambda *losses, **how: replace(judge(*losses, **how), **verdict))
    strategy = parts.strategy
    old = strategy.live.child.genotype
    edge = Edge("cell", 2, 0)
    present = old.primitives[old.space.edges.index(edge)]
    target = old.replace(edge, next(name for name in old.space.choosable if name not in (present, "none")))
    trials = MutationTrials(strategy.live, TRIAL, options=StepOptions(), grad_clip=5.0, seed=0)
    trials.ledger.planned = 1e15
    proof = ProofSamples()
    proof.take(parts.data.selection)
    tried = trials.run(
        target,
        epoch=1,
        data=parts.data,
        own_step=strategy.weight_step,
        criterion=Criterion(),
        remaining=math.inf,
        proof=proof,
    )
    return tried, target, trials


def test_after_a_mutation_without_gain_the_average_is_that_of_plain_training(parts, monkeypatch):
    strategy = parts.strategy
    before = clone_state({"live": strategy.live.state_dict(), "step": strategy.weight_step.state_dict()})
    tried, _, trials = try_cell(parts, monkeypatch, better=False)
    assert tried.result.made
    after = state_digest(strategy.live.state_dict())
    strategy.live.load_state_dict(clone_state(before["live"]))
    strategy.weight_step.load_state_dict(clone_state(before["step"]))
    found = parts.data.batches(Split.TRAIN, FIRST_EPOCH + 1_000 * trials.number * TRIAL.orders)
    for _, (inputs, labels) in zip(range(TRIAL.steps), found, strict=False):
        train_mode(strategy.live.child)
        strategy.weight_step(strategy.live.child, inputs, labels)
        strategy.live.update_average()
    assert state_digest(strategy.live.state_dict()) == after


def test_a_better_cell_comes_with_the_average_of_its_own_steps(parts, monkeypatch):
    live, measured = parts.strategy.live, []
    change = importlib.import_module("lab.asose.mutation_trial").mutate_average
    probe = next(iter(parts.data.selection()))[0]

    def watched(average, child):
        before = outputs(average.network, probe)
        change(average, child)
        measured.append(relative_difference(outputs(average.network, probe), before))

    monkeypatch.setattr("lab.asose.mutation_trial.mutate_average", watched)
    average, count = live.average, live.average.count
    tried, target, _ = try_cell(parts, monkeypatch, better=True)
    assert tried.result.verdict == "better"
    assert len(measured) == 1
    assert measured[0] <= 1e-5
    assert live.average is average
    assert average.count == count + TRIAL.steps
    assert live.averaged.genotype == target
    assert not live.averaged.transitions
    assert structure_digest(live.averaged) == structure_digest(live.child)
    assert relative_difference(outputs(live.averaged, probe), outputs(live.child, probe)) > 1e-6
    parts.strategy.live.update_average()


def test_an_average_is_copied_with_its_network_and_shares_nothing(live):
    average, other = live.average, copy.deepcopy(live.average)
    assert isinstance(other, NetworkAverage)
    before = state_digest(other.state_dict())
    train(live, 2)
    assert state_digest(other.state_dict()) == before
    assert other.count == average.count - 2
