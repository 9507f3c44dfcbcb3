import copy
import pickle

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, Prune, Widen, apply, rollback, verify
from lab.nn import small_cnn

OPS = (
    Deepen("features.relu2"),
    Deepen("features.norm1"),
    Deepen("classifier.0"),
    InsertResidual("features"),
    InsertResidual(("features.conv2", "features.relu2")),
    InsertResidual("classifier"),
    InsertAttention("features.pool2"),
    AddBranch("features.conv3"),
    AddBranch("classifier.0"),
)


@pytest.fixture(params=OPS, ids=str)
def op(request):
    return request.param


def test_nothing_moves_and_no_stream_is_touched(narrow, images, op):
    narrow.train()(images)
    eval_before = narrow.eval()(images)
    buffers = [(buffer, buffer.clone()) for buffer in narrow.buffers()]
    stream = torch.get_rng_state()
    plan = op.plan(narrow, images)
    report = apply(plan, narrow)
    assert torch.equal(torch.get_rng_state(), stream)
    assert plan.max_difference == 0.0
    assert torch.equal(narrow.eval()(images), eval_before)
    assert verify(report, images) == 0.0
    held = {id(buffer) for buffer in narrow.buffers()}
    assert all(id(buffer) in held and torch.equal(buffer, value) for buffer, value in buffers)
    assert report.applied
    assert plan.parameters[1] == sum(p.numel() for p in narrow.parameters()) > plan.parameters[0]


def test_training_uses_what_was_added(narrow, images, op, train):
    old = {id(p) for p in narrow.parameters()}
    apply(op.plan(narrow, images), narrow)
    added = [p for p in narrow.parameters() if id(p) not in old]
    before = [p.detach().clone() for p in added]
    assert train(narrow, torch.optim.Adam(narrow.parameters(), lr=1e-3), images, 30) < 0.3
    assert any(not torch.equal(a, b) for a, b in zip(before, added, strict=True))


def test_the_changed_network_pickles_copies_exports_and_loads_its_state(narrow, images, op):
    apply(op.plan(narrow, images), narrow)
    narrow.eval()
    expected = narrow(images)
    assert torch.equal(pickle.loads(pickle.dumps(narrow))(images), expected)
    assert torch.equal(copy.deepcopy(narrow)(images), expected)
    twin = apply(op.plan(small_cnn(channels=8), images), small_cnn(channels=8)).model.eval()
    twin.load_state_dict(narrow.state_dict())
    assert torch.equal(twin(images), expected)
    exported = torch.export.export(narrow, (images,)).module()
    assert torch.allclose(exported(images), expected, atol=1e-5)


def test_the_shortcut_of_the_document_has_its_numbers(specimen):
    images = torch.randn(4, 3, 32, 32)
    plan = InsertResidual("features").plan(specimen, images)
    assert plan.parameters == (2_193_674, 2_194_442)
    assert "3 -> 128, stride 4x4" in plan.note
    report = apply(plan, specimen)
    for batch in (1, 4):
        x = torch.randn(batch, 3, 32, 32)
        assert verify(report, x) == 0.0
    rollback(report)
    assert sum(p.numel() for p in specimen.parameters()) == 2_193_674


@pytest.mark.parametrize("size", [(48, 32), (20, 36), (32, 32)], ids=str)
def test_a_shortcut_fits_other_sizes_and_rectangles(size):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    x = torch.randn(4, 3, *size)
    report = apply(InsertResidual(("0", "2")).plan(model, x), model)
    assert verify(report, x) == 0.0
    assert verify(report, torch.randn(4, 3, 31, 45)) == 0.0
    model(torch.randn(2, 3, 31, 45)).sum().backward()


def test_a_shortcut_that_no_stride_gives_says_that_it_resamples():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8 * 28 * 28, 2))
    plan = InsertResidual("0").plan(model, torch.randn(4, 3, 32, 32))
    assert "`resample` pools" in plan.note
    assert plan.max_difference == 0.0


