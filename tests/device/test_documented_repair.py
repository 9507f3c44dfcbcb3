"""The repair of the meta-tensor document, tried honestly: each of its flaws is shown, and ours beside it.

The document checks every parameter for meta; if it finds one it empties the whole model on the device and lets each
module run its `reset_parameters`. Its prevention is three keyword arguments at loading. Uninitialised memory is NaN
or the largest integer in these tests.
"""

import copy

import pytest
import torch
from torch import nn

from lab.base import MaterializeError
from lab.device import inventory, materialize, safe_to_device

KEYWORDS = {"low_cpu_mem_usage": False, "device_map": None, "torch_dtype": None}


def documented(model, device):
    """The document's `safe_to_device`."""
    if any(parameter.device.type == "meta" for parameter in model.parameters()):
        model = model.to_empty(device=device)

        def init_weights(module):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

        model.apply(init_weights)
    else:
        model = model.to(device)
    return model


def has_nan(model):
    floats = [item.tensor for item in inventory(model) if item.tensor.is_floating_point()]
    return any(not torch.isfinite(tensor).all() for tensor in floats if not tensor.is_meta)


class Classifier(nn.Module):
    """A head that is made in Python before an encoder that a loader left on meta."""

    def __init__(self, device="meta"):
        super().__init__()
        self.classifier = nn.Linear(8, 2)
        self.encoder = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8, device=device))


def test_1_it_throws_away_trained_weights_that_have_data():
    model = Classifier()
    trained = copy.deepcopy(model.classifier.state_dict())
    ours = copy.deepcopy(model)
    documented(model, "cpu")
    assert not torch.equal(model.classifier.weight, trained["weight"])
    materialize(ours, "cpu", factory=lambda: Classifier("cpu"))
    assert torch.equal(ours.classifier.weight, trained["weight"])
    assert torch.equal(ours.classifier.bias, trained["bias"])


def test_2_one_meta_tensor_anywhere_wipes_every_pretrained_weight(clean, hollowed):
    model, _, _ = clean["roberta"]
    names = [name for name, _ in model.named_parameters()]
    buffers = len(list(model.buffers()))
    broken = hollowed(model, [buffers + names.index("pooler.dense.bias")])
    assert [name for name, parameter in broken.named_parameters() if parameter.is_meta] == ["pooler.dense.bias"]
    ours = copy.deepcopy(broken)
    documented(broken, "cpu")
    pretrained_ones = [name for name, value in model.named_parameters() if value.std() > 0]
    kept = [name for name in pretrained_ones if torch.equal(broken.get_parameter(name), model.get_parameter(name))]
    assert len(pretrained_ones) > 10
    assert kept == []
    materialize(ours, "cpu", state=model.state_dict())
    assert all(torch.equal(ours.get_parameter(name), model.get_parameter(name)) for name in names)


def test_3_it_unties_tied_weights():
    def tied(device):
        model = nn.Sequential(nn.Embedding(5, 4, device=device), nn.Linear(4, 5, bias=False, device=device))
        model[1].weight = model[0].weight
        return model

    broken, ours = tied("meta"), tied("meta")
    documented(broken, "cpu")
    assert broken[0].weight is not broken[1].weight
    assert not torch.equal(broken[0].weight, broken[1].weight)
    materialize(ours, "cpu", factory=lambda: tied("cpu"))
    assert ours[0].weight is ours[1].weight


def test_4_buffers_that_are_not_in_the_state_become_garbage(clean, hollowed):
    model, _, ids = clean["roberta"]
    broken = hollowed(model, range(200))
    ours = copy.deepcopy(broken)
    documented(broken, "cpu")
    assert not torch.equal(broken.embeddings.position_ids, model.embeddings.position_ids)
    with pytest.raises(IndexError):
        broken.eval()(input_ids=ids)
    materialize(ours, "cpu", state=model.state_dict(), factory=lambda: type(model)(model.config))
    assert torch.equal(ours.embeddings.position_ids, model.embeddings.position_ids)
    assert torch.equal(ours(input_ids=ids)[0], model(input_ids=ids)[0])


def test_4_a_floating_buffer_becomes_garbage_without_an_error():
    class Rotary(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.register_buffer("inv_freq", 10000.0 ** -torch.linspace(0, 1, 4), persistent=False)

        def forward(self, x):
            return self.linear(x) * self.inv_freq

    with torch.device("meta"):
        broken, ours = Rotary(), Rotary()
    documented(broken, "cpu")
    assert not torch.isfinite(broken(torch.ones(1, 4))).all()
    materialize(ours, "cpu", factory=Rotary)
    assert torch.isfinite(ours(torch.ones(1, 4))).all()


def test_5_a_meta_buffer_is_not_seen_and_the_move_still_crashes():
    def broken():
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False, device="meta"))

    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        documented(broken(), "cpu")
    model = broken()
    materialize(model, "cpu", factory=lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)))
    assert model[1].running_var.tolist() == [1.0] * 4


def test_6_reset_parameters_draws_from_other_distributions_than_the_model(clean, hollowed):
    model, _, _ = clean["roberta"]
    broken = hollowed(model, range(200))
    ours = copy.deepcopy(broken)
    documented(broken, "cpu")
    assert broken.embeddings.position_embeddings.weight.std() > 0.5
    assert broken.encoder.layer[0].output.dense.weight.std() > 0.08
    materialize(ours, "cpu", factory=lambda: type(model)(model.config))
    assert ours.embeddings.position_embeddings.weight.std() < 0.03
    assert ours.encoder.layer[0].output.dense.weight.std() < 0.03


