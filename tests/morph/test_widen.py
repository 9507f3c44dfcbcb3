import copy

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import MorphPlan, Prune, Widen, apply, loss_change, rebuild, rollback, verify


class Concat(nn.Module):
    """Two branches side by side, flattened, read by one linear layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.head = nn.Linear(10 * 16, 5)

    def forward(self, x):
        y = self.norm(torch.cat([self.a(x), self.b(x)], 1)).tanh()
        return self.head(nn.functional.avg_pool2d(y, 2).flatten(1))


class Stream(nn.Module):
    """A residual stream of 8 channels with grouped, depthwise and gated layers."""

    def __init__(self, norm):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = norm
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        y = self.norm(self.stem(x)).relu()
        y = y + self.grouped(self.depthwise(y)).sigmoid() * y
        y = y * self.gate(y.mean((2, 3), keepdim=True)).tanh()
        return self.head(y.amax((2, 3)))


class LearntToken(nn.Module):
    """A learnt token, expanded to the batch and handed to a submodule, as in CaiT and DETR."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.hidden, self.head = nn.LayerNorm(8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x_BTD):
        token_B1D = self.norm(self.token.expand(len(x_BTD), -1, -1))
        return self.head(self.hidden(torch.cat([token_B1D, x_BTD], 1)).relu())


def exact(model, op, x):
    plan = op.plan(model, x)
    before = copy.deepcopy(model).double().eval()(x.double())
    report = apply(plan, model.double())
    assert report.applied
    assert report.exact
    difference = (model.eval()(x.double()) - before).abs().max() / before.abs().max()
    assert difference <= 1e-10
    return plan


@pytest.fixture
def small():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_a_learnt_token_that_is_expanded_and_handed_on_is_no_obstacle():
    plan = exact(LearntToken(), Widen("hidden", 9), torch.randn(4, 5, 8))
    assert plan.flops == (2 * 4 * 6 * 6 * (8 + 3), 2 * 4 * 6 * 9 * (8 + 3))


@pytest.mark.parametrize(("layer", "width"), [("a", 5), ("a", 13), ("b", 7)])
def test_new_channels_of_a_concatenation_are_read_where_they_come(small, layer, width):
    torch.manual_seed(0)
    plan = exact(Concat(), Widen(layer, width), small)
    assert plan.parameters[1] > plan.parameters[0]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.GroupNorm(4, 8), nn.Identity()], ids=["batch", "group", "none"])
def test_a_stream_is_widened_in_everything_that_is_coupled_to_it(small, norm):
    torch.manual_seed(0)
    model = Stream(norm)
    exact(model, Widen("stem", 12), small)
    assert model.depthwise.groups == 12
    assert model.grouped.groups == 6
    assert model.head.in_features == 12


def test_groups_name_the_nearest_legal_width(small):
    with pytest.raises(MorphError, match=r"multiple of 2.*width 11.*nearest legal width is 12"):
        Widen("stem", 11).plan(Stream(nn.Identity()), small)


def test_a_layer_norm_wants_the_same_number_of_copies_of_each_unit():
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2))
    x = torch.randn(4, 6)
    with pytest.raises(
        MorphError, match=r"multiple of 5 \(a layer normalisation averages\).*nearest legal width is 10"
    ):
        Widen("0", 7).plan(model, x)
    exact(model, Widen("0", 15), x)
    assert model[1].normalized_shape == (15,)


def test_a_width_in_a_reshape_is_refused_with_the_reason_and_nothing_is_touched(state, same):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

        def forward(self, x):
            return self.two(self.one(x).view(-1, 144))

    model, x = Fixed(), torch.randn(4, 3, 8, 8)
    before = state(model)
    with pytest.raises(MorphError, match=r"size written into the forward"):
        Widen("one", 6).plan(model, x)
    assert same(state(model), before)


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (nn.ChannelShuffle(2), "channel_shuffle"),
        (nn.Softmax(1), "softmax"),
        (nn.LocalResponseNorm(3), "."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_operations_among_channels_are_refused(small, middle, reason):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), middle, nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(MorphError, match=reason):
        Widen("0", 12).plan(model, small)


