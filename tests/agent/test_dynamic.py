"""The agent's transaction: what is kept, what is rolled back, what is told of it."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.agent import (
    AgentConfig,
    DynamicArchitecture,
    InformationBottleneck,
    LearnerConfig,
    StructuralEvolution,
    read_batch,
)
from lab.agent.trial import plain_step
from lab.base import ConfigError, DataError
from lab.doctor import audit
from lab.morph import rebuild
from lab.state import state_digest, structure_digest, weight_digest

ACTIONS = ("prune", "expand", "mutate", "branch", "attention", "hybrid", "residual")


def never(trial):
    return False, "never"


def always(trial):
    return True, "always"


def everything(agent):
    """A digest of all that an action may touch of the network and its training."""
    named = dict(agent.model.named_parameters())
    state = {name: dict(agent.optimizer.state.get(parameter, {})) for name, parameter in named.items()}
    groups = [[next(n for n, p in named.items() if p is q) for q in g["params"]] for g in agent.optimizer.param_groups]
    grads = {name: p.grad for name, p in named.items() if p.grad is not None}
    tree = {"state": state, "grads": grads, "buffers": dict(agent.model.named_buffers()), "weights": named}
    return (
        structure_digest(agent.model),
        weight_digest(agent.model),
        state_digest(tree),
        groups,
        torch.get_rng_state().tolist(),
        [module.training for module in agent.model.modules()],
    )


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_changes_the_network_and_leaves_it_sound(name, make_agent, data):
    agent = make_agent(acceptance_test=always)
    assert agent.actions == ACTIONS
    before = structure_digest(agent.model), weight_digest(agent.model)
    state = agent.get_state(agent.evaluate(data[1]))
    kept, info = agent.apply_tentative(ACTIONS.index(name), state, data[1])
    assert kept, info
    assert info["applied"]
    assert info["structure"][0] == before[0] != info["structure"][1] == structure_digest(agent.model)
    assert audit(agent.model, agent.optimizer).ok
    trained = {id(p) for group in agent.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in agent.model.parameters() if p.requires_grad}
    assert info["parameters"][1] == sum(p.numel() for p in agent.model.parameters())


def trained_plainly(agent, steps):
    """What `everything` is after so many steps of plain training on the batches that a trial would take."""
    model, optimizer = copy.deepcopy((agent.model, agent.optimizer))
    batches = [read_batch(batch, model, agent.device) for batch in list(agent.tracked.train_loader)[:steps]]
    random = torch.get_rng_state()
    for batch in batches:
        plain_step()(model, optimizer, batch)
    found = everything(SimpleNamespace(model=model, optimizer=optimizer))
    torch.set_rng_state(random)
    return found


@pytest.mark.parametrize("name", ACTIONS)
def test_a_rejected_action_leaves_every_bit_as_it_was(name, make_agent, data):
    agent = make_agent(acceptance_test=never, probe_steps=0)
    for batch in agent.tracked.probe(3):
        agent.tracked.train_step(agent.model, agent.optimizer, batch)
    state = agent.get_state(agent.evaluate(data[1]))
    before = everything(agent)
    kept, info = agent.apply_tentative(ACTIONS.index(name), state, data[1])
    assert not kept
    assert info["applied"]
    assert info["error"] == "not kept: never"
    assert info["weights"][0] != info["weights"][1]
    assert everything(agent) == before


@pytest.mark.parametrize("name", ACTIONS)
def test_after_a_rejected_trial_the_network_has_the_bits_of_plain_training(name, make_network, make_agent, data):
    model = nn.Sequential(make_network(), nn.Dropout(0.3))
    agent = make_agent(model, acceptance_test=never, probe_steps=3)
    state = agent.get_state(agent.evaluate(data[1]))
    expected = trained_plainly(agent, 3)
    kept, info = agent.apply_tentative(ACTIONS.index(name), state, data[1])
    assert not kept
    assert info["applied"]
    assert everything(agent) == expected


@pytest.mark.parametrize("steps", [0, 2])
def test_a_failure_inside_a_trial_leaves_the_network_unchanged(steps, make_agent, data):
    def broken(trial):
        raise ZeroDivisionError

    agent = make_agent(acceptance_test=broken, probe_steps=steps)
    state = agent.get_state(agent.evaluate(data[1]))
    expected = trained_plainly(agent, steps)
    with pytest.raises(ZeroDivisionError):
        agent.apply_tentative(1, state, data[1])
    assert everything(agent)[:2] == expected[:2]


def watched(step, seen):
    """`step`, which also notes the training loss of the batch under the dropout of that step."""

    def run(model, optimizer, batch):
        random = torch.get_rng_state()
        with torch.no_grad():
            model.train()
            kept = copy.deepcopy(dict(model.named_buffers()))
            seen.append(float(batch.losses(model)[0].mean()))
            for name, buffer in model.named_buffers():
                buffer.copy_(kept[name])
        torch.set_rng_state(random)
        step(model, optimizer, batch)

    return run


def test_the_twin_takes_the_same_steps_from_the_same_random_state(make_network, make_agent, data):
    """A change that adds exactly nothing and learns nothing is not told apart from its control copy."""
    model = nn.Sequential(make_network(), nn.Dropout(0.5))
    agent = make_agent(model, acceptance_test=always, probe_steps=4)
    agent.optimizer.param_groups[0]["lr"] = 1e-12
    seen = []
    agent.tracked.train_step = watched(agent.tracked.train_step, seen)
    state = agent.get_state(agent.evaluate(data[1]))
    _, info = agent.apply_tentative(ACTIONS.index("residual"), state, data[1])
    # Nothing has learnt anything: same batches and same dropout give the same loss, step by step.
    # Control and changed copy by turns, two orders at each step.
    assert seen[0::2] == pytest.approx(seen[1::2], rel=1e-6)
    assert len(set(seen[0::2])) == 8
    assert abs(info["loss_change"]) < 1e-6
    assert info["probe_steps"] == 4
    assert agent.tracked.steps == 16
    assert agent.tracked.own_samples == 4 * 32


def test_without_probe_steps_an_exact_action_is_kept_and_reported_unmeasured(make_network, data):
    agent = DynamicArchitecture(make_network())
    state = agent.get_state(agent.evaluate(data[1]))
    kept, info = agent.apply_tentative(ACTIONS.index("expand"), state, data[1])
    assert kept
    assert info["exact"]
    assert info["measured"] is False
    assert abs(info["loss_change"]) < 1e-5
    state = agent.get_state(agent.evaluate(data[1]))
    _, info = agent.apply_tentative(ACTIONS.index("prune"), state, data[1])
    assert info["measured"] is True


def test_an_impossible_action_is_masked_with_the_reason_and_never_a_success(make_agent, data):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, 4))
    agent = make_agent(model)
    metrics = agent.evaluate(data[1])
    mask = agent.mask()
    attention = ACTIONS.index("attention")
    assert not mask[attention]
    assert agent.refusals()["attention"]
    before = structure_digest(model), weight_digest(model)
    kept, info = agent.apply_tentative(attention, agent.get_state(metrics), data[1])
    assert (kept, info["applied"], bool(info["error"])) == (False, False, True)
    assert agent.tracked.steps == 0, "a trial of what is impossible"
    assert (structure_digest(model), weight_digest(model)) == before
    chosen = {agent.select_action(agent.get_state({})) for _ in range(60)}
    assert chosen <= set(mask.nonzero().flatten().tolist())
    assert len(chosen) > 2


@pytest.mark.parametrize("limit", ["max_parameters", "max_flops"])
def test_a_budget_masks_what_would_exceed_it(limit, make_network, data):
    model = make_network()
    parameters = sum(p.numel() for p in model.parameters())
    agent = DynamicArchitecture(model, StructuralEvolution(**{limit: parameters if limit == "max_parameters" else 1}))
    agent.evaluate(data[1])
    refusals = agent.refusals()
    assert "over the limit" in refusals["expand"]
    assert "over the limit" in refusals["residual"]
    assert "prune" not in refusals


def test_a_latency_budget_masks_what_adds_operations(make_network, data):
    agent = DynamicArchitecture(make_network(), StructuralEvolution(max_latency=1e-9))
    agent.evaluate(data[1])
    assert "ms a forward over the limit" in agent.refusals()["branch"]
    assert "prune" not in agent.refusals()


def test_a_rejected_place_is_barred_until_a_change_is_kept(make_agent, data):
    decisions = iter([False, False, True])
    agent = make_agent(acceptance_test=lambda trial: (next(decisions), "told"))
    metrics, places = agent.evaluate(data[1]), []
    for _ in range(2):
        _, info = agent.apply_tentative(1, agent.get_state(metrics), data[1])
        places.append(info["changes"][0])
    assert places[0] != places[1]
    assert len(agent.excluded) == 2
    assert agent.apply_tentative(1, agent.get_state(metrics), data[1])[0]
    assert not agent.excluded


def test_reading_and_choosing_write_nothing(make_agent, data):
    agent = make_agent()
    agent.model.train()
    before = everything(agent)
    state = agent.get_state(agent.evaluate(data[1]))
    agent.select_action(state, training=False)
    agent.mask()
    assert everything(agent) == before


def test_the_state_names_its_entries_and_refuses_percent(make_agent, data):
    agent = make_agent()
    metrics = agent.evaluate(data[1])
    state = agent.get_state(metrics)
    assert state.dtype == torch.float32
    assert state.abs().max() < 3
    assert not torch.equal(state, agent.get_state({**metrics, "loss": 9.0}))
    with pytest.raises(DataError, match=r"accuracy as a share .* Divide percent by 100"):
        agent.get_state({**metrics, "accuracy": 87.0})
    with pytest.raises(DataError, match="a finite loss in the metrics, found none"):
        make_agent().get_state({"accuracy": 0.5})
    with pytest.raises(DataError, match="a finite loss in the metrics, got nan"):
        agent.get_state({"loss": math.nan})


def test_a_loss_that_is_no_number_is_taken_back_with_the_worst_reward(make_agent, data):
    def explode(model, optimizer, batch):
        # The changed copies are told by their size.
        if sum(p.numel() for p in model.parameters()) != parameters:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(math.nan)

    agent = make_agent(train_step=explode, probe_steps=1)
    parameters = agent.tracked.parameters
    before = weight_digest(agent.model)
    kept, info = agent.apply_tentative(1, agent.get_state(agent.evaluate(data[1])), data[1])
    assert not kept
    assert info["reward"] == pytest.approx(-1.0)
    assert set(info["reward_parts"].values()) == {-1.0}
    assert weight_digest(agent.model) == before


def test_an_episode_ends_after_its_actions(make_agent, data):
    config = AgentConfig(probe_steps=0, episode_actions=2, learning_steps=1)
    agent = make_agent(config=config, learner=LearnerConfig(batch_size=2, n_step=1))
    metrics = agent.evaluate(data[1])
    for _ in range(4):
        agent.apply_tentative(1, agent.get_state(metrics), data[1])
    done = [item.done for item in agent.learner.buffer._kept]
    assert done == [False, True, False, True]
    assert agent.learner.updates > 0


def test_the_same_seed_makes_the_same_changes_and_a_saved_agent_goes_on_with_them(make_agent, make_network, data):
    def play(agent, actions):
        outcomes = []
        for _ in range(actions):
            metrics = agent.evaluate(data[1])
            action = agent.select_action(agent.get_state(metrics))
            kept, info = agent.apply_tentative(action, agent.get_state(metrics), data[1])
            outcomes.append((action, kept, info.get("loss_change"), info.get("changes")))
        return outcomes

    config = AgentConfig(probe_steps=1, learning_steps=1)
    learner = LearnerConfig(batch_size=2, n_step=2)
    one = make_agent(config=config, learner=learner, acceptance_test=always)
    begun = play(one, 3)
    saved = copy.deepcopy(one.state_dict())
    weights, moments, random = one.model.state_dict(), one.optimizer.state_dict(), torch.get_rng_state()
    weights, moments = copy.deepcopy(weights), copy.deepcopy(moments)
    one.begin_round()
    ended = play(one, 3)

    again = make_agent(make_network(), config=config, learner=learner, acceptance_test=always)
    assert play(again, 3) == begun
    other = make_agent(make_network(), config=config, learner=learner, acceptance_test=always, seed=9)
    other.replay(one.plans[: sum(kept for _, kept, *_ in begun)])
    other.model.load_state_dict(weights)
    other.optimizer.load_state_dict(moments)
    other.attempts.seed = other.tracked.seed = 0
    other.load_state_dict(saved)
    torch.set_rng_state(random)
    assert play(other, 3) == ended
    assert weight_digest(other.model) == weight_digest(one.model)


def test_the_changes_that_stand_can_be_replayed_on_a_fresh_network(make_agent, make_network, data):
    agent = make_agent(acceptance_test=always, probe_steps=0)
    for action in range(7):
        agent.apply_tentative(action, agent.get_state(agent.evaluate(data[1])), data[1])
    assert len(agent.plans) == 7
    rebuilt = rebuild(make_network(), agent.plans)
    assert structure_digest(rebuilt) == structure_digest(agent.model)


def test_bad_input_is_refused(make_network, make_agent, data):
    with pytest.raises(ConfigError, match="optimizer= and train_loader= with probe steps"):
        DynamicArchitecture(make_network(), probe_steps=2)
    agent = make_agent()
    state = agent.get_state(agent.evaluate(data[1]))
    with pytest.raises(ConfigError, match="action"):
        agent.apply_tentative(7, state, data[1])
    with pytest.raises(DataError, match="a loader with batches"):
        agent.apply_tentative(0, state, [])
    with pytest.raises(DataError, match=r"a batch \(inputs, labels\).*tuple of 3"):
        agent.evaluate([(1, 2, 3)])
    with pytest.raises(ConfigError, match="states of 14 features"):
        agent.select_action(state[:3])


def test_the_bottleneck_given_is_the_one_that_measures(make_network, data):
    plain = DynamicArchitecture(make_network()).evaluate(data[1])
    wide = DynamicArchitecture(make_network(), ib=InformationBottleneck(noise=100.0)).evaluate(data[1])
    assert wide["compression"] < 0.1 * plain["compression"]
