"""One coverage of random streams: what is taken is put back, and passes through a checkpoint's file."""

import random

import numpy as np
import pytest
import torch

from lab.state import preserved_rng, rng_state, set_rng_state


def draws():
    return torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(2).tolist(), np.random.randn()


def test_every_stream_goes_on_where_its_state_was_taken():
    random.gauss(0, 1), np.random.randn()  # both keep half a pair of normal draws
    state = rng_state()
    first = draws()
    assert draws() != first
    set_rng_state(state)
    assert draws() == first


def test_a_state_passes_through_a_file_that_holds_no_pickled_objects(tmp_path):
    state = rng_state()
    first = draws()
    torch.save(state, tmp_path / "state.pt")
    set_rng_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws() == first


def test_a_state_of_torch_alone_leaves_the_others():
    state = {"torch": torch.get_rng_state()}
    expected = torch.rand(2).tolist()
    random_state = random.getstate()
    set_rng_state(state)
    assert torch.rand(2).tolist() == expected
    assert random.getstate() == random_state


@pytest.mark.parametrize("seed", [None, 7])
def test_a_block_leaves_no_trace_whatever_is_raised_in_it(seed):
    state = rng_state()
    expected = draws()
    set_rng_state(state)
    with pytest.raises(ZeroDivisionError), preserved_rng(seed):
        draws()[1] / 0
    assert draws() == expected


def test_a_seeded_block_draws_the_same_each_time():
    found = []
    for _ in range(2):
        with preserved_rng(3):
            found.append(torch.rand(4).tolist())
    assert found[0] == found[1]


@pytest.mark.gpu
def test_cuda_streams_are_covered():
    torch.rand(1, device="cuda")
    state = rng_state()
    first = torch.rand(4, device="cuda").tolist()
    set_rng_state(state)
    assert torch.rand(4, device="cuda").tolist() == first