@pytest.mark.parametrize(
    ("op", "match"),
    [
        (InsertResidual("nowhere"), "a name from named_modules"),
        (InsertResidual(("features.conv2", "classifier.0")), "siblings in an nn.Sequential"),
        (InsertResidual(("features.relu2", "features.conv2")), "siblings in an nn.Sequential"),
        (InsertResidual("flatten"), "to keep the number of dimensions"),
        (InsertAttention("classifier.0"), "to give tokens or maps"),
        (InsertAttention("features.conv2", heads=7), "heads that divide 16"),
        (Deepen(""), "a name from named_modules"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(narrow, images, op, match, state, same):
    before = state(narrow)
    with pytest.raises(MorphError, match=match):
        op.plan(narrow, images)
    assert same(state(narrow), before)


def test_attention_over_too_many_pixels_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(MorphError, match="at most 4096 tokens.*got 6400"):
        InsertAttention("0").plan(model, torch.randn(1, 3, 80, 80))


class Peeks(nn.Module):
    """Reads the weights of a layer, and calls it in some modes."""

    def __init__(self, modes=(False, True)):
        super().__init__()
        self.one, self.modes = nn.Linear(4, 4), modes

    def forward(self, x):
        y = x @ self.one.weight.T + self.one.bias
        return y + self.one(x) if self.training in self.modes else y


@pytest.mark.parametrize("op", [Deepen("one"), InsertResidual("one"), AddBranch("one")], ids=str)
def test_a_parent_that_reads_attributes_of_a_wrapped_layer_gets_those_of_the_layer(op):
    model, x = Peeks(), torch.randn(4, 4)
    layer, before = model.one, model(x)
    assert apply(op.plan(model, x), model).max_difference == 0.0
    assert model.one.weight is layer.weight
    assert model.one.in_features == 4
    assert torch.equal(model(x), before)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = model.one.nothing


def test_a_layer_that_one_mode_leaves_out_is_refused():
    # Exact at first, since the gate is closed; what it learns would be missing in that mode.
    with pytest.raises(MorphError, match="one is not called in train mode"):
        Deepen("one").plan(Peeks(modes=(False,)), torch.randn(4, 4))
    with pytest.raises(MorphError, match="never called"):
        Deepen("one").plan(Peeks(modes=(True,)), torch.randn(4, 4))


def test_a_layer_whose_parent_only_reads_its_weights_is_refused():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    with pytest.raises(MorphError, match="never called"):
        Deepen("attention.out_proj").plan(Reads(), torch.randn(4, 3, 8))


def test_dtype_mode_and_frozen_neighbours_are_taken_over(narrow, images):
    narrow.double().eval()
    apply(InsertResidual("features").plan(narrow, images.double()), narrow)
    assert {p.dtype for p in narrow.parameters()} == {torch.float64}
    assert not any(module.training for module in narrow.modules())


def test_operations_follow_each_other(narrow, images):
    expected = narrow.eval()(images)
    for op in (
        Widen("features.conv2", 20),
        InsertResidual("features"),
        Widen("features.body.conv3", 50),
        Deepen("features.body.relu1"),
        InsertAttention("features.body.pool2"),
        Widen("features.body.relu1.layer.0", 12),
        AddBranch("classifier.0"),
        Widen("classifier.0.body", 75),
    ):
        plan = op.plan(narrow, images)
        apply(plan, narrow)
        assert plan.max_difference <= 1e-10, op
    assert torch.allclose(narrow.eval()(images), expected, atol=1e-5)
    apply(Prune("features.body.conv3", 25).plan(narrow, images), narrow)
    narrow(images).sum().backward()


def test_maps_with_their_channels_last_are_told_from_those_with_channels_first():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 12, 4, stride=4)
            self.norm, self.mix, self.act = nn.LayerNorm(12), nn.Linear(12, 12), nn.GELU()
            self.head = nn.Linear(12, 2)

        def forward(self, x_BCHW):
            y_BHWC = self.norm(self.patch(x_BCHW).permute(0, 2, 3, 1))
            return self.head(self.act(self.mix(y_BHWC)).mean((1, 2)))

    model, x = Windows(), torch.randn(4, 3, 32, 32)
    for op in (InsertAttention("mix"), Deepen("act"), AddBranch("mix"), InsertResidual("mix")):
        plan = op.plan(model, x)
        assert plan.max_difference == 0.0
        assert plan.steps[0].arguments["pixels"] is False, op
    assert Deepen("patch").plan(model, x).steps[0].arguments["pixels"] is True


@pytest.mark.parametrize("shift", [[float("nan")] * 4, [float("inf"), 0.0, 0.0, 0.0]], ids=["nan", "inf"])
def test_an_output_that_is_no_number_is_refused(shift):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) + torch.tensor(shift)

    with pytest.raises(MorphError, match="difference of inf"):
        Deepen("layer").plan(Shifted(), torch.randn(4, 4))


@pytest.mark.parametrize("op", [AddBranch("1"), InsertResidual("1"), InsertResidual(("1", "2"))], ids=str)
def test_beside_a_body_that_works_in_place_backward_runs_and_learns(op):
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), torch.randn(4, 4)
    report = apply(op.plan(model, x), model)
    assert verify(report, x) == 0.0
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_operations_of_attention_are_counted():
    """Of N tokens of C channels: 8 N C^2 for its four products, 4 N^2 C for scores and mixture."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    x_BCHW = torch.randn(2, 3, 10, 10)
    plan = InsertAttention("0", heads=2).plan(model, x_BCHW)
    tokens, channels, batch = 100, 8, 2
    assert plan.flops[1] - plan.flops[0] == batch * (8 * tokens * channels**2 + 4 * tokens**2 * channels)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_shortcut_between_channels_in_other_dimensions_is_refused():
    class Last(nn.Module):
        """Reads (B, H, W, C) and gives (B, C, H, W)."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(x).permute(0, 3, 1, 2)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.stage, self.head = nn.Conv2d(3, 8, 1), Last(), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            return self.head(self.stage(self.stem(x).permute(0, 2, 3, 1))).mean((2, 3))

    x = torch.randn(4, 3, 8, 8)
    for op in (InsertResidual("stage"), AddBranch("stage")):
        with pytest.raises(MorphError, match="read and give channels in one dimension"):
            op.plan(Network(), x)