@pytest.mark.parametrize(
    ("op", "match"),
    [
        (Widen("nowhere", 9), r"a name from named_modules\(\).*nowhere"),
        (Widen("classifier.2", 20), "size of the model's output"),
        (Widen("features.conv1", 32), "more than 32"),
        (Widen("features.norm1", 64), "a linear or a convolution layer.*BatchNorm2d"),
        (Prune("features.conv1", 0), "keep 0"),
        (Prune("features.conv1", (0, 0)), "different unit numbers"),
        (Prune("features.conv1", tuple(range(32))), "1 to 31"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(specimen, images, op, match):
    with pytest.raises(MorphError, match=match):
        op.plan(specimen, images)


def test_a_tied_weight_that_makes_and_reads_one_width_is_refused():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(11, 6)
            self.mix = nn.Linear(6, 6)

        def forward(self, ids):
            return nn.functional.linear(self.mix(self.table(ids)) + self.table(ids), self.table.weight)

    model, ids = Tied(), torch.randint(11, (4, 5))
    with pytest.raises(MorphError, match=r"table.weight, which does both"):
        Widen("mix", 8).plan(model, ids)


def test_the_copies_of_a_unit_drift_apart_in_training(specimen, images, train):
    plan = Widen("classifier.0", 512).plan(specimen, images)
    apply(plan, specimen)
    twins = [(unit, place) for place, unit in enumerate(plan.units) if place >= 256]
    rows = specimen.classifier[0].weight

    def gap():
        return max(float((rows[a] - rows[b]).detach().abs().max()) for a, b in twins)

    assert gap() == 0.0
    train(specimen, torch.optim.SGD(specimen.parameters(), lr=0.1), images)
    assert gap() > 1e-5


def test_shares_of_a_unit_differ_and_add_up_to_one(specimen, images):
    plan = Widen("features.conv2", 200).plan(specimen, images, seed=3)
    for unit in range(64):
        shares = [share for share, old in zip(plan.shares, plan.units, strict=True) if old == unit]
        assert sum(shares) == pytest.approx(1.0, abs=1e-15)
        assert len(set(shares)) == len(shares)


def test_the_seed_decides_and_the_global_streams_do_not(specimen, images):
    one = Widen("features.conv2", 80).plan(specimen, images, seed=3)
    torch.manual_seed(99)
    assert Widen("features.conv2", 80).plan(specimen, images, seed=3) == one
    assert Widen("features.conv2", 80).plan(specimen, images, seed=4).units != one.units


def test_a_plan_survives_json_and_rebuilds_the_structure(specimen, images):
    fresh = copy.deepcopy(specimen)
    plans = []
    for op in (Widen("features.conv2", 80), Prune("features.conv1", 20), Widen("classifier.0", 300)):
        plans.append(op.plan(specimen, images))
        apply(plans[-1], specimen)
    again = rebuild(fresh, tuple(MorphPlan.from_json(plan.to_json()) for plan in plans))
    again.load_state_dict(specimen.state_dict())
    assert torch.equal(again.eval()(images), specimen.eval()(images))


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 9}', "[1]"])
def test_a_text_that_is_no_plan_is_refused(text):
    with pytest.raises(MorphError, match=r"JSON text of a plan|schema"):
        MorphPlan.from_json(text)


def test_a_plan_for_another_structure_is_refused(specimen, images):
    plan = Widen("features.conv2", 80).plan(specimen, images)
    apply(plan, specimen)
    with pytest.raises(MorphError, match="plan was made for"):
        apply(plan, specimen)


def test_pruning_lowers_parameters_and_flops_and_says_by_how_much_the_output_moved(specimen, images):
    plan = Prune("features.conv2", 40).plan(specimen, images)
    assert not plan.exact
    report = apply(plan, specimen)
    assert sum(p.numel() for p in specimen.parameters()) == plan.parameters[1] < plan.parameters[0]
    assert plan.flops[1] < plan.flops[0]
    assert specimen.features.conv2.out_channels == 40
    assert plan.max_difference > 0.0
    assert verify(report, images) == pytest.approx(plan.max_difference, rel=1e-6)
    specimen.train()(images).sum().backward()


def test_pruning_says_by_how_much_the_loss_moved(specimen, images, state, same):
    labels = torch.tensor([0, 1, 2, 3])

    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch), labels)

    expected = loss(specimen.eval(), images).item()
    report = apply(Prune("features.conv2", 16).plan(specimen, images), specimen)
    before = state(specimen)
    old, new = loss_change(report, loss, images)
    assert same(state(specimen), before)
    assert old == pytest.approx(expected, rel=1e-6)
    assert new == pytest.approx(loss(specimen.eval(), images).item(), rel=1e-6)
    assert old != pytest.approx(new, rel=1e-3)
    report.release()
    with pytest.raises(MorphError, match="released or rolled back"):
        loss_change(report, loss, images)


def test_pruning_keeps_the_units_that_are_named(specimen, images):
    weights = specimen.features.conv2.weight.detach().clone()
    apply(Prune("features.conv2", (3, 7, 60)).plan(specimen, images), specimen)
    assert torch.equal(specimen.features.conv2.weight, weights[[3, 7, 60]])


