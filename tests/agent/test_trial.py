"""A trial's numbers and what the judge makes of them."""

import math

import pytest
import torch

from lab.agent import GainTest, MultiObjectiveReward, PairedTest, Reward, RewardConfig, TriedAction
from lab.nn import norm_layers

EXPAND = 1


def trial(mean=0.0, error=0.1, reward=0.5, measured=True, **more):
    return TriedAction(mean=mean, error=error, measured=measured, reward=Reward(total=reward), steps=1, **more)


@pytest.mark.parametrize(
    ("found", "kept", "text"),
    [
        (trial(mean=0.11), False, "worse"),
        (trial(mean=0.09), True, "held-out loss"),
        (trial(mean=-1.0), True, "reward"),
        (trial(mean=-1.0, reward=-0.1), False, "reward below the threshold"),
        (trial(mean=math.nan, reward=9.0), False, "worse"),
        (trial(mean=0.0, reward=-9.0, measured=False), True, "not yet trained"),
    ],
)
def test_a_change_is_kept_that_is_not_worse_for_sure_and_pays(found, kept, text):
    decided, why = PairedTest()(found)
    assert decided is kept
    assert text in why


@pytest.mark.parametrize(
    ("found", "kept", "text"),
    [
        (trial(mean=-0.5, verdict="better"), True, "reward"),
        (trial(mean=-0.5, verdict="better", reward=-0.1), False, "reward below"),
        (trial(mean=-0.05), False, "no gain shown"),
        (trial(mean=-0.05, cheaper=True), True, "reward"),
        (trial(mean=0.2, cheaper=True, verdict="worse"), False, "worse"),
        (trial(measured=False), True, "not yet trained"),
    ],
)
def test_a_gain_is_a_shown_one_or_a_lower_cost_at_no_loss(found, kept, text):
    decided, why = GainTest()(found)
    assert decided is kept
    assert text in why


def test_the_reward_of_an_untrained_expansion_is_its_price_alone(make_agent, data):
    agent = make_agent(probe_steps=0, reward=MultiObjectiveReward(RewardConfig(efficiency=0.5)))
    _, info = agent.apply_tentative(EXPAND, agent.get_state(agent.evaluate(data[1])), data[1])
    ratio = max(new / old for old, new in (info["parameters"], info["flops"]))
    assert ratio > 1.0
    assert info["reward_parts"]["efficiency"] == pytest.approx(math.tanh(1.0 - ratio))
    assert info["reward"] == pytest.approx(0.5 * math.tanh(1.0 - ratio), abs=1e-4)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_trial_leaves_each_module_in_its_mode(kept, mode, make_network, make_agent, data):
    model = make_network().train(mode == "train")
    norms = norm_layers(model)
    norms[0].eval()
    agent = make_agent(model, acceptance_test=lambda found: (kept, "told"), probe_steps=3)
    modes = {name: module.training for name, module in model.named_modules()}
    averages = {key: value.clone() for key, value in norms[0].state_dict().items()}
    _, info = agent.apply_tentative(EXPAND, agent.get_state(agent.evaluate(data[1])), data[1])
    assert info["applied"]
    assert {name: module.training for name, module in agent.model.named_modules() if name in modes} == modes
    if mode == "train":
        frozen = norm_layers(agent.model)[0]
        assert frozen.num_batches_tracked == averages["num_batches_tracked"]
        known = frozen.running_mean[: len(averages["running_mean"])]
        assert torch.equal(known, averages["running_mean"])
        # Kept or not, the network has trained for the three steps.
        assert int(norm_layers(agent.model)[1].num_batches_tracked) == 3


@pytest.mark.parametrize("kept", [True, False])
def test_regret_is_what_the_other_choice_would_have_gained(kept, make_agent, data):
    agent = make_agent(acceptance_test=lambda found: (kept, "told"), probe_steps=2)
    seen = set()
    for action in range(7):
        _, info = agent.apply_tentative(action, agent.get_state(agent.evaluate(data[1])), data[1])
        if info["applied"]:
            lost = info["loss_change"] if kept else -info["loss_change"]
            assert info["regret"] == max(lost, 0.0)
            seen.add(lost > 0)
    assert seen == {True, False}, "both kinds were to be seen"


def test_what_was_seen_says_which_actions_are_possible_next(make_agent, data):
    agent = make_agent(probe_steps=0)
    agent.apply_tentative(EXPAND, agent.get_state(agent.evaluate(data[1])), data[1])
    agent.learner.end_episode()
    (experience,) = agent.learner.buffer._kept
    assert torch.equal(experience.next_mask, agent.mask())
    assert torch.equal(experience.next_state, agent.get_state(experience.metrics_after).cpu())
    assert experience.metrics_after["parameters"] > experience.metrics_before["parameters"]
