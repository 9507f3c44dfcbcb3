"""The evolution agent inside the one training loop: real changes, the same bits after a kill, equal on two ranks."""

import json
import signal
from pathlib import Path

import pytest
import torch

from lab.agent import EvolveConfig
from lab.base import CheckpointError, ConfigError, TrainingError
from lab.checkpoint import load_checkpoint
from lab.export import export_run
from lab.nn import norm_layers
from lab.nn.named import make_model
from lab.runs import Run, build, find_checkpoint, restore_network, saved_config
from lab.state import structure_digest
from lab.store import RunReader
from lab.train import Mutate, RequestContext, Rollback, StrategyState, serve

SCRIPT = """
import json, os, signal, sys
import torch
from lab.runs import Run, RunConfig
from lab.train import open_group

folder, config, epoch, batch = sys.argv[1], RunConfig.from_json(json.loads(sys.argv[2])), *map(int, sys.argv[3:])

class Killer:
    def on_step(self, now, epochs, phase, number, batches, loss):
        if (now, number) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

with open_group(torch.device("cpu")) as group:
    Run(config, save_dir=folder, name="run", observer=Killer(), group=group).execute()
"""


@pytest.fixture(scope="session")
def make_agent_config(make_config):
    """A run of four epochs with a round before each but the first; anything is kept that does not hurt for sure."""

    def make(epochs=4, search=None, **evolve):
        free = {"keep": "harmless", "trial_share": 1e6, "trial_patience": 1000, "least_effect": 1e9}
        settings = {"evolve_every": 1, "evolve_actions": 2, "probe_steps": 3, "least_reward": -1.0} | free | evolve
        plan = {"total_cycles": 20} | (search or {})
        return make_config(plan, recipe="agent", epochs=epochs, evolve=EvolveConfig(**settings))

    return make


@pytest.fixture(scope="session")
def whole(make_agent_config, tmp_path_factory):
    """The run that went through."""
    return Run(make_agent_config(), save_dir=tmp_path_factory.mktemp("whole"), name="whole").execute()


def actions_of(run_dir):
    return [event.payload for event in RunReader(Path(run_dir)).events(kinds=("action",)).events]


def test_actions_are_told_with_what_was_measured_and_the_network_learns(whole):
    actions = actions_of(whole.run_dir)
    counts = whole.network["actions"]
    assert counts["tried"] == sum(action["applied"] for action in actions)
    assert counts["kept"] == sum(action["accepted"] for action in actions) >= 2
    for action in actions:
        info = action["info"]
        if action["applied"]:
            assert info["structure"][0] != info["structure"][1] or info["weights"][0] != info["weights"][1]
            # A trial ends early where it is clear that the change makes it worse.
            assert info["probe_steps"] == 3 or "worse" in info["error"]
            assert (info["max_difference"] <= 1e-10) is info["exact"] or not info["exact"]
        else:
            assert info["error"]
    assert whole.network["largest_difference"] <= 1e-10
    assert len(whole.network["changes"]) == counts["kept"]
    assert whole.test_accuracy > 0.3
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    assert "tried" in str(whole)
    scalars = RunReader(Path(whole.run_dir)).scalars(names=["agent/parameters", "compute"])
    assert set(scalars.name) == {"agent/parameters", "compute"}


def test_each_action_that_was_tried_is_proven_on_the_same_ten_samples(whole):
    events = RunReader(Path(whole.run_dir)).events(kinds=("action", "proof", "images")).events
    (images,) = [event.payload for event in events if event.kind == "images"]
    proofs = {event.payload["number"]: event.payload for event in events if event.kind == "proof"}
    actions = [event.payload for event in events if event.kind == "action"]
    assert list(proofs) == [number for number, action in enumerate(actions, start=1) if action["applied"]]
    for number, proof in proofs.items():
        assert proof["what"] == "action"
        assert proof["samples"] == images["samples"][:10]
        assert proof["exact"] is actions[number - 1]["info"]["exact"]
        assert proof["difference"] <= 1e-5 or not proof["exact"]


def test_a_killed_run_ends_with_the_same_bits_after_it_was_resumed(make_agent_config, run_code, tmp_path, whole):
    config = make_agent_config()
    status, output = run_code(SCRIPT, tmp_path, json.dumps(config.to_json()), 2, 2)
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "run"), tmp_path)
    assert load_checkpoint(path).plans, "nothing had changed: the test would show less"
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert resumed.test_loss == whole.test_loss
    assert resumed.network == whole.network


