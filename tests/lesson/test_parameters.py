import pytest
import torch
from torch import nn

from lab.lesson import parameter_table


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("mask", torch.zeros(5, dtype=torch.int8), persistent=False)


def rows(table):
    return {row.name: row for row in table.rows}


def test_every_parameter_and_buffer_has_a_row():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = set(rows(parameter_table(model)))
    assert names == set(model.state_dict())


def test_a_row_tells_device_dtype_shape_and_bytes():
    row = rows(parameter_table(nn.Linear(2, 3).double()))["weight"]
    assert (row.kind, row.device, row.dtype, row.shape, row.bytes) == ("parameter", "cpu", "float64", (3, 2), 48)
    assert row.requires_grad


def test_the_gradient_norm_is_none_until_there_is_a_gradient():
    model = nn.Linear(2, 1, bias=False)
    assert rows(parameter_table(model))["weight"].gradient_norm is None
    assert "  none  " in str(parameter_table(model))
    model(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert rows(parameter_table(model))["weight"].gradient_norm == pytest.approx(5.0)


def test_a_half_precision_gradient_norm_does_not_overflow():
    model = nn.Linear(4, 1, bias=False).half()
    model.weight.grad = torch.full((1, 4), 40_000.0, dtype=torch.float16)
    assert rows(parameter_table(model))["weight"].gradient_norm == pytest.approx(80_000.0, rel=1e-3)


def test_a_tied_tensor_is_counted_once_and_named_twice():
    table = parameter_table(Tied())
    assert rows(table)["second.weight"].same_as == "first.weight"
    assert table.bytes == 9 * 4 + 5
    assert "same tensor as first.weight" in str(table)


def test_a_buffer_that_is_not_saved_is_marked():
    assert rows(parameter_table(Tied()))["mask"].kind == "buffer (not saved)"


def test_a_meta_parameter_has_no_bytes():
    row = rows(parameter_table(nn.Linear(2, 3, device="meta")))["weight"]
    assert (row.device, row.bytes, row.shape) == ("meta", 0, (3, 2))


def test_a_lazy_parameter_has_no_shape_yet():
    row = rows(parameter_table(nn.LazyLinear(3)))["weight"]
    assert (row.shape, row.bytes) == (None, 0)


def test_the_optimizer_column_tells_which_group_holds_a_parameter():
    model = nn.Linear(2, 3)
    table = parameter_table(model, torch.optim.SGD([model.weight], lr=0.1))
    assert rows(table)["weight"].optimizer == "group 0"
    assert rows(table)["bias"].optimizer == "no"
    assert table.foreign == 0
    assert table.tables()[0].columns[:2] == ("name", "optimizer"), "a narrow page shows these"
    assert table.tables()[0].rows[0][:3] == ("weight", "group 0", "parameter")
    assert "optimizer" not in str(parameter_table(model))


def test_parameters_of_another_model_are_counted_as_foreign():
    model = nn.Linear(2, 3)
    table = parameter_table(model, torch.optim.SGD([*nn.Linear(2, 3).parameters(), model.weight], lr=0.1))
    assert table.foreign == 2
    assert "also holds 2 tensors that are not in this module" in str(table)


def test_html_and_data_hold_every_row():
    table = parameter_table(nn.Linear(2, 3))
    assert table._repr_html_().count("<tr>") == 1 + len(table.rows)
    assert [row["name"] for row in table.to_dict()["rows"]] == ["weight", "bias"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_parameter_on_the_gpu_is_shown_there():
    assert rows(parameter_table(nn.Linear(2, 3).cuda()))["weight"].device == "cuda:0"
