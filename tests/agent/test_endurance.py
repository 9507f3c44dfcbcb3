"""Many actions on one network in training, half of them not kept. LAB_ACTIONS sets how many; 200 take minutes."""

import copy
import gc
import os
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from lab.agent import AgentConfig, LearnerConfig, StructuralEvolution
from lab.device import tensor_bytes
from lab.doctor import audit
from lab.state import structure_digest, weight_digest

ACTIONS = int(os.environ.get("LAB_ACTIONS", "12"))


def live_bytes():
    """Bytes of every tensor storage that something still holds."""
    gc.collect()
    storages = {}
    for item in gc.get_objects():
        if type(item) in (Tensor, Parameter) and item.layout is torch.strided and not item.is_meta:
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            if item.is_leaf and item.grad is not None:
                storages[item.grad.untyped_storage().data_ptr()] = item.grad.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.slow
def test_random_actions_half_of_them_rejected_lose_no_bit_and_no_byte(make_agent, make_network, data):
    random = Random(1)
    seen = {"kept": 0, "rejected": 0, "refused": 0}
    agent = make_agent(
        make_network(channels=4),
        config=AgentConfig(probe_steps=1, learning_steps=1),
        # So small that it is full soon: what it holds is no leak.
        learner=LearnerConfig(batch_size=4, buffer_size=4, n_step=1),
        evolution=StructuralEvolution(max_parameters=30_000),
        acceptance_test=lambda trial: (random.random() < 0.5, "by the toss of a coin"),
    )
    tensors = (agent.model, agent.optimizer)
    probe, taken = agent.tracked.probe, []

    def noted(steps):
        taken[:] = probe(steps)
        return taken

    agent.tracked.probe = noted
    losses, extra = [], []
    for _ in range(ACTIONS):
        for batch in agent.tracked.probe(4):
            agent.tracked.train_step(agent.model, agent.optimizer, batch)
        metrics = agent.evaluate(data[1])
        losses.append(metrics["loss"])
        possible = agent.mask().nonzero().flatten().tolist()
        before = structure_digest(agent.model), torch.get_rng_state()
        model, optimizer = copy.deepcopy((agent.model, agent.optimizer))
        kept, info = agent.apply_tentative(random.choice(possible), agent.get_state(metrics), data[1])
        if not kept:
            if info["applied"]:
                # Not as if nothing had been: as if it had trained for the step of the trial.
                agent.tracked.train_step(model, optimizer, taken[-1])
            assert (structure_digest(agent.model), weight_digest(agent.model)) == (before[0], weight_digest(model))
            assert torch.equal(torch.get_rng_state(), before[1])
        del model, optimizer
        seen["kept" if kept else "rejected" if info["applied"] else "refused"] += 1
        assert kept or not info["applied"] or info["error"].startswith("not kept")
        extra.append(live_bytes() - tensor_bytes(tensors))
    assert audit(agent.model, agent.optimizer).ok
    assert seen["kept"] > 0.25 * ACTIONS
    assert seen["rejected"] > 0.25 * ACTIONS
    slope = np.polyfit(range(ACTIONS - 8), extra[8:], 1)[0]
    message = f"{seen}, slope {slope:.0f} bytes an action, loss {losses[0]:.3f} -> {min(losses[-5:]):.3f}"
    # The measures of the present network are held, and they follow its widths; nothing else stays.
    assert abs(slope) < 2_000, message
    assert min(losses[-5:]) < 0.5 * losses[0], message
    print(message)  # noqa: T201 - the figures, for pytest -s
