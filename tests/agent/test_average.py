"""The average of the weights goes along with what the agent does: tried, kept, refused, taken back, resumed."""

import copy
import json
import signal

import pytest
import torch

from lab.agent import AgentConfig, EvolveConfig, read_batch
from lab.agent.trial import plain_step
from lab.checkpoint import load_checkpoint
from lab.morph import Widen, apply
from lab.morph.average import NetworkAverage, named_tensors
from lab.probe import outputs, relative_difference
from lab.runs import Run, build, find_checkpoint, restore_network, saved_config
from lab.state import state_digest, structure_digest
from lab.train import OptimizerConfig, evaluate

ACTIONS = ("prune", "expand", "mutate", "branch", "attention", "hybrid", "residual")
KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig

class Killer:
    def on_step(self, epoch, epochs, phase, number, batches, loss):
        if (epoch, number) == (2, 2):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="run", observer=Killer()).execute()
"""


@pytest.fixture
def make_averaged(make_agent, make_network, data):
    """An agent on a network that has trained, with an average of other weights than its own."""

    def make(keep, **options):
        model = make_network()
        average = NetworkAverage(0.9, model)
        agent = make_agent(
            model, acceptance_test=lambda tried: (keep, "told"), average=average, config=AgentConfig(**options)
        )
        for batch in data[0][:6]:
            plain_step()(model, agent.optimizer, read_batch(batch, model, agent.device))
            average.update(model)
        return agent, average

    return make


def act(agent, name, batches):
    state = agent.get_state(agent.evaluate(batches))
    return agent.apply_tentative(ACTIONS.index(name), state, batches)


@pytest.fixture
def differences(monkeypatch, data):
    """What each change did to the output of the average, with whether its plan is exact."""
    found, change = [], NetworkAverage.change

    def measured(self, plan, network):
        x = data[0][0][0] if next(network.parameters()).shape[1] == 3 else torch.randn(8, 1, 8, 8)
        before = outputs(self.network, x)
        change(self, plan, network)
        found.append((plan.exact, relative_difference(outputs(self.network, x), before)))

    monkeypatch.setattr(NetworkAverage, "change", measured)
    return found


@pytest.mark.parametrize("probe_steps", [0, 2])
@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_that_is_kept_changes_the_average_alike(name, probe_steps, make_averaged, data, differences):
    agent, average = make_averaged(True, probe_steps=probe_steps)
    kept, info = act(agent, name, data[1])
    assert kept, info
    assert structure_digest(average.network) == structure_digest(agent.model)
    assert len(differences) == len(agent.plans) >= 1
    # What takes units away changes the function of both.
    assert all(difference <= 1e-5 for exact, difference in differences if exact)
    assert [exact for exact, _ in differences] == [plan.exact for plan in agent.plans]
    assert average.count == 6 + probe_steps
    own = {tensor.data_ptr() for tensor in named_tensors(agent.model).values() if tensor.numel()}
    assert not own & {tensor.data_ptr() for tensor in named_tensors(average.network).values()}
    plain_step()(agent.model, agent.optimizer, read_batch(data[0][0], agent.model, agent.device))
    average.update(agent.model)


@pytest.mark.parametrize("name", ["expand", "prune", "branch"])
def test_an_action_that_is_taken_back_leaves_every_bit_of_the_average(name, make_averaged, data):
    agent, average = make_averaged(False, probe_steps=0)
    before = state_digest(average.state_dict())
    kept, info = act(agent, name, data[1])
    assert (kept, info["applied"]) == (False, True)
    assert state_digest(average.state_dict()) == before


def test_after_a_trial_without_gain_the_average_is_that_of_plain_training(make_averaged, data):
    agent, average = make_averaged(False, probe_steps=3)
    model, optimizer, expected = copy.deepcopy((agent.model, agent.optimizer, average))
    kept, info = act(agent, "expand", data[1])
    assert (kept, info["applied"]) == (False, True)
    for batch in data[0][:3]:
        plain_step()(model, optimizer, read_batch(batch, model, agent.device))
        expected.update(model)
    assert state_digest(average.state_dict()) == state_digest(expected.state_dict())


def test_a_kept_trial_gives_the_average_of_the_copys_own_steps(make_averaged, data):
    agent, average = make_averaged(True, probe_steps=3)
    model, optimizer, expected = copy.deepcopy((agent.model, agent.optimizer, average))
    assert act(agent, "branch", data[1])[0]
    for plan in agent.plans:
        apply(plan, model, optimizer, replayed=True).release()
        expected.change(plan, model)
    for batch in data[0][:3]:
        plain_step()(model, optimizer, read_batch(batch, model, agent.device))
        expected.update(model)
    assert state_digest(dict(model.state_dict())) == state_digest(dict(agent.model.state_dict()))
    assert state_digest(average.state_dict()) == state_digest(expected.state_dict())


def test_an_average_follows_changes_one_after_the_other_when_all_are_made(make_network, data):
    model = make_network()
    average = NetworkAverage(0.9, model)
    with torch.no_grad():
        for tensor in average.network.parameters():
            tensor.mul_(1.5)
    x = data[0][0][0]
    before, plans = outputs(average.network, x), []
    for layer, units in (("features.conv1", "drawn"), ("features.conv2", "copies")):
        width = model.get_submodule(layer).out_channels + 2
        plans.append(Widen(layer, width, units=units).plan(model, x[:4], seed=1))
        apply(plans[-1], model).release()
    for plan in plans:
        average.change(plan, model)
    assert relative_difference(outputs(average.network, x), before) <= 1e-5
    assert structure_digest(average.network) == structure_digest(model)


@pytest.fixture(scope="module")
def make_run(make_config):
    def make(average, **evolve):
        free = {"keep": "harmless", "trial_share": 1e6, "trial_patience": 1000, "least_effect": 1e9}
        settings = {"evolve_every": 1, "evolve_actions": 2, "probe_steps": 3, "least_reward": -1.0} | free | evolve
        search = {"total_cycles": 20, "weight_average": average}
        return make_config(search, recipe="agent", epochs=3, evolve=EvolveConfig(**settings))

    return make


def trained(made):
    trainer = made.parts.strategy.trainer
    return state_digest({"network": trainer.network.state_dict(), "optimizer": trainer.optimizer.state_dict()})


def test_the_agent_does_the_same_to_the_same_bits_as_without(make_run, tmp_path, differences):
    runs = [Run(make_run(average), save_dir=tmp_path, name=f"at-{average}") for average in (0.0, 0.9)]
    plain, averaged = (run.execute() for run in runs)
    assert trained(runs[1]) == trained(runs[0])
    assert plain.network == {k: v for k, v in averaged.network.items() if k != "weight_average"}
    assert len(averaged.network["changes"]) >= 1
    assert len(differences) >= len(averaged.network["changes"])
    assert all(difference <= 1e-5 for exact, difference in differences if exact)
    assert averaged.test_loss != plain.test_loss
    restored = restore_network(load_checkpoint(find_checkpoint(averaged.run_dir, tmp_path)))
    kept = named_tensors(runs[1].parts.strategy.state().averaged)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in named_tensors(restored).items())


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits_of_the_average(make_run, run_code, tmp_path):
    config = make_run(0.9)
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "run"), tmp_path)
    assert load_checkpoint(path).plans, "nothing had changed: the test would show less"
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert (resumed.digest, resumed.test_loss) == (whole.digest, whole.test_loss)


def test_whether_a_trial_could_tell_is_read_from_the_weights_that_train(make_config, monkeypatch):
    config = make_config(
        {}, recipe="agent", epochs=2, evolve=EvolveConfig(), optimizer=OptimizerConfig(weight_average=0.9)
    )
    parts, looked = build(config), []
    strategy, data = parts.strategy, parts.data
    monkeypatch.setattr(strategy.trials, "look", looked.append)
    strategy.begin_epoch(0, 0, data)
    for x_BCHW, y_B in data.batches("train", 0):
        strategy.step(x_BCHW, y_B)
    read = strategy.end_epoch(0, data)
    own_N = evaluate(strategy.network, data.selection()).losses_N
    assert torch.equal(looked[0], own_N)
    assert not torch.equal(read.losses_N, own_N), "what is read is the average"