class Conv1D(nn.Module):
    """A layer in the manner of GPT-2: parameters, and no `reset_parameters`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))


class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.linear = nn.Linear(4, 4)


@pytest.mark.parametrize("build", [lambda: nn.MultiheadAttention(4, 2), Conv1D, Token])
def test_7_modules_without_a_public_reset_stay_uninitialised(build):
    with torch.device("meta"):
        broken, ours = build(), build()
    documented(broken, "cpu")
    assert has_nan(broken)
    materialize(ours, "cpu", factory=build)
    assert not has_nan(ours)


def test_7_all_of_gpt2s_own_layers_stay_uninitialised(clean, hollowed):
    model, _, ids = clean["gpt2"]
    broken = hollowed(model, range(200))
    ours = copy.deepcopy(broken)
    documented(broken, "cpu")
    assert torch.isnan(broken.transformer.h[0].attn.c_attn.weight).all()
    materialize(ours, "cpu", state=model.state_dict())
    assert torch.equal(ours(input_ids=ids)[0], model(input_ids=ids)[0])


def test_8_plain_tensor_attributes_stay_on_meta():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.scale = torch.full((2,), 3.0)

    with torch.device("meta"):
        broken, ours = Scaled(), Scaled()
    documented(broken, "cpu")
    assert broken.scale.is_meta
    materialize(ours, "cpu", factory=Scaled)
    assert ours.scale.tolist() == [3.0, 3.0]


@pytest.fixture
def nested(pretrained):
    """A model class whose `__init__` tells on which device tensors are made, and its folder."""
    kind, folder, _ = pretrained["roberta"]

    class Criteria(kind):
        def __init__(self, config):
            super().__init__(config)
            self.scale = torch.full((2,), 3.0)

    return Criteria, folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_9_the_keyword_that_forbids_meta_is_ignored(nested):
    kind, folder = nested
    broken = kind.from_pretrained(folder, **KEYWORDS)
    assert broken.scale.is_meta
    documented(broken, "cpu")
    assert broken.scale.is_meta
    materialize(broken, "cpu", factory=lambda: kind(broken.config))
    assert broken.scale.tolist() == [3.0, 3.0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_10_no_dtype_means_the_checkpoints_and_not_the_default(pretrained, tmp_path):
    kind, folder, _ = pretrained["roberta"]
    kind.from_pretrained(folder).to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path, **KEYWORDS)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    with torch.device("meta"):
        ours = kind(loaded.config)
    ours.float()
    materialize(ours, "cpu", state=loaded.state_dict(), factory=lambda: kind(loaded.config))
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert all(torch.equal(ours.get_parameter(name), value.float()) for name, value in loaded.named_parameters())


def test_11_meta_in_the_middle_is_missed_by_the_first_and_by_the_last_parameter():
    def broken():
        return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))

    for pick in (0, -1):
        assert not list(broken().parameters())[pick].is_meta
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        broken().to("cpu")
    model = broken()
    ends = [model[0].weight.clone(), model[2].weight.clone()]
    materialize(model, "cpu", factory=lambda: nn.Sequential(*(nn.Linear(2, 2) for _ in range(3))))
    assert [torch.equal(model[0].weight, ends[0]), torch.equal(model[2].weight, ends[1])] == [True, True]


def test_12_an_optimizer_built_before_keeps_the_meta_tensors_and_trains_nothing():
    def trained(model, optimizer):
        before = model.weight.detach().clone()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return not torch.equal(before, model.weight)

    broken, ours = nn.Linear(2, 2, device="meta"), nn.Linear(2, 2, device="meta")
    optimizer = torch.optim.SGD(broken.parameters(), lr=0.1)
    documented(broken, "cpu")
    assert not trained(broken, optimizer)
    assert optimizer.param_groups[0]["params"][0].is_meta
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    materialize(ours, "cpu", factory=lambda: nn.Linear(2, 2))
    assert trained(ours, optimizer)


def test_12_loading_a_state_by_assignment_leaves_the_optimizer_behind_too():
    broken = nn.Linear(2, 2, device="meta")
    optimizer = torch.optim.SGD(broken.parameters(), lr=0.1)
    broken.load_state_dict(nn.Linear(2, 2).state_dict(), assign=True)
    assert optimizer.param_groups[0]["params"][0] is not broken.weight
    ours = nn.Linear(2, 2, device="meta")
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    materialize(ours, "cpu", state=nn.Linear(2, 2).state_dict())
    assert optimizer.param_groups[0]["params"][0] is ours.weight


def test_the_documents_own_two_tests_pass_here_without_losing_the_head():
    model = Classifier()
    head = model.classifier.weight.detach().clone()
    assert not next(model.parameters()).is_meta
    assert any(parameter.is_meta for parameter in model.parameters())
    with pytest.raises(MaterializeError, match=r"encoder\.2\.weight, encoder\.2\.bias"):
        safe_to_device(model, "cpu")
    assert safe_to_device(model, "cpu", factory=lambda: Classifier("cpu")) is model
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(model.classifier.weight, head)
