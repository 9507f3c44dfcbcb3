"""Names of tensors that the engine looks at from a thread of its own, as it does for a GPU."""

import sys
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from lab.doctor.names import Names
from lab.doctor.records import Holder


def _entry() -> None:
    """Stands for the function that runs the user's."""


def test_variables_of_a_frame_that_waits_in_another_thread_are_named() -> None:
    hidden = torch.ones(3)
    names = Names(None, _entry.__code__)
    key = hidden.untyped_storage()._cdata
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(names.of_storage, key).result() == Holder()
        names.waiting = sys._getframe()
        assert pool.submit(names.of_storage, key).result() == Holder("hidden", "variable")


def test_the_models_name_comes_before_a_variables() -> None:
    model = nn.Linear(2, 2)
    weight = model.weight
    key = weight.untyped_storage()._cdata
    assert Names(model, _entry.__code__).of_storage(key) == Holder("weight", "parameter")
    assert Names(None, _entry.__code__).of_storage(key).name == "weight"
    del weight
    assert Names(None, _entry.__code__).of_storage(key) == Holder("model.weight", "parameter")
