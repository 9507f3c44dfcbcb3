"""Operators: where they act, what they make of a network, why they refuse."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from lab.agent import (
    KINDS,
    LAYER_SCORES,
    UNIT_SCORES,
    ActionContext,
    AdaptiveOperator,
    AttentionOperator,
    BranchOperator,
    CompoundOperator,
    ExpandWithMI,
    HybridOperator,
    InformationBottleneck,
    LayerTypeSelector,
    MutateDiscrete,
    PruneByEntropy,
    ResidualOperator,
    gate_gradient,
    measure,
    read_batch,
)
from lab.base import ConfigError, DataError, MorphError
from lab.morph import apply
from lab.state import structure_digest, weight_digest

OPERATORS = (
    PruneByEntropy(),
    ExpandWithMI(),
    MutateDiscrete(),
    BranchOperator(),
    AttentionOperator(),
    HybridOperator(),
    ResidualOperator(),
    CompoundOperator(operators=(ExpandWithMI(), ResidualOperator())),
    AdaptiveOperator(base=ExpandWithMI(), progress=0.5),
)


@pytest.fixture
def context(make_network, data):
    """A fresh network, measured."""
    return context_of(make_network(), data)


def context_of(model, data, **more):
    images, labels = (torch.cat(parts) for parts in zip(*data[0], strict=True))
    batch = read_batch((images[:128], labels[:128]), model, torch.device("cpu"))
    measures = measure(model, batch, InformationBottleneck())
    return ActionContext(model=model, example=images[:4], measures=measures, **more)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_an_operator_really_changes_the_network_and_carries_the_optimizer(operator, context):
    model = context.model
    optimizer = torch.optim.Adam(model.parameters())
    before = structure_digest(model), weight_digest(model)
    assert operator.refusal(context) == ""
    assert (structure_digest(model), weight_digest(model)) == before, "asking changed the network"
    reports = operator.apply(context, optimizer)
    assert all(report.applied for report in reports)
    assert structure_digest(model) != before[0]
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_an_operator_that_can_do_nothing_says_so_and_touches_nothing(operator, context):
    refused = replace(context, budget=lambda plan: "too dear")
    before = structure_digest(context.model), weight_digest(context.model)
    assert "too dear" in operator.refusal(refused)
    with pytest.raises(MorphError, match="too dear"):
        operator.apply(refused)
    assert (structure_digest(context.model), weight_digest(context.model)) == before


def test_pruning_takes_the_units_that_score_least(context):
    for units in UNIT_SCORES:
        operator = PruneByEntropy(ratio=0.5, least=1, score="width", units=units)
        (report,) = operator.apply(replace(context, model=copy.deepcopy(context.model)))
        layer = report.plan.arguments["layer"]
        kept = report.plan.arguments["keep"]
        measured = context.measures.layers[layer]
        assert len(kept) == measured.width - round(measured.width * 0.5)
        if units != "random":
            worth = UNIT_SCORES[units](measured, None)
            dropped = sorted(set(range(measured.width)) - set(kept))
            assert worth[kept].min() >= worth[dropped].max()


def test_a_layer_keeps_its_least_units(context):
    widths = {name: layer.width for name, layer in context.measures.layers.items()}
    operator = PruneByEntropy(least=max(widths.values()))
    assert operator.refusal(context) == "no layer to act on"


@pytest.mark.parametrize("score", list(LAYER_SCORES))
def test_expansion_begins_with_the_layer_of_the_largest_score(score, context):
    if score == "random":
        chosen = {next(iter(ExpandWithMI(score=score).candidates(replace(context, seed=s)))).layer for s in range(20)}
        assert len(chosen) > 1
        return
    first = next(iter(ExpandWithMI(score=score).candidates(context)))
    value = LAYER_SCORES[score]
    best = max(value(layer, None) for layer in list(context.measures.layers.values())[:-1])
    assert value(context.measures.layers[first.layer], None) == best


def test_a_barred_place_is_passed_over(context):
    first = ExpandWithMI().plan(context)
    excluded = replace(context, excluded=frozenset({f"widen {first.arguments['layer']}"}))
    assert ExpandWithMI().plan(excluded).arguments["layer"] != first.arguments["layer"]


def test_one_change_does_not_multiply_the_cost(context):
    first = next(iter(AttentionOperator(score="narrow").candidates(context))).after
    assert first == "features.conv1"
    dear = AttentionOperator(score="narrow").plan(replace(context, max_growth=1e9))
    assert dear.arguments["after"] == first
    factor = dear.flops[1] / dear.flops[0]
    assert factor > 4.0
    assert AttentionOperator(score="narrow").plan(context).arguments["after"] != first
    with pytest.raises(MorphError, match="times the cost at once, over the limit of 1.0001"):
        AttentionOperator(score="narrow").plan(replace(context, max_growth=1.0001))


def test_discrete_mutations_take_every_kind_and_keep_the_sizes(make_network, data):
    kinds = set()
    context = context_of(make_network(), data)
    for seed in range(12):
        model = copy.deepcopy(context.model)
        (report,) = MutateDiscrete().apply(replace(context, model=model, seed=seed))
        kinds.add(report.plan.op)
        assert model(context.example).shape == (4, 4)
    assert kinds == {"set_kernel", "set_dilation", "set_groups"}
    attention = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(2), Attending(8), nn.Flatten(), nn.LazyLinear(4))
    attention(context.example)
    found = [type(m).__name__ for m in MutateDiscrete().candidates(context_of(attention, data))]
    assert "SetHeads" in found


class Attending(nn.Module):
    """Attention over pixels, maps (B, C, P)."""

    def __init__(self, channels):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)

    def forward(self, x_BCP):
        tokens = x_BCP.transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


@pytest.mark.parametrize("kind", ["branch", "attention", "residual"])
def test_the_gate_gradient_is_the_slope_of_the_loss_in_the_gate(kind, make_network, data):
    model = make_network().double()
    batches = [(images.double(), labels) for images, labels in data[0]]
    context = context_of(model, (batches, None))
    morph = KINDS[kind]("features.conv2")
    found = gate_gradient(context, morph)
    changed = copy.deepcopy(model)
    apply(morph.plan(changed, context.example), changed)
    added = {name for name, _ in changed.named_parameters()}
    (gate,) = [
        name for name in added if not name.endswith("bias") and not bool(dict(changed.named_parameters())[name].any())
    ]
    parameter, batch = dict(changed.named_parameters())[gate], context.measures.batch
    changed.eval()

    def loss(step, unit):
        with torch.no_grad():
            parameter.zero_()
            parameter[unit] = step
            return float(batch.losses(changed)[0].mean())

    slopes = [(loss(1e-5, unit) - loss(-1e-5, unit)) / 2e-5 for unit in range(len(parameter))]
    assert found == pytest.approx(sum(slope**2 for slope in slopes), rel=1e-4)


def test_the_selector_puts_the_steepest_gate_first_and_the_hybrid_takes_two(context):
    ranked = LayerTypeSelector().rank(context, "features.conv2")
    assert list(ranked.values()) == sorted(ranked.values(), reverse=True)
    assert set(ranked) == {"branch", "attention", "residual"}
    operator = HybridOperator(score="width")
    together = next(iter(operator.candidates(context)))
    layer = together.parts[0].arguments()
    best = list(LayerTypeSelector().rank(context, next(iter(layer.values()))))[:2]
    assert [KINDS[kind](next(iter(layer.values()))) for kind in best] == list(together.parts)
    assert "attention" not in LayerTypeSelector().rank(context, "classifier.0")
    assert "attention" not in LayerTypeSelector().possible(context, "classifier.0")


def test_nothing_is_added_inside_an_addition_or_behind_the_logits(context):
    BranchOperator(score="width").apply(context)
    images = context.example
    batch = context.measures.batch
    again = ActionContext(
        model=context.model,
        example=images,
        measures=measure(context.model, batch, InformationBottleneck()),
    )
    places = [morph.at for morph in BranchOperator().candidates(again)]
    assert places
    assert not any("body" in place or "branch" in place for place in places)
    assert "classifier.2" not in places


def test_a_compound_applies_what_is_possible_and_names_what_is_not(context):
    impossible = PruneByEntropy(least=10_000)
    reports = CompoundOperator(operators=(impossible, ExpandWithMI())).apply(context)
    assert [report.plan.op for report in reports] == ["widen"]
    with pytest.raises(MorphError, match="prune: no layer to act on"):
        CompoundOperator(operators=(impossible,)).apply(context)


def test_a_compound_that_breaks_leaves_the_network_as_it_was(context):
    class Broken(ExpandWithMI):
        def apply(self, context, optimizer=None):
            raise ZeroDivisionError

    before = structure_digest(context.model), weight_digest(context.model)
    with pytest.raises(ZeroDivisionError):
        CompoundOperator(operators=(ExpandWithMI(), Broken())).apply(context)
    assert (structure_digest(context.model), weight_digest(context.model)) == before


@pytest.mark.parametrize("schedule", ["linear", "exponential", "cosine"])
def test_the_strength_is_a_function_of_progress_and_does_not_wear_off(schedule):
    operator = AdaptiveOperator(base=ExpandWithMI(), schedule=schedule)
    for _ in range(10):
        operator = operator.at(0.5)
    assert operator.strength == AdaptiveOperator(base=ExpandWithMI(), schedule=schedule, progress=0.5).strength
    assert operator.at(0.0).strength == pytest.approx(1.0)
    assert operator.at(1.0).strength == pytest.approx(0.1)


def test_a_weaker_expansion_adds_less(context):
    strong, weak = (
        next(iter(AdaptiveOperator(base=ExpandWithMI(), progress=p).candidates(context))) for p in (0.0, 1.0)
    )
    assert strong.layer == weak.layer
    assert strong.width > weak.width


def test_measuring_changes_nothing_and_sees_what_is_there(make_network, data):
    model = make_network()
    model(torch.randn(8, 3, 16, 16)).sum().backward()
    before = weight_digest(model), [p.grad.clone() for p in model.parameters()], torch.get_rng_state()
    context = context_of(model, data)
    assert weight_digest(model) == before[0]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before[1], strict=True))
    assert torch.equal(torch.get_rng_state(), before[2])
    assert list(context.measures.layers) == [
        "features.conv1",
        "features.conv2",
        "features.conv3",
        "classifier.0",
        "classifier.2",
    ]
    # The first-order worth of a logit: mean of |logit * dCE/dlogit|.
    logits_BK = context.measures.batch.logits(model.eval()).detach().double()
    labels_B = context.measures.batch.labels_B
    slope_BK = logits_BK.softmax(-1) - nn.functional.one_hot(labels_B, 4)
    expected_K = (logits_BK * slope_BK).abs().mean(0)
    assert torch.allclose(context.measures.layers["classifier.2"].taylor_C, expected_K, atol=1e-5)


def test_bad_settings_and_too_few_samples_are_refused(make_network, data):
    with pytest.raises(ConfigError, match="score to be one of"):
        ExpandWithMI(score="magic")
    with pytest.raises(ConfigError, match="ratio"):
        PruneByEntropy(ratio=0.0)
    with pytest.raises(ConfigError, match="kinds to be one of"):
        LayerTypeSelector(kinds=("magic",))
    model = make_network()
    batch = read_batch((torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.long)), model, torch.device("cpu"))
    with pytest.raises(DataError, match="at least 8 samples"):
        measure(model, batch, InformationBottleneck())


class Tokens(nn.Module):
    """A small transformer: images as tokens of 32 numbers, one layer of attention, a hidden layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(48, 32)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), 3, enable_nested_tensor=False
        )
        self.hidden = nn.Linear(32, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x_BCHW):
        tokens_BTD = x_BCHW.flatten(1).unflatten(1, (-1, 48))
        # A number in the forward keeps the width of the tokens.
        return self.out(torch.relu(self.hidden(self.encoder(self.embed(tokens_BTD)).mean(1).view(-1, 32))))


def test_one_refused_place_does_not_hide_the_others(data, monkeypatch):
    """Widths that an attention keeps stand first; what can be widened comes after eight tries at them."""
    torch.manual_seed(0)
    context = context_of(Tokens(), data)
    last = ["embed", *(f"encoder.layers.{number}.linear2" for number in range(3))]
    order = [*last, "hidden"]
    monkeypatch.setattr("lab.agent.operators.ranked", lambda context, score: order)
    operator = ExpandWithMI()
    assert operator.refusal(context) == ""
    assert operator.plan(context).arguments["layer"] == "hidden"
    monkeypatch.setattr("lab.agent.operators.ranked", lambda context, score: last)
    reason = operator.refusal(context)
    assert "widen embed: " in reason
    assert "coupled to the embed_dim 32 of a MultiheadAttention" in reason
    assert "was expecting" not in reason
