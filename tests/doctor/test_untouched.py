"""What a model's forward keeps beyond itself is after every instrument as if none had run."""

import functools
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.doctor import examine, process_check, simulate
from lab.doctor.untouched import is_stand_in, kept_stand_ins

WIDTH = 4
_TABLES: dict[Any, Any] = {}
_ORDERED: OrderedDict[int, Any] = OrderedDict()
_QUEUE: deque[Any] = deque(maxlen=2)
_LIST: list[Any] = []
_LOCAL = threading.local()

_RARE: Tensor | None = None
_STEPS = torch.zeros(())
_READY = False


def _table(x: Tensor) -> Tensor:
    return torch.arange(WIDTH, device=x.device) + 1.0


@functools.cache
def _unlimited(width: int) -> Tensor:
    return torch.arange(width) + 1.0


@functools.lru_cache(maxsize=2)
def _limited(width: int, *, both: bool = True) -> tuple[Tensor, ...]:
    return (torch.arange(width) + 1.0,)


class Holder:
    """An object of the user's own that keeps a table."""

    shared: Tensor | None = None
    tables: list[Tensor] = []  # noqa: RUF012 - a container of the class is the point

    def __init__(self) -> None:
        self.table: Tensor | None = None


class Slotted:
    __slots__ = ("table", "unset")

    def __getattr__(self, name: str) -> Tensor:
        if name == "unset":
            raise TypeError("code of the user's ran")
        raise AttributeError(name)


_HOLDER, _SLOTTED = Holder(), Slotted()
_MEMBER = Holder()
_MEMBERS = {_MEMBER}
del _MEMBER


def _of_global(x: Tensor) -> Tensor:
    global _RARE
    if _RARE is None:
        _RARE = _table(x)
    return _RARE


def _of_flag(x: Tensor) -> Tensor:
    global _READY
    if not _READY:
        _TABLES["ready"], _READY = _table(x), True
    return _TABLES["ready"]


def _of_class(x: Tensor) -> Tensor:
    if Holder.shared is None:
        Holder.shared = _table(x)
    return Holder.shared


def _of_class_list(x: Tensor) -> Tensor:
    if not Holder.tables:
        Holder.tables.append(_table(x))
    return Holder.tables[0]


def _of_member(x: Tensor) -> Tensor:
    (member,) = _MEMBERS
    if member.table is None:
        member.table = _table(x)
    return member.table


def _of_instance(x: Tensor) -> Tensor:
    if _HOLDER.table is None:
        _HOLDER.table = _table(x)
    return _HOLDER.table


def _of_slots(x: Tensor) -> Tensor:
    if not hasattr(_SLOTTED, "table"):
        _SLOTTED.table = _table(x)
    return _SLOTTED.table


def _of_default(x: Tensor, cache: dict[str, Tensor] = {}) -> Tensor:  # noqa: B006
    return cache.setdefault("table", _table(x)) if "table" not in cache else cache["table"]


def _of_function(x: Tensor) -> Tensor:
    if not hasattr(_of_function, "table"):
        _of_function.table = _table(x)
    return _of_function.table


def _of_local(x: Tensor) -> Tensor:
    if not hasattr(_LOCAL, "table"):
        _LOCAL.table = _table(x)
    return _LOCAL.table


def _closure() -> Callable[[Tensor], Tensor]:
    table: Tensor | None = None

    def of(x: Tensor) -> Tensor:
        nonlocal table
        if table is None:
            table = _table(x)
        return table

    return of


_of_closure = _closure()


def _of_dict(x: Tensor) -> Tensor:
    if WIDTH not in _TABLES:
        _TABLES[WIDTH] = {"both": [_table(x)]}
    return _TABLES[WIDTH]["both"][0]


def _of_ordered(x: Tensor) -> Tensor:
    if WIDTH not in _ORDERED:
        _ORDERED[WIDTH] = _table(x)
    _ORDERED.move_to_end(WIDTH)
    return _ORDERED[WIDTH]


def _of_sequence(x: Tensor) -> Tensor:
    _QUEUE.append(_table(x))
    if not _LIST:
        _LIST.append(_QUEUE[-1])
    return _LIST[0]


KEEPERS: dict[str, Callable[[Tensor], Tensor]] = {
    "unlimited cache": lambda x: _unlimited(WIDTH).to(x.device),
    "limited cache": lambda x: _limited(WIDTH)[0].to(x.device),
    "global": _of_global,
    "flag": _of_flag,
    "class attribute": _of_class,
    "list of a class": _of_class_list,
    "instance": _of_instance,
    "member of a set": _of_member,
    "slots": _of_slots,
    "default argument": _of_default,
    "function attribute": _of_function,
    "thread local": _of_local,
    "closure": _of_closure,
    "dict": _of_dict,
    "ordered dict": _of_ordered,
    "sequences": _of_sequence,
}