def test_pruning_by_count_drops_the_units_without_weight(specimen, images):
    with torch.no_grad():
        for name in ("conv2", "norm2"):
            for tensor in getattr(specimen.features, name).parameters():
                tensor[[5, 9]] = 0.0
        specimen.features.conv3.weight[:, [5, 9]] = 0.0
    plan = Prune("features.conv2", 62).plan(specimen, images)
    assert {5, 9}.isdisjoint(plan.units)
    assert plan.max_difference <= 1e-12


def test_widening_then_pruning_the_copies_is_no_identity_and_is_reported(specimen, images):
    apply(Widen("features.conv2", 80).plan(specimen, images), specimen)
    plan = Prune("features.conv2", tuple(range(64))).plan(specimen, images)
    assert plan.max_difference > 1e-3


def test_the_size_of_an_attention_changes_by_whole_heads():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    model, x = nn.Sequential(nn.Linear(8, 32), layer, nn.Linear(32, 3)), torch.randn(4, 5, 8)
    optimizer, before = torch.optim.Adam(model.parameters()), model.eval()(x).detach()
    report = apply(Widen("0", 64).plan(model, x), model, optimizer)
    assert report.max_difference <= 1e-10
    attention = layer.self_attn
    assert (attention.embed_dim, attention.kdim, attention.num_heads, attention.head_dim) == (64, 64, 8, 8)
    assert torch.allclose(model(x), before, atol=1e-6)
    model.train()(x).square().mean().backward()
    optimizer.step()
    rollback(report)
    assert torch.equal(model.eval()(x), before)
    apply(Prune("0", 16).plan(model, x), model)
    assert (attention.embed_dim, attention.num_heads) == (16, 2)
    model(x).sum().backward()


def test_keys_of_a_size_of_their_own_keep_the_size_of_an_attention():
    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.keys, self.head = nn.Linear(8, 32), nn.Linear(8, 16), nn.Linear(32, 3)
            self.attention = nn.MultiheadAttention(32, 4, kdim=16, vdim=16, batch_first=True)

        def forward(self, x):
            keys = self.keys(x)
            return self.head(self.attention(self.stem(x), keys, keys, need_weights=False)[0])

    with pytest.raises(MorphError, match="embed_dim 32 of a MultiheadAttention.*by whole heads of 8"):
        Widen("stem", 64).plan(Cross(), torch.randn(4, 5, 8))
    model = Cross()
    apply(Widen("keys", 20).plan(model, torch.randn(4, 5, 8)), model)
    assert (model.attention.kdim, model.attention.vdim) == (20, 20)


def test_drawn_units_leave_the_output_and_learn_at_once_what_copies_cannot(specimen, images):
    torch.manual_seed(0)
    model = Stream(nn.BatchNorm2d(8))
    x, y = torch.randn(16, 3, 8, 8), torch.arange(16) % 3
    alike = {}
    for units in ("copies", "drawn"):
        grown = copy.deepcopy(model)
        optimizer = torch.optim.SGD(grown.parameters(), lr=0.05, momentum=0.9)
        nn.functional.cross_entropy(grown(x), y).backward()
        optimizer.step()
        before = copy.deepcopy(grown).eval()(x)
        plan = Widen("stem", 16, units=units).plan(grown, x)
        assert plan.max_difference <= 1e-10
        apply(MorphPlan.from_json(plan.to_json()), grown, optimizer)
        assert (grown.eval()(x) - before).abs().max() <= 1e-5
        momentum = optimizer.state[grown.stem.weight]["momentum_buffer"]
        assert bool(momentum[8:].any()) is (units == "copies"), "what is drawn has no past"
        old, new = grown.stem.weight[:8].flatten(1), grown.stem.weight[8:].flatten(1)
        alike[units] = nn.functional.cosine_similarity(old[:, None], new[None], dim=-1).amax(0).max().item()
    assert alike["copies"] == pytest.approx(1.0, abs=1e-5)
    assert alike["drawn"] < 0.9


def test_drawn_units_are_a_function_of_the_seed_and_other_kinds_are_refused(small):
    model = Stream(nn.BatchNorm2d(8))
    made = [copy.deepcopy(model) for _ in range(3)]
    for each, seed in zip(made, (1, 1, 2), strict=True):
        apply(Widen("stem", 16, units="drawn").plan(each, small, seed=seed), each)
    assert torch.equal(made[0].stem.weight, made[1].stem.weight)
    assert not torch.equal(made[0].stem.weight, made[2].stem.weight)
    assert torch.equal(made[0].stem.weight[:8], model.stem.weight)
    with pytest.raises(MorphError, match="copies or drawn"):
        Widen("stem", 16, units="noise").plan(model, small)
