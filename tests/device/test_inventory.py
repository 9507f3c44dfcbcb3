"""Every tensor of a model under each of its names, with the way it is held."""

import torch
from torch import nn

from lab.device import inventory, named_tensors, offloaded, plain_tensors


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.again = self.linear
        self.register_buffer("kept", torch.ones(1))
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.register_buffer("empty", None)
        self.alias = self.kept
        self.plain = torch.ones(1)
        self.nested = {"a": [torch.ones(1), 3], "b": "text"}
        self.modules_in_a_list = [nn.Linear(1, 1)]


def test_each_tensor_comes_under_its_full_name_with_its_kind():
    found = {item.name: item.kind for item in inventory(Holder())}
    assert found == {
        "kept": "persistent buffer",
        "passing": "non-persistent buffer",
        "plain": "plain attribute",
        "nested['a'][0]": "plain attribute",
        "linear.weight": "parameter",
        "again.weight": "parameter",
    }


def test_a_recurrent_nets_own_list_of_its_weights_is_no_second_name():
    names = [item.name for item in inventory(nn.LSTM(2, 2))]
    assert names == [name for name, _ in nn.LSTM(2, 2).named_parameters()]


def test_plain_tensors_are_those_of_one_module_alone():
    assert [path for path, _ in plain_tensors(Holder())] == ["alias", "plain", "nested['a'][0]"]


def test_named_tensors_reaches_optimizer_state_and_modules_in_lists():
    model = Holder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.linear(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    paths = [path for path, _ in named_tensors({"model": model, "optimizer": optimizer})]
    assert "['model'].modules_in_a_list[0].weight" in paths
    assert "['optimizer'].state[0]['momentum_buffer']" in paths


def test_a_container_that_holds_itself_is_walked_once():
    loop: list = [torch.ones(1)]
    loop.append(loop)
    assert [path for path, _ in named_tensors(loop)] == ["[0]"]


def test_an_ordinary_model_is_not_offloaded():
    assert offloaded(Holder()) == ()
