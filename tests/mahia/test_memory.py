import pytest
import torch

from lab.base import ConfigError
from lab.mahia import GraphDiffusionMemory, PrecisionManager, TinyMemory

D = 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_an_empty_ring_reads_nothing():
    memory, x = TinyMemory(3, D).eval(), torch.randn(5, D)
    assert torch.equal(memory(x), x)


def test_a_ring_keeps_the_last_batch_means_and_its_place_through_a_state_dict():
    memory, batches = TinyMemory(3, D), [torch.randn(6, D) for _ in range(5)]
    for batch in batches:
        memory(batch)
    means = [batch.mean(0) for batch in batches]
    rows = memory.state.rows_SD
    assert torch.allclose(rows, torch.stack([means[3], means[4], means[2]]))
    again = TinyMemory(3, D)
    again.load_state_dict(memory.state_dict())
    again(batches[0])
    assert torch.allclose(again.state.rows_SD[2], means[0])


def test_what_was_seen_changes_what_is_read():
    memory, x = TinyMemory(3, D), torch.randn(5, D)
    before = memory.eval()(x)
    memory.train()(torch.randn(5, D))
    assert not torch.allclose(memory.eval()(x), before)


def collapsed(update):
    """Spread of 16 nodes, relative to the start, after 50 updates with the same two clusters of items."""
    memory = GraphDiffusionMemory(D, 16)
    start = memory.state.nodes_MD.std(0).mean()
    with torch.no_grad():
        for _ in range(50):
            update(memory, torch.randn(32, D) + 2 * torch.randint(0, 2, (32, 1)))
    return float(memory.state.nodes_MD.std(0).mean() / start)


def test_nodes_stay_apart_where_the_mean_for_all_would_make_them_one():
    def mean_for_all(memory, x):
        memory.state.write(nodes_MD=0.9 * memory.state.read("nodes_MD") + 0.1 * x.mean(0))

    assert collapsed(mean_for_all) < 0.05
    assert collapsed(lambda memory, x: memory(x)) > 0.5


def test_only_the_nearest_nodes_move_towards_their_items():
    memory = GraphDiffusionMemory(2, 3, update=0.5)
    with torch.no_grad():
        memory.state.nodes_MD.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 9.0]]))
    memory(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]]))
    assert memory.state.nodes_MD.tolist() == [[0.25, 0.25], [4.5, 0.0], [0.0, 9.0]]


def test_the_graph_of_the_nodes_gets_a_gradient():
    memory = GraphDiffusionMemory(D, 6)
    memory(torch.randn(5, D)).square().sum().backward()
    assert float(memory.adjacency_MM.grad.abs().max()) > 0


@pytest.mark.parametrize("build", [lambda: TinyMemory(3, D), lambda: GraphDiffusionMemory(D, 5)])
def test_in_fewer_bits_the_state_stays_float32(build):
    memory = build()
    with PrecisionManager("bf16").autocast():
        memory(torch.randn(5, D)).float().sum().backward()
    assert {buffer.dtype for buffer in memory.buffers() if buffer.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TinyMemory(0, D), "size >= 1, got size = 0"),
        (lambda: GraphDiffusionMemory(0), "dim >= 1, got dim = 0"),
        (lambda: GraphDiffusionMemory(D, update=1.5), "update >= 0 and <= 1, got update = 1.5"),
    ],
)
def test_settings_outside_their_range_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
