import copy

import pytest
import torch
from torch import nn

from lab.base import ConfigError, DataError
from lab.device import measure_leak, measure_memory
from lab.doctor import explain_backward
from lab.mahia import (
    ExpertRouter,
    HybridEfficientModel,
    PrecisionManager,
    backward_by_loss,
    collect_routing,
    weighted_sum,
)

B, L, C, V = 8, 6, 5, 30
SMALL = {"embed_dim": 8, "tab_hidden_dim": 8, "fused_dim": 8, "memory_size": 5, "max_layers": 3}


def build(output_dim=2, **changes):
    torch.manual_seed(0)
    return HybridEfficientModel(V, L, C, output_dim, **(SMALL | changes))


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids = torch.randint(1, V, (B, L))
    ids[0, 3:] = 0
    return ids, torch.randn(B, C)


HEADS = {"kind": 3, "amount": 1}


def losses_of(model, features):
    outputs = model.decode(features)
    kinds = torch.arange(len(features)) % 3
    return [nn.functional.cross_entropy(outputs["kind"], kinds), outputs["amount"].square().mean()]


def test_one_output_is_a_tensor_and_several_come_by_name(batch):
    assert build(2)(*batch).shape == (B, 2)
    assert {name: y.shape for name, y in build(HEADS)(*batch).items()} == {"kind": (B, 3), "amount": (B, 1)}


def test_padding_counts_for_nothing(batch):
    ids, tab = batch
    model = build().eval()
    before = model(ids, tab)
    with torch.no_grad():
        model.embedding.weight[0] = 7 * torch.randn(8)
    assert torch.allclose(model(ids, tab), before, atol=1e-6)
    ids[1] = 0  # a text without a token
    assert bool(torch.isfinite(model(ids, tab)).all())


def test_text_and_columns_both_count(batch):
    ids, tab = batch
    model = build().eval()
    y = model(ids, tab)
    assert not torch.allclose(model(ids.flip(1), tab), y)
    assert not torch.allclose(model(ids, tab + 1), y)


def test_every_parameter_that_ran_gets_a_gradient(batch):
    model = build(HEADS)
    weighted_sum(losses_of(model, model.encode(*batch))).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None and not n.startswith("fabric.blocks")]
    assert missing == []


def test_one_backward_gives_the_gradients_of_two_and_of_a_walk_by_loss(batch):
    model = build(HEADS).double()
    ids, tab = batch[0], batch[1].double()
    ways = []
    for way in ("sum", "each", "by loss"):
        twin = copy.deepcopy(model)
        if way == "sum":
            weighted_sum(losses_of(twin, twin.encode(ids, tab))).backward()
        elif way == "each":
            losses_of(copied_state(twin, model), twin.encode(ids, tab))[0].backward()
            losses_of(copied_state(twin, model), twin.encode(ids, tab))[1].backward()
        else:
            backward_by_loss(twin.encode(ids, tab), lambda features, twin=twin: losses_of(twin, features))
        ways.append([torch.zeros(()) if p.grad is None else p.grad for p in twin.parameters()])
    for other in ways[1:]:
        assert all((a - b).abs().max() <= 1e-9 for a, b in zip(ways[0], other, strict=True))


