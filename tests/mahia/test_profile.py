import torch
from torch import nn

from lab.mahia import HybridEfficientModel, TinyMemory, memory_profile


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(16, 256)
        self.parts = nn.ModuleDict({"narrow": nn.Linear(256, 4), "unused": nn.Linear(4, 4)})

    def forward(self, x):
        return self.parts["narrow"](self.wide(x))


def test_bytes_of_layers_are_those_of_the_sum_by_hand():
    profile = memory_profile(Two(), torch.randn(32, 16))
    rows = {row.name: row for row in profile.components}
    assert list(rows) == ["wide", "parts.narrow", "parts.unused", "(whole model)"]
    wide, narrow = rows["wide"], rows["parts.narrow"]
    assert wide.parameters == 4 * (16 * 256 + 256)
    assert wide.kept == 4 * 32 * 256  # the output: what backward needs is the input, which is not this layer's
    assert narrow.kept == 4 * 32 * 4
    # output, its gradient of ones, the weight's and the bias's gradient; none for the input of the first layer
    assert wide.peak == 4 * (2 * 32 * 256 + 16 * 256 + 256)
    # the second layer's input needs a gradient too
    assert narrow.peak == 4 * (2 * 32 * 4 + 4 * 256 + 4 + 32 * 256)
    assert (rows["parts.unused"].calls, rows["parts.unused"].peak) == (0, 0)


def test_a_model_that_works_on_a_cpu_never_shows_0_bytes():
    torch.manual_seed(0)
    model = HybridEfficientModel(20, 4, 3, {"a": 2, "b": 1}, 8, 8, 8)
    profile = memory_profile(model, torch.ones(4, 4, dtype=torch.long), torch.randn(4, 3))
    assert {row.name for row in profile.components} >= {"kernel", "memory", "feed_forward", "fabric", "heads.b"}
    assert all(row.peak > 0 and row.kept > 0 for row in profile.components)
    assert profile.components[-1].peak == max(row.peak for row in profile.components)
    assert "heads.b" in str(profile)
    assert profile.to_dict()["components"][0]["name"] == "embedding"


def test_model_and_random_streams_stay_as_they_were():
    model = nn.Sequential(TinyMemory(3, 4), nn.Dropout(0.5))
    x = torch.randn(5, 4)
    before, stream = [buffer.clone() for buffer in model.buffers()], torch.get_rng_state()
    memory_profile(model, x)
    assert all(torch.equal(one, two) for one, two in zip(before, model.buffers(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_frozen_model_shows_its_forward():
    profile = memory_profile(Two().requires_grad_(requires_grad=False), torch.randn(32, 16))
    assert profile.components[0].peak == profile.components[0].kept == 4 * 32 * 256
