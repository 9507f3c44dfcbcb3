"""Filling meta tensors: bit-equal to the source, in place, or refused by name with nothing changed."""

import copy
import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lab.base import MaterializeError, PlacementError
from lab.device import inventory, materialize, safe_to_device, tensor_bytes

PRETRAINED = ["roberta", "deberta", "gpt2"]


def tensors(model):
    return {item.name: item.tensor for item in inventory(model)}


def meta_names(model):
    return {name for name, tensor in tensors(model).items() if tensor.is_meta}


def same_bits(model, other):
    mine, others = tensors(model), tensors(other)
    return mine.keys() == others.keys() and all(
        torch.equal(mine[name], others[name]) and mine[name].dtype == others[name].dtype for name in mine
    )


def output(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids)[0]


class Zoo(nn.Module):
    """One of everything that can hold a tensor; random values, so that a twin differs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.encoder = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.BatchNorm1d(8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.recurrent = nn.LSTM(8, 8)
        self.token = nn.Parameter(torch.randn(1, 8))
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.register_buffer("kept", torch.randn(4))
        self.register_buffer("passing", torch.randn(4), persistent=False)
        self.scale = torch.randn(3)
        self.cache = {"mask": [torch.randn(2, 2)], "n": 3}
        self.part = self.kept[1:3]
        self.decoder = nn.Linear(8, 7, bias=False)
        self.decoder.weight = self.encoder[0].weight


def zoo_on_meta():
    with torch.device("meta"):
        return Zoo()


@pytest.mark.parametrize("name", PRETRAINED)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.integers(0, 60)))
def test_any_subset_on_meta_comes_back_bit_equal_to_a_clean_load(name, chosen, clean, hollowed):
    model, _, ids = clean[name]
    broken = hollowed(model, chosen)
    optimizer = torch.optim.AdamW(broken.parameters())
    held = {id(parameter) for parameter in broken.parameters()}
    on_meta = meta_names(broken)
    report = materialize(
        broken, "cpu", state=model.state_dict(), factory=lambda: type(model)(model.config), optimizer=optimizer
    )
    assert same_bits(broken, model)
    assert torch.equal(output(broken, ids), output(model, ids))
    assert {id(parameter) for parameter in broken.parameters()} == held
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == held
    assert {n for n, origin in report.origins.items() if origin != "kept"} == on_meta
    if name == "gpt2":
        assert broken.lm_head.weight is broken.transformer.wte.weight
        assert ("transformer.wte.weight", "lm_head.weight") in report.tied


@pytest.mark.parametrize("name", PRETRAINED)
def test_everything_on_meta_trains_like_a_clean_load_with_the_optimizer_built_before(name, clean, hollowed):
    model, _, ids = clean[name]
    broken = hollowed(model, range(200))
    assert len(meta_names(broken)) == len(tensors(broken)) > 20
    optimizer = torch.optim.SGD(broken.parameters(), lr=0.1)
    materialize(broken, "cpu", state=model.state_dict(), factory=lambda: type(model)(model.config))
    twin = copy.deepcopy(model)
    twin_optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for net, steps in ((broken.eval(), optimizer), (twin.eval(), twin_optimizer)):
        net(input_ids=ids)[0].square().mean().backward()
        steps.step()
    assert same_bits(broken, twin)
    assert not same_bits(broken, model)


@pytest.mark.parametrize("name", PRETRAINED)
def test_without_a_source_every_tensor_is_named_and_the_model_is_unchanged(name, clean, hollowed):
    model, _, _ = clean[name]
    broken = hollowed(model, range(0, 60, 3))
    before = {key: (id(tensor), tensor.is_meta) for key, tensor in tensors(broken).items()}
    with pytest.raises(MaterializeError, match="expected a source for the data of every meta tensor") as caught:
        materialize(broken, "cpu")
    for missing in meta_names(broken):
        assert missing in caught.value.got
    assert {key: (id(tensor), tensor.is_meta) for key, tensor in tensors(broken).items()} == before


def test_a_state_that_lacks_one_tensor_is_refused_with_its_name_and_fills_nothing(clean, hollowed):
    model, _, _ = clean["roberta"]
    broken = hollowed(model, range(2, 7))
    state = model.state_dict()
    del state["embeddings.word_embeddings.weight"]
    with pytest.raises(MaterializeError, match=r"got 1 meta tensors without one: embeddings\.word_embeddings\.weight."):
        materialize(broken, "cpu", state=state, factory=None)
    assert len(meta_names(broken)) == 5


def test_every_kind_of_holder_is_filled_from_state_and_twin():
    torch.manual_seed(0)
    real = Zoo()
    broken = zoo_on_meta()
    seen = {name: id(tensor) for name, tensor in tensors(broken).items()}
    report = materialize(broken, "cpu", state=real.state_dict(), factory=lambda: real)
    assert same_bits(broken, real)
    assert {name: id(tensor) for name, tensor in tensors(broken).items()} == seen
    assert set(report.names("factory")) == {"passing", "scale", "cache['mask'][0]"}
    assert set(report.names("state")) == set(real.state_dict()) | {"part"}
    assert broken.decoder.weight is broken.encoder[0].weight
    assert not broken.frozen.requires_grad
    assert broken.token.requires_grad
    assert "passing" not in broken.state_dict()
    assert isinstance(broken.token, nn.Parameter)
    x = torch.randn(5, 1, 8)
    assert torch.equal(broken.recurrent(x)[0], real.recurrent(x)[0])
    assert torch.equal(broken.attention(x, x, x)[0], real.attention(x, x, x)[0])


def test_a_view_of_a_buffer_on_meta_is_a_view_of_it_afterwards():
    broken = zoo_on_meta()
    materialize(broken, "cpu", factory=Zoo)
    broken.kept.fill_(7.0)
    assert broken.part.tolist() == [7.0, 7.0]


def test_an_expanded_tensor_stays_expanded():
    real, broken = nn.Module(), nn.Module()
    real.row = torch.arange(3.0).expand(4, 3)
    broken.row = torch.empty(3, device="meta").expand(4, 3)
    materialize(broken, "cpu", factory=lambda: real)
    assert torch.equal(broken.row, real.row)
    assert broken.row.stride() == (0, 1)


def test_an_expanded_tensor_with_different_rows_to_hold_is_refused():
    real, broken = nn.Module(), nn.Module()
    real.row = torch.arange(12.0).view(4, 3)
    broken.row = torch.empty(3, device="meta").expand(4, 3)
    with pytest.raises(MaterializeError, match="one value along the expanded dimension of row"):
        materialize(broken, "cpu", factory=lambda: real)
    assert broken.row.is_meta


def test_tensors_with_data_are_never_touched_whatever_state_and_twin_say():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, device="meta"))
    before = copy.deepcopy(model[0])
    versions = [parameter._version for parameter in model[0].parameters()]
    pointers = [parameter.data_ptr() for parameter in model[0].parameters()]
    twin = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    report = materialize(model, "cpu", state={"0.weight": torch.ones(3, 3)}, factory=lambda: twin)
    assert torch.equal(model[0].weight, before.weight)
    assert torch.equal(model[0].bias, before.bias)
    assert [parameter._version for parameter in model[0].parameters()] == versions
    assert [parameter.data_ptr() for parameter in model[0].parameters()] == pointers
    assert report.origins == {"0.weight": "kept", "0.bias": "kept", "1.weight": "factory", "1.bias": "factory"}


def test_a_twin_is_built_only_if_the_caller_gave_a_factory_and_only_if_it_is_needed():
    calls = []

    def factory():
        calls.append(1)
        return nn.Linear(2, 2)

    materialize(nn.Linear(2, 2), "cpu", factory=factory)
    materialize(nn.Linear(2, 2, device="meta"), "cpu", state=nn.Linear(2, 2).state_dict(), factory=factory)
    assert calls == []
    with pytest.raises(MaterializeError, match=r"weight, bias. Give their values in state, or a factory"):
        materialize(nn.Linear(2, 2, device="meta"), "cpu")
    materialize(nn.Linear(2, 2, device="meta"), "cpu", factory=factory)
    assert calls == [1]


def test_the_state_is_copied_so_that_training_does_not_change_it():
    state = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
    model = nn.Linear(2, 2, device="meta")
    materialize(model, "cpu", state=state)
    with torch.no_grad():
        model.weight.zero_()
    assert state["weight"].sum() == 4
    assert not hasattr(state, "_metadata")


def test_the_models_dtype_is_kept():
    model = nn.Linear(2, 2, device="meta", dtype=torch.float64)
    materialize(model, "cpu", state=nn.Linear(2, 2).to(torch.bfloat16).state_dict())
    assert model.weight.dtype == torch.float64


def test_a_tied_tensor_is_found_under_any_of_its_names():
    model = zoo_on_meta()
    state = Zoo().state_dict()
    values = state.pop("encoder.0.weight")
    materialize(model, "cpu", state=state, factory=Zoo)
    assert torch.equal(model.encoder[0].weight, values)


def test_two_values_for_one_tied_tensor_are_refused():
    state = Zoo().state_dict()
    state["decoder.weight"] = state["decoder.weight"] + 1
    with pytest.raises(MaterializeError, match=r"one value for the tied encoder\.0\.weight = decoder\.weight"):
        materialize(zoo_on_meta(), "cpu", state=state, factory=Zoo)


def test_weak_references_attributes_and_hooks_hold():
    model = nn.Linear(2, 2, device="meta")
    calls = []
    model.weight.tag = "mine"
    reference = weakref.ref(model.weight)
    handle = model.weight.register_hook(lambda grad: calls.append("gradient"))
    model.weight.register_post_accumulate_grad_hook(lambda parameter: calls.append("accumulated"))
    materialize(model, "cpu", factory=lambda: nn.Linear(2, 2))
    assert reference() is model.weight
    assert model.weight.tag == "mine"
    model(torch.ones(1, 2)).sum().backward()
    assert calls == ["gradient", "accumulated"]
    handle.remove()
    model(torch.ones(1, 2)).sum().backward()
    assert calls == ["gradient", "accumulated", "accumulated"]


def test_optimizer_state_of_steps_on_meta_is_dropped_and_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = optimizer.state[model[0].weight]["exp_avg"]
    report = materialize(
        model, "cpu", factory=lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), optimizer=optimizer
    )
    assert report.dropped_state == ("1.weight", "1.bias")
    assert optimizer.state[model[0].weight]["exp_avg"] is kept
    assert model[1].weight.grad is None
    assert model[0].weight.grad is not None
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_an_optimizer_with_meta_tensors_of_another_model_is_refused():
    optimizer = torch.optim.SGD(nn.Linear(3, 2, device="meta").parameters(), lr=0.1)
    with pytest.raises(
        MaterializeError, match=r"2 meta parameters that the model does not have \(shapes \(2, 3\), \(2,\)"
    ):
        materialize(nn.Linear(3, 2, device="meta"), "cpu", factory=lambda: nn.Linear(3, 2), optimizer=optimizer)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.ones(3, 3), r"\(3, 3\) torch.float32 on cpu from state"),
        (torch.ones(2, 2, dtype=torch.int64), r"\(2, 2\) torch.int64 on cpu from state"),
        (torch.ones(2, 2, device="meta"), r"\(2, 2\) torch.float32 on meta from state"),
    ],
)
def test_a_source_of_another_shape_or_kind_or_without_data_is_refused(value, got):
    model = nn.Linear(2, 2, device="meta")
    with pytest.raises(MaterializeError, match=f"for weight, got {got}"):
        materialize(model, "cpu", state={"bias": torch.ones(2), "weight": value})
    assert meta_names(model) == {"weight", "bias"}


def test_a_factory_that_gives_the_model_itself_or_another_model_or_meta_is_refused():
    model = nn.Linear(2, 2, device="meta")
    with pytest.raises(MaterializeError, match="got the model itself"):
        materialize(model, "cpu", factory=lambda: model)
    with pytest.raises(MaterializeError, match="without one: weight, bias. .* or another factory"):
        materialize(model, "cpu", factory=lambda: nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(MaterializeError, match="on meta from factory"):
        materialize(model, "cpu", factory=lambda: nn.Linear(2, 2, device="meta"))


def test_keys_of_another_prefix_are_shown():
    state = {f"module.{name}": value for name, value in nn.Linear(2, 2).state_dict().items()}
    with pytest.raises(MaterializeError, match=r"the 2 keys of state are others, the first is 'module\.weight'"):
        materialize(nn.Linear(2, 2, device="meta"), "cpu", state=state)


def test_a_model_that_is_offloaded_on_purpose_is_refused_by_its_hooks():
    class AlignDevicesHook(SimpleNamespace):
        pass

    model = nn.Sequential(nn.Linear(2, 2, device="meta"))
    model[0]._hf_hook = SimpleNamespace(hooks=[AlignDevicesHook(offload=True)])
    with pytest.raises(MaterializeError, match="offloaded on purpose .*AlignDevicesHook on 0"):
        materialize(model, "cpu", factory=lambda: nn.Sequential(nn.Linear(2, 2)))
    spread = nn.Linear(2, 2)
    spread.hf_device_map = {"a": 0, "b": "disk"}
    with pytest.raises(MaterializeError, match="hf_device_map over 0, disk"):
        materialize(spread, "cpu")
    whole = nn.Linear(2, 2)
    whole.hf_device_map = {"": "cpu"}
    assert set(materialize(whole, "cpu").origins.values()) == {"kept"}


def test_lazy_tensors_on_meta_are_refused_and_real_ones_are_left():
    with pytest.raises(MaterializeError, match="2 that are lazy or sparse: weight, bias"):
        materialize(nn.LazyLinear(2, device="meta"), "cpu")
    assert materialize(nn.LazyLinear(2), "cpu").names("kept") == ("weight", "bias")


def test_an_absent_device_is_refused_before_anything():
    model = nn.Linear(2, 2, device="meta")
    with pytest.raises(PlacementError, match="a device that holds data"):
        materialize(model, "meta", factory=lambda: nn.Linear(2, 2))


def test_a_meta_device_context_around_the_call_changes_nothing():
    model = nn.Linear(2, 2, device="meta")
    twin = nn.Linear(2, 2)
    with torch.device("meta"):
        materialize(model, "cpu", factory=lambda: twin)
    assert torch.equal(model.weight, twin.weight)


def test_safe_to_device_gives_the_model_itself():
    model = nn.Linear(2, 2, device="meta")
    assert safe_to_device(model, "cpu", factory=lambda: nn.Linear(2, 2)) is model
    assert tensor_bytes(model) == 24


def test_the_report_prints_and_gives_its_data():
    model = zoo_on_meta()
    report = materialize(model, "cpu", factory=Zoo)
    assert "tied: encoder.0.weight = decoder.weight" in str(report)
    assert report.to_dict()["origins"]["cache['mask'][0]"] == "factory"
    assert "<table>" in report._repr_html_()


@pytest.mark.gpu
@pytest.mark.parametrize("name", PRETRAINED)
def test_on_cuda_half_on_meta_half_on_the_cpu_equals_a_clean_load(name, clean, hollowed):
    model, _, ids = clean[name]
    broken = hollowed(model, range(0, 60, 2))
    optimizer = torch.optim.AdamW(broken.parameters())
    report = materialize(
        broken, "cuda", state=model.state_dict(), factory=lambda: type(model)(model.config), optimizer=optimizer
    )
    assert {tensor.device.type for tensor in tensors(broken).values()} == {"cuda"}
    assert all(torch.equal(value.cpu(), tensors(model)[key]) for key, value in tensors(broken).items())
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in broken.parameters()}
    assert len(report.moved) > 5
    assert torch.isfinite(output(broken, ids.cuda())).all()
