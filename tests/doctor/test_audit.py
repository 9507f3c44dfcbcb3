"""Each kind of fault, planted one by one; and models in which nothing may be found."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lab.base import ConfigError
from lab.doctor import KINDS, AuditReport, audit


class Net(nn.Module):
    """A healthy model with one of each: tie, buffers of both kinds, plain tensor, module list."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.body = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4)])
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.ones(4))
        self.register_buffer("positions", torch.arange(4), persistent=False)
        self.state = torch.zeros(4)
        self.kept = [self.body[0]]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embedding(x) * self.mask
        for layer in self.body:
            hidden = layer(hidden)
        return self.head(hidden)


def _cuda(tensor: Tensor) -> Tensor:
    """A tensor that says it is on a GPU; works without one."""
    with FakeTensorMode():
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda:0")


def meta_parameter(net: Net) -> dict[str, Any]:
    net.body[0].weight = nn.Parameter(net.body[0].weight.to("meta"))
    return {}


def meta_persistent_buffer(net: Net) -> dict[str, Any]:
    net.mask = net.mask.to("meta")
    return {}


def meta_passing_buffer(net: Net) -> dict[str, Any]:
    net.positions = net.positions.to("meta")
    return {}


def meta_attribute(net: Net) -> dict[str, Any]:
    net.body[0].scales = {"in": torch.ones(3, device="meta")}
    return {}


def attribute_elsewhere(net: Net) -> dict[str, Any]:
    net.state = _cuda(net.state)
    return {}


def buffer_elsewhere(net: Net) -> dict[str, Any]:
    net.body[1].running_mean = _cuda(net.body[1].running_mean)
    return {}


def mixed_dtype(net: Net) -> dict[str, Any]:
    net.body[0].bias = nn.Parameter(net.body[0].bias.half())
    return {}


def hidden_module(net: Net) -> dict[str, Any]:
    net.extra = {"heads": [nn.Linear(4, 2)]}
    return {}


class Kit:
    """A helper that is no module."""

    def __init__(self) -> None:
        self.proj = nn.Linear(4, 4)


def module_in_an_object(net: Net) -> dict[str, Any]:
    net.kit = Kit()
    return {}


def unregistered_parameter(net: Net) -> dict[str, Any]:
    net.gain = nn.Parameter(torch.ones(4)) * 1
    return {}


def broken_tie(net: Net) -> dict[str, Any]:
    net.head.weight = nn.Parameter(net.embedding.weight.detach())
    return {"ties": [("embedding.weight", "head.weight")]}


def foreign_tensor(net: Net) -> dict[str, Any]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.body[0].weight = nn.Parameter(net.body[0].weight.detach().clone(), requires_grad=False)
    return {"optimizer": optimizer}


def untrained_tensor(net: Net) -> dict[str, Any]:
    return {"optimizer": torch.optim.SGD([p for p in net.parameters() if p is not net.body[1].weight], lr=0.1)}


def foreign_state(net: Net) -> dict[str, Any]:
    optimizer = _stepped(net)
    net.body[0].bias.data = torch.zeros(7)
    return {"optimizer": optimizer}


def _stepped(net: Net) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.tensor([1, 2, 3])).sum().backward()
    optimizer.step()
    return optimizer


PLANTED: list[tuple[Callable[[Net], dict[str, Any]], str, str]] = [
    (meta_parameter, "meta parameter", "body.0.weight"),
    (meta_persistent_buffer, "meta persistent buffer", "mask"),
    (meta_passing_buffer, "meta non-persistent buffer", "positions"),
    (meta_attribute, "meta plain attribute", "body.0.scales['in']"),
    (attribute_elsewhere, "plain attribute on another device", "state"),
    (buffer_elsewhere, "parameter or buffer on another device", "body.1.running_mean"),
    (mixed_dtype, "mixed floating dtype within one module", "body.0"),
    (hidden_module, "module hidden in a list or dict", "extra['heads'][0]"),
    (module_in_an_object, "module hidden in a plain object", "kit.proj"),
    (unregistered_parameter, "unregistered parameter", "gain"),
    (broken_tie, "broken tie", "head.weight"),
    (foreign_tensor, "optimizer holds a foreign tensor", "param_groups[0]['params'][1]"),
    (untrained_tensor, "trainable tensor in no optimizer", "body.1.weight"),
    (foreign_state, "optimizer state of another device or shape", "body.0.bias: state['exp_avg']"),
]