def test_the_network_of_a_checkpoint_has_the_structure_that_it_grew(whole):
    checkpoint = load_checkpoint(find_checkpoint(whole.run_dir, ""))
    network = restore_network(checkpoint)
    actions = [action["info"] for action in actions_of(whole.run_dir) if action["accepted"]]
    assert structure_digest(network) == actions[-1]["structure"][1]
    assert sum(p.numel() for p in network.parameters()) == whole.network["parameters"]


def test_the_evolved_network_is_written_as_a_file_and_has_no_source_of_a_cell(whole, tmp_path):
    export_run(Path(whole.run_dir), "pt2", out=tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    x_BCHW = torch.randn(3, 1, 8, 8)
    network = restore_network(load_checkpoint(find_checkpoint(whole.run_dir, "")))
    assert torch.allclose(program(x_BCHW), network(x_BCHW), atol=1e-5)
    with pytest.raises(ConfigError, match="got one of SmallCNN"):
        export_run(Path(whole.run_dir), "state", out=tmp_path / "network.pt")


def test_the_next_run_begins_with_what_the_agent_had_learnt(make_agent_config, tmp_path, whole):
    config = make_agent_config(agent_from=whole.run_dir, epochs=1)
    run = Run(config, save_dir=tmp_path, name="next")
    learner = run.parts.strategy.agent.learner
    saved = load_checkpoint(find_checkpoint(whole.run_dir, "")).state["strategy"]["agent"]["learner"]
    assert len(learner.buffer) == len(saved["buffer"]["kept"]) > 0
    assert torch.equal(learner.policy_net.state_dict()["value.weight"], saved["policy"]["value.weight"])
    with pytest.raises(CheckpointError, match="a checkpoint of recipe agent"):
        run.parts.strategy.adopt({"network": {}})


@pytest.mark.parametrize("policy", ["random", "schedule", "none"])
def test_a_baseline_policy_acts_as_it_says(policy, make_agent_config, tmp_path):
    report = Run(make_agent_config(policy=policy, epochs=2), save_dir=tmp_path, name="run").execute()
    actions = actions_of(report.run_dir)
    if policy == "none":
        assert not actions
    elif policy == "schedule":
        assert {action["action"] for action in actions} == {"expand"}
        assert all(action["accepted"] and action["info"]["probe_steps"] == 0 for action in actions)
    else:
        assert len(actions) == 2
        assert all(action["info"].get("probe_steps", 3) == 3 for action in actions)


def test_a_run_ends_when_its_compute_is_spent_and_the_rate_has_followed_it(make_agent_config, tmp_path):
    config = make_agent_config(epochs=40, search={"weight_schedule": "phase"}, compute=3e8)
    report = Run(config, save_dir=tmp_path, name="run").execute()
    assert 1 < report.epochs < 40
    assert report.network["compute"] >= 3e8
    reader = RunReader(Path(report.run_dir))
    spent, rates = (list(reader.scalars(names=[name]).value) for name in ("compute", "lr"))
    assert spent == sorted(spent)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.7 * rates[0]


def test_it_has_the_epochs_that_are_asked_for_whatever_plan_other_recipes_have(make_agent_config, make_config):
    assert make_agent_config(epochs=500).total_epochs == 500
    assert make_config(epochs=500).total_epochs == make_config().total_epochs < 500


def test_limits_hold_for_the_whole_run(make_agent_config, tmp_path):
    probe = build(make_agent_config())
    limit = 1 + sum(p.numel() for p in probe.strategy.network.parameters())
    config = make_agent_config(max_parameters=limit, policy="random", epochs=2)
    report = Run(config, save_dir=tmp_path, name="run").execute()
    assert report.network["parameters"] <= limit
    masked = [action["info"]["masked"] for action in actions_of(report.run_dir)]
    assert any("over the limit" in reason for reasons in masked for reason in reasons.values())


def test_a_person_may_ask_for_an_action(make_agent_config):
    parts = build(make_agent_config())
    strategy, data = parts.strategy, parts.data
    strategy.begin_epoch(0, 0, data)
    strategy.records.clear()
    moment = RequestContext(epoch=0, step=0, data=data)
    text = serve(strategy.offers, Mutate(), moment).text
    (event,) = [record for record in strategy.records if record.kind == "action"]
    assert text.startswith(event.action)
    serve(strategy.offers, Rollback(reason="test"), moment)
    assert structure_digest(strategy.network) == event.info["structure"][int(event.accepted)]
    with pytest.raises(TrainingError, match="a request that this run offers now"):
        serve(build(make_agent_config(policy="none")).strategy.offers, Mutate(), moment)


def test_a_network_by_name_fits_the_images_or_is_refused():
    resnet = make_model("resnet18", num_classes=5, in_channels=1, size=32, channels=16)
    assert resnet(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    with pytest.raises(ConfigError, match="small_cnn, MODULE:FACTORY or a classification model of torchvision"):
        make_model("resnet", num_classes=5, in_channels=1, size=32, channels=16)
    with pytest.raises(ConfigError, match="multiple of 4 for small_cnn, got 30x30"):
        make_model("small_cnn", num_classes=5, in_channels=1, size=30, channels=16)
    with pytest.raises(ConfigError, match="side is a multiple of 16 for vit_b_16, got 8x8"):
        make_model("vit_b_16", num_classes=5, in_channels=1, size=8, channels=16)


def test_a_factory_of_ones_own_is_evolved(make_agent_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_network.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))\n"
        "def wrong():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    config = make_agent_config(model="own_network:make", epochs=3)
    report = Run(config, save_dir=tmp_path, name="own").execute()
    assert report.network["model"] == "own_network:make"
    assert report.network["actions"]["tried"] > 0
    with pytest.raises(ConfigError, match=r"logits \(B, 10\) of own_network:wrong"):
        build(make_agent_config(model="own_network:wrong"))
    with pytest.raises(ConfigError, match="a function other in own_network, got make, wrong"):
        build(make_agent_config(model="own_network:other"))


@pytest.mark.slow
def test_two_ranks_make_the_same_changes(make_agent_config, run_ranks, tmp_path):
    status, output = run_ranks(SCRIPT, tmp_path, json.dumps(make_agent_config(epochs=2).to_json()), -1, -1)
    assert status == 0, output
    actions = actions_of(tmp_path / "run")
    assert len(actions) == 2
    assert any(action["accepted"] for action in actions)


def test_another_recipe_does_not_take_its_checkpoint(make_agent_config, make_config, whole):
    state = load_checkpoint(find_checkpoint(whole.run_dir, "")).state["strategy"]
    strategy = build(make_agent_config()).strategy
    with pytest.raises(CheckpointError, match="a checkpoint of recipe agent"):
        strategy.restore(StrategyState.saved({name: value for name, value in state.items() if name != "agent"}))
    with pytest.raises(CheckpointError, match="a checkpoint of recipe agent"):
        strategy.restore(StrategyState.saved(state, ({"kind": "width"},)))


def test_a_frozen_normalisation_stays_frozen_in_a_round(make_agent_config):
    parts = build(make_agent_config())
    strategy = parts.strategy
    frozen, other = norm_layers(strategy.network)[:2]
    frozen.eval()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    strategy.begin_epoch(1, 0, parts.data)
    assert strategy.agent.tracked.steps > 0
    assert strategy.network.training
    assert not frozen.training
    assert other.training
    assert frozen.num_batches_tracked == before["num_batches_tracked"]
    assert torch.equal(frozen.running_mean[: len(before["running_mean"])], before["running_mean"])


def alerts_of(run_dir, title):
    events = RunReader(Path(run_dir)).events(kinds=("alert",)).events
    return [event.payload["text"] for event in events if event.payload["title"] == title]


def test_where_no_trial_can_tell_none_is_made_and_the_run_says_so(make_agent_config, tmp_path):
    config = make_agent_config(least_effect=0.05, epochs=4)
    report = Run(config, save_dir=tmp_path, name="run").execute()
    assert report.network["trials"]["made"] == 0
    assert report.network["actions"]["tried"] == 0
    (text, *_) = alerts_of(report.run_dir, "No trial")
    assert "held-out samples show a difference of" in text
    assert not report.network["changes"]
    # Known from the epoch's own reading: nothing is paid for it, and the training is that of a network left alone.
    assert report.network["trials"]["compute"] == 0.0
    alone = Run(make_agent_config(policy="none", epochs=4), save_dir=tmp_path, name="alone").execute()
    assert report.history == alone.history
    assert report.network["compute"] == alone.network["compute"]


def test_trials_cost_no_more_than_their_share(make_agent_config, tmp_path):
    config = make_agent_config(trial_share=0.5, epochs=12, probe_steps=1)
    run = Run(config, save_dir=tmp_path, name="run")
    report = run.execute()
    trials, ledger = report.network["trials"], run.parts.strategy.trials
    assert trials["made"] >= 1
    assert trials["compute"] <= 0.5 * ledger.planned
    assert trials["compute"] < report.network["compute"]
    assert any("have cost" in text or "left" in text for text in alerts_of(report.run_dir, "No trial"))


def test_the_agent_is_off_where_nothing_has_paid(make_agent_config, tmp_path):
    config = make_agent_config(trial_patience=2, least_reward=1e9)
    report = Run(config, save_dir=tmp_path, name="run").execute()
    assert report.network["trials"]["made"] == 2
    assert report.network["trials"]["kept"] == 0
    assert alerts_of(report.run_dir, "No trial") == ["the last 2 trials gained nothing"]
