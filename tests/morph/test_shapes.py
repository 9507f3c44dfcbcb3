import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, apply, rollback, verify
from lab.morph.shapes import shapes_of


class Fire(nn.Module):
    """As many channels inside as its maps are wide on 8x8 pixels."""

    def __init__(self, into, out):
        super().__init__()
        self.squeeze, self.one, self.three = (
            nn.Conv2d(into, 8, 1),
            nn.Conv2d(8, out, 1),
            nn.Conv2d(8, out, 3, padding=1),
        )

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.one(x).relu(), self.three(x).relu()], 1)


def fires():
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2)]
    return nn.Sequential(Fire(3, 10), Fire(20, 12), *head)


def waves():
    return nn.Sequential(nn.Conv1d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv1d(12, 6, 3, padding=1))


def volumes():
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.GELU(), nn.Conv3d(4, 2, 1))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids, mask):
        return self.head(self.mix(self.embed(ids)) * mask[..., None])


class Fixed(nn.Module):
    """Takes one size alone: its positions are learnt."""

    def __init__(self):
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Linear(16, 2)
        self.position = nn.Parameter(torch.randn(1, 16, 16))
        self.mix = nn.Linear(16, 16)

    def forward(self, x):
        tokens_BNC = self.patch(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.mix(tokens_BNC).mean(1))


@pytest.mark.parametrize(
    ("make", "shape", "path", "axis"),
    [
        (fires, (4, 3, 8, 8), "0", 1),
        (fires, (4, 3, 8, 8), "1", 1),
        (fires, (4, 3, 8, 8), "2", 1),
        (fires, (4, 3, 8, 8), "4", 1),
        (waves, (4, 1, 12), "1", 1),
        (waves, (4, 1, 40), "2", 1),
        (volumes, (4, 1, 4, 4, 4), "1", 1),
        (Fixed, (4, 3, 16, 16), "patch", 1),
        (Fixed, (4, 3, 16, 16), "mix", 2),
    ],
)
def test_channels_are_where_the_size_stays(make, shape, path, axis):
    (found,) = shapes_of(make(), torch.randn(*shape), path)
    assert found.axis == axis
    assert found.maps is (axis == 1 and len(found.out) > 2)


@pytest.mark.parametrize("length", [8, 5])
def test_channels_of_tokens_are_last_also_where_there_are_as_many_tokens(length):
    example = {"ids": torch.randint(0, 20, (4, length)), "mask": torch.ones(4, length)}
    for path in ("embed", "mix", "head"):
        assert shapes_of(Tokens(), example, path)[0].axis == 2


OPS = [Deepen, AddBranch, InsertResidual, InsertAttention]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("make", "path", "shape", "other"),
    [
        (fires, "0", (4, 3, 8, 8), (2, 3, 12, 12)),
        (waves, "1", (4, 1, 40), (2, 1, 50)),
        (waves, "0", (4, 1, 12), (2, 1, 7)),
        (volumes, "2", (4, 1, 4, 4, 4), (2, 1, 6, 4, 5)),
    ],
)
def test_what_was_added_fits_inputs_of_every_size_and_can_be_taken_back(make, path, shape, other, op):
    torch.manual_seed(0)
    model, batch = make(), torch.randn(*other)
    before = model.eval()(batch)
    report = apply(op(path).plan(model, torch.randn(*shape)), model)
    assert report.max_difference == 0.0
    assert torch.allclose(model.eval()(batch), before, atol=1e-6)
    model.train()(batch).sum().backward()
    rollback(report)
    assert torch.equal(model.eval()(batch), before)


@pytest.mark.parametrize(
    "op",
    [Deepen("0.linear1"), InsertResidual("0.linear1"), AddBranch("0.linear2"), Deepen("0.norm2"), Deepen("0")],
    ids=str,
)
def test_a_part_of_an_encoder_layer_is_right_on_its_fused_path_too(op):
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 4))
    x = torch.randn(4, 7, 16)
    report = apply(op.plan(model, x), model)
    assert report.max_difference == 0.0
    assert verify(report, x) == 0.0
    with torch.no_grad():
        # What was added counts from now on, whichever path is taken.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        fused = model.eval()(x)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            plain = model(x)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        added = model[0](x)
    assert torch.allclose(fused, plain, atol=1e-5)
    assert added.shape == (4, 7, 16)


def test_a_part_of_an_encoder_that_packs_its_batches_is_refused():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2), torch.randn(4, 7, 16)
    with pytest.raises(MorphError, match=r"packs padded batches.*Set its use_nested_tensor to False"):
        Deepen("layers.1.linear1").plan(model, x)
    model.use_nested_tensor = False
    apply(Deepen("layers.1.linear1").plan(model, x), model)
    mask = torch.zeros(4, 7, dtype=torch.bool)
    mask[:, 5:] = True
    with torch.no_grad():
        assert model.eval()(x, src_key_padding_mask=mask).shape == (4, 7, 16)
