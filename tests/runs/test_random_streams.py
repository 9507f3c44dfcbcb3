"""A network that draws from any covered random stream is resumed to the bits of the run that went through."""

import sys
import types

import pytest
import torch
from torch import nn

from lab.runs import Run, find_checkpoint, saved_config

NOISY = """
import random
import numpy as np
import torch
from torch import nn

class Noise(nn.Module):
    def forward(self, x):
        draws = {"torch": lambda: float(torch.rand(())), "python": random.random, "numpy": np.random.rand}
        return x * (1.0 + 0.1 * draws[STREAM]()) if self.training else x

def make():
    return nn.Sequential(nn.Flatten(), Noise(), nn.Linear(64, 10))
"""


class Stop:
    """Ends the run inside its second epoch."""

    def __init__(self, loop_of):
        self.loop_of = loop_of

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (1, 2):
            self.loop_of().interrupt()

    def on_text(self, text):
        pass


@pytest.mark.parametrize("stream", ["torch", "python", "numpy"])
def test_a_resumed_run_draws_on_where_it_was_stopped(make_config, tmp_path, monkeypatch, stream):
    module = types.ModuleType("noisy_network")
    exec(f"STREAM = {stream!r}\n{NOISY}", module.__dict__)
    monkeypatch.setitem(sys.modules, "noisy_network", module)
    config = make_config(recipe="agent", model="noisy_network:make", policy="none", epochs=3)
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    loops = []
    inner = Run._make_loop
    monkeypatch.setattr(Run, "_make_loop", lambda self, *told: loops.append(inner(self, *told)) or loops[-1])
    stopped = Run(config, save_dir=tmp_path, name="stopped", observer=Stop(lambda: loops[-1])).execute()
    assert stopped.state == "stopped"
    torch.rand(3), module.np.random.rand(3), module.random.random()
    path = find_checkpoint(str(tmp_path / "stopped"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert isinstance(loops[-1].strategy.network, nn.Sequential)