def copied_state(twin, model):
    """`twin` with the buffers of `model`, so that a second forward reads what the first one did."""
    with torch.no_grad():
        for mine, theirs in zip(twin.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
    return twin


def test_100_steps_under_anomaly_detection_train_both_losses(batch):
    model = build(HEADS, use_moe=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = []
    with pytest.warns(UserWarning, match="Anomaly Detection"):
        detection = torch.autograd.detect_anomaly()
    with detection:
        for _ in range(100):
            optimizer.zero_grad()
            losses = losses_of(model, model.encode(*batch))
            weighted_sum(losses).backward()
            optimizer.step()
            seen.append([float(loss.detach()) for loss in losses])
    assert all(last < 0.5 * first for first, last in zip(seen[0], seen[-1], strict=True))


def test_the_doctor_finds_nothing_in_three_steps(batch):
    model = build(HEADS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def steps():
        for _ in range(3):
            optimizer.zero_grad()
            weighted_sum(losses_of(model, model.encode(*batch))).backward()
            optimizer.step()

    assert explain_backward(steps, model=model).ok


def test_live_memory_does_not_grow(batch):
    model = build(HEADS)

    def step():
        weighted_sum(losses_of(model, model.encode(*batch))).backward()
        model.zero_grad()

    assert measure_leak(step, calls=6).slope == 0


def test_eval_writes_nothing_and_a_state_dict_goes_on_alike(batch):
    model, other = build(), build()
    model(*batch)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(*batch), other(*batch))
    before = [buffer.clone() for buffer in model.buffers()]
    model.eval()
    model(*batch)
    assert all(torch.equal(one, two) for one, two in zip(before, model.buffers(), strict=True))


def test_encoding_once_peaks_below_0_65_of_a_retained_forward_for_each_loss():
    torch.manual_seed(0)
    ids, tab = torch.randint(1, V, (64, L)), torch.randn(64, C)
    model = build(HEADS, embed_dim=32, tab_hidden_dim=32, fused_dim=64)
    twin = copy.deepcopy(model)

    def once():
        weighted_sum(losses_of(model, model.encode(ids, tab))).backward()

    def retained():
        losses = []
        for number in range(2):
            losses.append(losses_of(copied_state(twin, twin_start), twin.encode(ids, tab))[number])
            losses[-1].backward(retain_graph=True)

    twin_start, peaks = copy.deepcopy(model), []
    for way, net in ((once, model), (retained, twin)):
        with measure_memory(roots=(net, twin_start, ids, tab), blame=False) as report:
            way()
        peaks.append(report.allocated_peak)
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.allclose(one.grad, two.grad, atol=1e-6)
    assert peaks[0] <= 0.65 * peaks[1]


def test_the_feed_forward_part_is_a_router_two_layers_or_what_is_given(batch):
    assert isinstance(build(num_experts=3, k=1).feed_forward, ExpertRouter)
    plain = build(use_moe=False)
    assert not any(isinstance(module, ExpertRouter) for module in plain.modules())
    own = nn.Linear(8, 8)
    assert build(feed_forward=own).feed_forward is own
    model = build()
    with collect_routing(model) as routing:
        model(*batch)
    assert routing["feed_forward"][0].load_E.shape == (4,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, t: (i.index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(30)), t), "30 at row 2, column 1"),
        (lambda i, t: (i - 1, t), "text ids from 0 to 29, got -1 at row"),
        (lambda i, t: (torch.cat((i, i), 1), t), r"L <= 6, got shape \(8, 12\)"),
        (lambda i, t: (i.float(), t), "text ids of type int64 or int32, got torch.float32"),
        (lambda i, t: (i, t[:, :4]), r"columns of shape \(B, 5\), got shape \(8, 4\)"),
        (lambda i, t: (i[:0], t[:0]), r"text ids with at least one item, got shape \(0, 6\)"),
        (lambda i, t: (i[:3], t), "as many texts as rows of columns, got 3 and 8"),
    ],
)
def test_bad_input_is_named_before_the_kernel_names_it(batch, change, message):
    with pytest.raises(DataError, match=message):
        build()(*change(*batch))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dim": {}}, "at least one output, found none"),
        ({"output_dim": {"a.b": 1}}, "name that can name a module, got 'a.b'"),
        ({"output_dim": {"keys": 1}}, "got 'keys'"),
        ({"output_dim": 0}, "output_dim of output >= 1, got output_dim of output = 0"),
        ({"embed_dim": 6}, "multiple of 4 heads, got dim = 6"),
        ({"num_experts": 2, "k": 3}, "k >= 1 and <= 2, got k = 3"),
        ({"max_layers": 0}, "num_layers >= 1, got num_layers = 0"),
    ],
)
def test_settings_outside_their_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_it_trains_in_fewer_bits(batch):
    model, found = build(HEADS), []
    for precision in ("float32", "bf16"):
        twin = copy.deepcopy(model)
        with PrecisionManager(precision).autocast():
            loss = weighted_sum(losses_of(twin, twin.encode(*batch)))
        loss.backward()
        found.append(float(loss.detach()))
        assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
        assert all(bool(torch.isfinite(p.grad).all()) for p in twin.parameters() if p.grad is not None)
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(batch):
    model = build(HEADS).eval()
    expected = model(*batch)
    got = model.cuda()(*(part.cuda() for part in batch))
    assert all(torch.allclose(got[name].cpu(), expected[name], atol=1e-4) for name in HEADS)