@pytest.mark.parametrize(("plant", "kind", "name"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_each_planted_fault_is_found_by_kind_and_full_name(
    plant: Callable[[Net], dict[str, Any]], kind: str, name: str
) -> None:
    net = Net()
    report = audit(net, **plant(net))
    assert not report.ok
    assert {finding.kind for finding in report.findings} == {kind}
    assert name in {finding.name for finding in report.findings}
    assert all(finding.fix and finding.detail for finding in report.findings)
    assert name in str(report)


def test_each_kind_has_its_own_name_and_is_planted() -> None:
    assert len(KINDS) == len(set(KINDS)) >= 12
    assert {kind for _, kind, _ in PLANTED} == set(KINDS)


def test_several_faults_are_found_at_once() -> None:
    net = Net()
    for plant in (meta_parameter, meta_attribute, hidden_module, attribute_elsewhere, mixed_dtype):
        plant(net)
    assert len({finding.kind for finding in audit(net).findings}) == 5


def test_a_healthy_model_with_its_optimizer_has_no_findings() -> None:
    net = Net()
    report = audit(net, _stepped(net), device="cpu", ties=[("embedding.weight", "head.weight")])
    assert report.ok, str(report)
    assert report.tensors > 10


def test_every_tensor_of_a_cpu_model_is_misplaced_where_a_gpu_is_asked_for() -> None:
    net = Net()
    report = audit(net, device="cuda")
    kinds = {finding.name: finding.kind for finding in report.findings}
    assert kinds["embedding.weight"] == "parameter or buffer on another device"
    assert kinds["positions"] == "parameter or buffer on another device"
    assert kinds["state"] == "plain attribute on another device"


def test_an_alias_of_a_buffer_and_a_single_number_on_the_cpu_are_no_faults() -> None:
    net = nn.Module()
    net.register_buffer("table", torch.ones(4))
    net.alias = net.table[:2]
    net.scale = torch.tensor(2.0)
    assert [finding.name for finding in audit(net, device="cuda").findings] == ["table"]
    net.table = net.table.to("meta")
    net.alias = net.table[:2]
    assert [finding.name for finding in audit(net).findings] == ["table"]


def test_a_registered_module_kept_in_a_list_as_well_is_not_hidden() -> None:
    net = Net()
    net.order = (net.body[0], [net.body[1]])
    assert audit(net).ok


def test_tensors_of_hidden_modules_are_looked_at_too() -> None:
    net = Net()
    inner = nn.Linear(4, 2)
    inner.weight = nn.Parameter(inner.weight.to("meta"))
    net.extra = [inner]
    found = {finding.name: finding.kind for finding in audit(net, torch.optim.SGD(net.parameters(), lr=0.1)).findings}
    assert found["extra[0]"] == "module hidden in a list or dict"
    assert found["extra[0].weight"] in ("meta parameter", "trainable tensor in no optimizer")
    assert found["extra[0].bias"] == "trainable tensor in no optimizer"


def test_the_fix_of_a_tensor_that_to_misses_is_not_to_alone() -> None:
    net = Net()
    net.extra = [nn.Linear(4, 2)]
    fixes = {finding.name: finding.fix for finding in audit(net, device="cuda:0").findings}
    assert fixes["head.weight"] == "model.to('cuda:0'), after the tensor was added"
    assert fixes["extra[0].weight"] == "use nn.ModuleList or nn.ModuleDict; then model.to('cuda:0')"


def test_each_tensor_is_trained_by_one_of_several_optimizers() -> None:
    net = Net()
    weights = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    both = [torch.optim.SGD(weights, lr=0.1), torch.optim.Adam(rest)]
    assert audit(net, both).ok
    assert not audit(net, both[:1]).ok


def test_an_optimizer_that_outlived_a_deep_copy_holds_only_foreign_tensors() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    report = audit(copy.deepcopy(net), optimizer)
    kinds = [finding.kind for finding in report.findings]
    assert kinds.count("optimizer holds a foreign tensor") == kinds.count("trainable tensor in no optimizer") == 5


def test_factored_state_and_line_search_state_are_no_faults() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    for optimizer in (torch.optim.Adafactor(net.parameters()), torch.optim.LBFGS(net.parameters(), max_iter=3)):

        def closure(optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = net(torch.ones(5, 4)).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        assert audit(net, optimizer).ok, str(audit(net, optimizer))


@pytest.mark.parametrize("declared", [{"head.weight": "embedding.weight"}, ["head.weight"], {r"he\w+": "embedding"}])
def test_a_tie_that_the_model_declares_is_checked(declared: object) -> None:
    net = Net()
    net._tied_weights_keys = declared
    assert audit(net).ok
    broken_tie(net)
    (finding,) = audit(net).findings
    assert (finding.kind, finding.name) == ("broken tie", "head.weight")


@pytest.mark.parametrize("ties", [["head.weight"], [("head.weight",)], [("head.weight", "no.such")]])
def test_ties_that_name_nothing_are_refused(ties: list[Any]) -> None:
    with pytest.raises(ConfigError, match="ties"):
        audit(Net(), ties=ties)


def test_a_model_offloaded_on_purpose_is_not_judged_and_the_report_says_so() -> None:
    net = Net()
    meta_parameter(net)
    net.hf_device_map = {"embedding": 0, "body": "disk"}
    report = audit(net)
    assert report.ok
    assert "offloaded on purpose" in str(report)


TORCHVISION = {
    "resnet18": torchvision.models.resnet18,
    "vgg11_bn": torchvision.models.vgg11_bn,
    "densenet121": torchvision.models.densenet121,
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "efficientnet_b0": torchvision.models.efficientnet_b0,
    "squeezenet1_1": torchvision.models.squeezenet1_1,
    "shufflenet_v2_x0_5": torchvision.models.shufflenet_v2_x0_5,
    "convnext_tiny": torchvision.models.convnext_tiny,
    "vit_b_32": torchvision.models.vit_b_32,
    "regnet_y_400mf": torchvision.models.regnet_y_400mf,
    "swin_t": torchvision.models.swin_t,
    "mnasnet0_5": torchvision.models.mnasnet0_5,
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_nothing_is_found_in_models_of_torchvision(name: str) -> None:
    model = TORCHVISION[name]()
    report = audit(model, torch.optim.AdamW(model.parameters()))
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["roberta", "gpt2", "deberta", "llama"])
def test_nothing_is_found_in_models_of_transformers_as_loaded(
    name: str, pretrained: Callable[[str], nn.Module]
) -> None:
    model = pretrained(name)
    report = audit(model, torch.optim.AdamW(model.parameters()))
    assert report.ok, str(report)
    assert all(not parameter.is_meta for parameter in model.parameters())


def test_a_tied_language_model_whose_head_was_replaced_is_found(pretrained: Callable[[str], nn.Module]) -> None:
    model = pretrained("gpt2")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    (finding,) = audit(model).findings
    assert (finding.kind, finding.name) == ("broken tie", "lm_head.weight")


def test_the_report_is_plain_data() -> None:
    net = Net()
    meta_parameter(net)
    report: AuditReport = audit(net)
    data = report.to_dict()
    assert data["ok"] is False
    assert data["findings"][0]["name"] == "body.0.weight"
    assert "body.0.weight" in report.to_json()
    assert "body.0.weight" in report._repr_html_()
