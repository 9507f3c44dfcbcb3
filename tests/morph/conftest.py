"""Specimens for surgery."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lab.nn import small_cnn


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, object]:
    """Everything that a rollback must bring back, as copies."""
    state: dict[str, object] = {
        "names": [(name, type(module).__name__) for name, module in model.named_modules(remove_duplicate=False)],
        "objects": [(name, id(tensor)) for name, tensor in (*model.named_parameters(), *model.named_buffers())],
        "values": {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()},
        "rng": torch.get_rng_state(),
    }
    if optimizer is not None:
        state["groups"] = [
            ({k: v for k, v in g.items() if k != "params"}, [id(p) for p in g["params"]])
            for g in optimizer.param_groups
        ]
        state["optimizer"] = [
            (id(p), {k: v.clone() if torch.is_tensor(v) else v for k, v in s.items()})
            for p, s in optimizer.state.items()
        ]
    return state


def equal(one: object, other: object) -> bool:
    """Bit by bit."""
    if torch.is_tensor(one):
        return torch.is_tensor(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]
    return one == other


@pytest.fixture(scope="session")
def same() -> Callable[[object, object], bool]:
    """Whether two states are equal bit by bit."""
    return equal


@pytest.fixture(scope="session")
def state() -> Callable[..., dict[str, object]]:
    """Takes the state of a model and its optimizer."""
    return state_of


@pytest.fixture
def specimen() -> nn.Module:
    """The small network of the documents, seeded."""
    torch.manual_seed(0)
    return small_cnn()


@pytest.fixture
def narrow() -> nn.Module:
    """The same with a quarter of the units, for what does not depend on them."""
    torch.manual_seed(0)
    return small_cnn(channels=8)


@pytest.fixture
def images() -> torch.Tensor:
    """Four random images."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def train() -> Callable[..., float]:
    """Some steps on random targets; the last loss."""

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, count: int = 3) -> float:
        model.train()
        loss = torch.tensor(0.0)
        for _ in range(count):
            optimizer.zero_grad()
            y = model(x)
            loss = (
                (y - torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)).square().mean()
            )
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return steps
