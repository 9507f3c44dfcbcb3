"""New data in the same tensor object; moves keep what tensors share. Meta stands for "another device" here."""

import torch
from torch import nn

from lab.device import move_tensors, replace_data

META = torch.device("meta")


def test_a_moved_parameter_stays_the_optimizers_object_and_keeps_its_gradient():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    weight = model.weight
    move_tensors(model.parameters(), META)
    assert weight is model.weight is optimizer.param_groups[0]["params"][0]
    assert (weight.device, weight.grad.device) == (META, META)
    assert weight.requires_grad
    assert isinstance(weight, nn.Parameter)


def test_tensors_that_share_a_storage_share_one_after_the_move():
    table = torch.randn(6, 4)
    row, part = table[2], table[:, 1:3]
    move_tensors([table, row, part], META)
    assert {tensor.untyped_storage()._cdata for tensor in (table, row, part)} == {table.untyped_storage()._cdata}
    assert (row.storage_offset(), part.storage_offset(), part.stride()) == (8, 1, (4, 1))


def test_tensors_on_the_device_already_are_not_touched():
    tensor = torch.ones(3)
    pointer = tensor.data_ptr()
    move_tensors([tensor], torch.device("cpu"))
    assert tensor.data_ptr() == pointer
    assert tensor._version == 0


def test_the_result_of_operations_keeps_its_graph():
    leaf = torch.ones(3, requires_grad=True)
    result = leaf * 2
    move_tensors([result], META)
    assert result.device == META
    assert result.grad_fn is not None


def test_replaced_data_shows_wherever_the_tensor_is_held():
    tensor = torch.empty(2, device="meta")
    holders = [tensor, {"a": tensor}, (tensor,)]
    replace_data(tensor, torch.tensor([1.0, 2.0]))
    assert [holder.tolist() for holder in (holders[0], holders[1]["a"], holders[2][0])] == [[1.0, 2.0]] * 3


def test_a_lazy_parameter_moves_and_stays_lazy():
    model = nn.LazyLinear(2)
    move_tensors(model.parameters(), META)
    assert model.weight.device == META
    assert isinstance(model.weight, nn.parameter.UninitializedParameter)
