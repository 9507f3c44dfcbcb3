import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.lesson import draw_graph


@pytest.fixture
def program():
    w = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.tensor([1.0, 2.0])
    e = (w * x).exp()
    return w, x, e, (e * e).sum()


def test_the_operations_stand_behind_their_inputs(program):
    w, x, e, loss = program
    graph = draw_graph(loss, w=w, x=x, e=e)
    assert [each.name for each in graph.operations] == ["w", "Mul", "Exp", "Mul", "Sum"]
    assert [each.inputs for each in graph.operations] == [(), (0,), (1,), (2, 2), (3,)]
    assert graph.ok


def test_what_is_saved_is_named_with_its_size(program):
    w, x, e, loss = program
    product = draw_graph(loss, w=w, x=x, e=e).operations[1]
    # x needs no gradient, so that the product keeps x for w, and not w for x.
    assert [each.text for each in product.saved] == ["other = x (2,): saved"]
    assert draw_graph(loss).bytes == 4 * 8


def test_a_write_in_place_marks_what_it_destroyed(program):
    w, x, e, loss = program
    e.add_(1)
    graph = draw_graph(loss, w=w, x=x)
    assert not graph.ok
    broken = [each for each in graph.operations if each.kind == "broken"]
    assert [each.name for each in broken] == ["Exp", "Mul"]
    assert "result: ✗ overwritten" in str(graph)
    assert "backward would raise" in str(graph)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        loss.backward()


def test_a_backward_pass_frees_what_was_saved(program):
    *_, loss = program
    loss.backward()
    assert "✗ freed" in str(draw_graph(loss))


def test_drawing_leaves_the_graph_as_it_is(program):
    w, *_, loss = program
    draw_graph(loss).figure()
    loss.backward()
    assert w.grad is not None


def test_the_figure_has_a_box_for_each_operation_and_an_arrow_for_each_input(program):
    *_, loss = program
    figure = draw_graph(loss, title="three lines").figure()
    notes = figure.layout.annotations
    assert sum(note.showarrow for note in notes) == 5
    assert [note.text.split("</b>")[0] for note in notes if not note.showarrow][-1] == "<b>Sum"
    assert figure.layout.title.text == "three lines"


def test_a_tensor_without_a_graph_and_a_large_graph_are_refused():
    with pytest.raises(ConfigError, match="a graph behind it"):
        draw_graph(torch.ones(2))
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(30)))
    with pytest.raises(ConfigError, match="a small program"):
        draw_graph(net(torch.ones(1, 2)).sum())