class Net(nn.Module):
    def __init__(self, keeper: str, *, raises: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)
        self.keeper = keeper
        self.raises = raises

    def forward(self, x: Tensor) -> Tensor:
        _STEPS.add_(1)
        h = self.fc(x) * KEEPERS[self.keeper](x)
        if self.raises:
            raise ValueError("after the cache was filled")
        return h


def _empty() -> None:
    global _RARE, _READY
    for kept in (_TABLES, _ORDERED, _QUEUE, _LIST, Holder.tables, _unlimited, _limited):
        (getattr(kept, "cache_clear", None) or kept.clear)()
    for owner, name in ((_SLOTTED, "table"), (_of_function, "table"), (_LOCAL, "table")):
        if hasattr(owner, name):
            delattr(owner, name)
    _RARE, _READY, Holder.shared, _HOLDER.table = None, False, None, None
    for member in _MEMBERS:
        member.table = None
    _of_default.__defaults__[0].clear()
    _of_closure.__closure__[0].cell_contents = None
    _STEPS.zero_()


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    _empty()
    yield
    _empty()


def _three_steps(net: nn.Module, x: Tensor) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    seen = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        optimizer.step()
        seen += [loss.detach(), *(parameter.detach().clone() for parameter in net.parameters())]
    return seen


def _instruments(net: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    return {
        "fake": lambda: simulate(net, x),
        "followed": lambda: simulate(net, x, follow_data=True),
        "examine": lambda: examine(net, x, placements=["cuda:0"]),
    }


ORDERS = (("fake",), ("followed",), ("fake", "followed"), ("followed", "fake"), ("examine",))


# Two instruments after each other: all keepers are the long form.
CASES = [
    pytest.param(
        keeper,
        order,
        marks=pytest.mark.large if len(order) > 1 and keeper not in ("dict", "limited cache") else (),
        id=f"{keeper}-{'+'.join(order)}",
    )
    for keeper in KEEPERS
    for order in ORDERS
]


@pytest.mark.parametrize(("keeper", "order"), CASES)
def test_steps_after_an_instrument_are_those_of_a_process_without_it(keeper: str, order: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    net, twin, x = Net(keeper), Net(keeper), torch.randn(2, WIDTH)
    twin.load_state_dict(net.state_dict())
    wanted = _three_steps(twin, x)
    _empty()
    for name in order:
        _instruments(net, x)[name]()
        assert not kept_stand_ins()
        assert _STEPS == 0
    found = _three_steps(net, x)
    assert not any(map(is_stand_in, found))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))
    assert process_check().ok


@pytest.mark.parametrize("follow_data", [False, True])
@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_forward_that_raises_leaves_nothing_either(keeper: str, follow_data: bool) -> None:
    net, x = Net(keeper, raises=True), torch.randn(2, WIDTH)
    with pytest.raises(ValueError, match="after the cache"):
        simulate(net, x, follow_data=follow_data)
    assert not kept_stand_ins()
    net.raises = False
    assert all(not is_stand_in(value) for value in _three_steps(net, x))


def test_what_was_cached_before_is_cached_afterwards() -> None:
    x = torch.randn(2, WIDTH)
    of_dict, of_cache, of_global = _of_dict(x), _unlimited(WIDTH), _of_global(x)
    for keeper in ("dict", "unlimited cache", "global"):
        simulate(Net(keeper), x)
    assert _of_dict(x) is of_dict
    assert _unlimited(WIDTH) is of_cache
    assert _of_global(x) is of_global


def test_the_report_names_what_had_kept_stand_ins() -> None:
    report = simulate(Net("unlimited cache"), torch.randn(2, WIDTH))
    assert report.ok
    assert [name.endswith("_unlimited(cache)") for name in report.cached] == [True]
    assert "_unlimited" in str(report)
    assert simulate(nn.Linear(2, 2), torch.ones(1, 2)).cached == ()


def test_an_object_among_the_arguments_stays_as_it_was() -> None:
    class Fills(nn.Linear):
        def forward(self, x: Tensor, into: Holder) -> Tensor:
            into.table = super().forward(x)
            return into.table

    into = Holder()
    assert simulate(Fills(4, 4), (torch.ones(2, 4), into)).ok
    assert into.table is None


def test_a_module_that_forward_imports_can_be_imported_again() -> None:
    package = types.ModuleType("_package_of_test")
    net = nn.Linear(2, 2)

    class Imports(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            globals()["_package_of_test"] = package
            return net(x)

    simulate(Imports(), torch.ones(1, 2), device="cpu")
    assert globals().pop("_package_of_test") is package


def test_process_check_finds_a_stand_in_and_where_it_is() -> None:
    with torch._subclasses.fake_tensor.FakeTensorMode():
        _TABLES["left"] = [torch.ones(2)]
    (finding,) = process_check().findings
    assert finding.kind == "stand-in kept"
    assert finding.name.endswith("_TABLES.left[0]")
    _TABLES.clear()
    assert process_check().ok
