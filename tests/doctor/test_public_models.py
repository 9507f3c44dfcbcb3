"""On models that others wrote nothing is found, and the step after the doctor is the step without it."""

import copy
import importlib.util
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.doctor import examine


def load() -> types.ModuleType:
    """The list of models, as data beside this file."""
    spec = importlib.util.spec_from_file_location("public_models", Path(__file__).with_name("public_models.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["public_models"] = module
    spec.loader.exec_module(module)
    del sys.modules["public_models"]
    return module


models = load()
ALL = [
    (library, name)
    for library, names in (
        ("torchvision", models.TORCHVISION),
        ("timm", models.TIMM),
        ("transformers", models.TRANSFORMERS),
    )
    for name in names
]
# What a library's model says of its own settings, or of its own code.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def kernels_may_vary() -> None:
    """Some models use operations that have no deterministic form: they are run all the same, on one thread."""
    torch.use_deterministic_algorithms(True, warn_only=True)


def chosen() -> list[Any]:
    return [
        pytest.param(*row, marks=() if row in models.SAMPLE else pytest.mark.large, id="-".join(row)) for row in ALL
    ]


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def real_step(public: Any, model: nn.Module) -> list[Tensor]:
    """The loss, then all that the model holds after one step."""
    torch.manual_seed(3)
    optimizer = optimizer_of(model)
    loss = own_step(public, model)
    loss.backward()
    optimizer.step()
    return [loss.detach(), *(value.clone() for value in model.state_dict().values())]


def own_step(public: Any, model: nn.Module) -> Tensor:
    return public.loss(public.call(model), public.batch)


def real_steps(public: Any, model: nn.Module) -> None:
    for _ in range(2):
        real_step(public, model)


@pytest.mark.parametrize(("library", "name"), chosen())
def test_nothing_is_found_and_the_step_afterwards_is_the_same(library: str, name: str) -> None:
    pytest.importorskip(library)
    torch.manual_seed(0)
    public = models.public_model(library, name)
    fresh = public.build()
    for training in (True, False):
        model = copy.deepcopy(fresh).train(training)
        expected = real_step(public, copy.deepcopy(model))

        # A step of one's own is judged by the mode too, and eval mode is no fault here.
        step = partial(own_step, public, model) if training else None
        page = examine(
            model, public.batch, public.loss, placements=["cuda:0"], step=step, optimizer=optimizer_of(model)
        )
        assert page.audit.ok, page
        assert page.process.ok, page
        assert page.backward is not None, page
        if name in models.CARRIES_IN_EVAL and not training:
            assert [finding.category for finding in page.backward.findings] == ["carried state"], page
            with pytest.raises(RuntimeError, match="a second time"):
                real_steps(public, copy.deepcopy(model))
        else:
            assert page.backward.ok, page
            assert page.training is not None, page
            assert page.training.ok, page
        assert not page.refused, page
        verdict = page.simulations[0].verdict
        assert verdict == ("undecided" if name in models.UNDECIDED else "ok"), page

        after = real_step(public, model)
        assert [torch.equal(one, other) for one, other in zip(expected, after, strict=True)] == [True] * len(after)


def test_the_list_is_as_long_as_it_claims() -> None:
    assert len(models.TORCHVISION) >= 30
    assert len(models.TIMM) >= 30
    assert len(models.TRANSFORMERS) >= 15
    assert set(models.SAMPLE) <= set(ALL)
    assert {*models.UNDECIDED, *models.CARRIES_IN_EVAL} <= {name for _, name in ALL}
