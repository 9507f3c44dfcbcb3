"""The three taps through which a run is watched: nodes of the graph, torch's operations, calls of torch.

Where torch has `torch.autograd.graph.node_creation_hook`, every node is met when it is made. Where it is absent, the
graph of each result is walked back to the nodes that are known (a custom function is then met where its result is used
next). Compiled functions run uncompiled while they are watched.
"""

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.overrides import _get_current_function_mode as _function_mode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode, _push_mode

from lab.doctor.graph import GraphWatch
from lab.doctor.saved import hooks_are_on
from lab.doctor.write_log import WriteLog

HOOK = "node_creation_hook"
WALK = "saved-tensor walk (this torch has no node_creation_hook)"

_COMPILER = os.path.join(os.path.dirname(torch.__file__), "_dynamo") + os.sep
_EXPORTS = (Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr)
_BACKWARDS = (Tensor.backward, torch.autograd.grad)
_REBIND = Tensor.data.__set__  # type: ignore[attr-defined]
_HOOKED = (Tensor.register_hook, Tensor.register_post_accumulate_grad_hook)
_TOLD = frozenset([*_EXPORTS, *_BACKWARDS, *_HOOKED, _REBIND])


@contextmanager
def watching(graph: GraphWatch, write_log: WriteLog) -> Iterator[str]:
    """Record everything that this thread does inside; gives the name of the method."""
    hook = getattr(torch.autograd.graph, HOOK, None)
    graph.prompt = hook is not None
    with ExitStack() as stack:
        calls = stack.enter_context(_WatchedCalls(graph, write_log, walk=hook is None))
        operations = stack.enter_context(_Operations(graph, write_log))
        if hook is not None:
            calls.pauses = _Pauses(calls, operations, graph, write_log)
            stack.enter_context(calls.pauses.between_steps())
            stack.enter_context(hook(graph.add))
        stack.callback(write_log.close)
        stack.callback(graph.close)
        yield WALK if hook is None else HOOK


class _Operations(TorchDispatchMode):
    """Tells the write log of every operation and of what it writes."""

    supports_higher_order_operators = True

    def __init__(self, graph: GraphWatch, write_log: WriteLog) -> None:
        super().__init__()
        self._graph = graph
        self._ledger = write_log

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        graph, frame = self._graph, sys._getframe(1)
        if graph.quiet:
            return func(*args, **kwargs)
        name, written = _known(func)
        self._ledger.begin(name, frame)
        if not torch.is_grad_enabled():
            graph.rereads.note(args, frame, self._ledger.tick)
        graph.note_inputs([value for value in args if isinstance(value, Tensor)] if hooks_are_on() else [])
        if not written:
            return func(*args, **kwargs)
        targets = [(tensor, tensor._version) for tensor in _targets(written, args, kwargs)]
        for tensor, _ in targets:
            self._ledger.will_write(tensor)
        with _counting_inside(func):
            result = func(*args, **kwargs)
        for tensor, version in targets:
            self._ledger.wrote(tensor, version)
        return result


class _WatchedCalls(TorchFunctionMode):
    """Sees `tensor.data = other` and exports to numpy, which are no operations.

    Walks the graph of results where that is the method.
    """

    def __init__(self, graph: GraphWatch, write_log: WriteLog, *, walk: bool) -> None:
        super().__init__()
        self._graph = graph
        self._ledger = write_log
        self._walk = walk
        self.pauses: _Pauses | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._graph.quiet:
            return func(*args, **kwargs)
        if not self._walk and func not in _TOLD:
            try:
                return func(*args, **kwargs)
            except RuntimeError:
                self._graph.note_failure(getattr(func, "__name__", str(func)), args)
                raise
        if func == _REBIND:
            self._ledger.begin("tensor.data = other", sys._getframe(1))
            self._ledger.wrote(args[0], args[0]._version, rebinds=True)
        elif func in _EXPORTS:
            self._ledger.expose(args[0])
        elif func in _HOOKED:
            self._graph.runs_python = True
        if self._walk:
            discover(self._graph, (args, kwargs))
        try:
            with ExitStack() as stack:
                if func in _BACKWARDS:
                    stack.enter_context(self._graph.backward_called_from(sys._getframe(1)))
                    if self.pauses is not None:
                        stack.enter_context(self.pauses.in_backward(args, kwargs))
                result = func(*args, **kwargs)
        except RuntimeError:
            self._graph.note_failure(getattr(func, "__name__", str(func)), args)
            raise
        if self._walk:
            # The nodes that are new now are those of this call.
            self._graph.note_inputs([value for value in args if isinstance(value, Tensor)])
            discover(self._graph, (result, args))
            self._graph.note_inputs([])
        return result


class _Pauses:
    """Takes the modes off where nothing can be spoiled: most of a step's operations run there.

    One place is a step of torch's own optimizers while no backward is left to read anything. An optimizer of the user's
    own, and one that computes the loss again, is watched always. The other is a backward that runs no Python (no custom
    function, checkpoint, hook or second derivative): its nodes write to nothing that others saved.
    """

    def __init__(
        self, calls: TorchFunctionMode, operations: TorchDispatchMode, graph: GraphWatch, write_log: WriteLog
    ) -> None:
        self._calls = calls
        self._operations = operations
        self._graph = graph
        self._ledger = write_log
        self._thread = threading.get_ident()

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Pause in the steps inside."""
        before = register_optimizer_step_pre_hook(self._begin)
        after = register_optimizer_step_post_hook(lambda *_: self._end())
        try:
            yield
        finally:
            before.remove()
            after.remove()
            self._end()

    @contextmanager
    def in_backward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        """Pause in the backward inside, if it runs no Python."""
        # Further arguments by position: one of them may be `create_graph`.
        python = self._graph.runs_python or kwargs.get("create_graph") or len(args) > 2
        if python or _get_current_dispatch_mode() is not self._operations:
            yield
            return
        # What comes after this backward is to be told from what came before.
        self._ledger.tick += 1
        _pop_mode()
        try:
            yield
        finally:
            _push_mode(self._operations)

    def _begin(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        owns = type(optimizer).__module__.startswith("torch.optim.") and len(args) == 1 and not kwargs
        if not owns or threading.get_ident() != self._thread or self._graph.resume is not None:
            return
        # Torch's compiler guards on the modes that it found.
        if _is_compiling(sys._getframe(1)):
            return
        # A mode of the user's that lies over them is to stay where it is.
        ours = _function_mode() is self._calls and _get_current_dispatch_mode() is self._operations
        if ours and not self._ledger.is_awaited():
            torch.overrides._pop_mode()
            _pop_mode()
            self._graph.resume = self._end

    def _end(self) -> None:
        """Put the modes back: at the end of the step, or where the first node is made after one that raised."""
        if self._graph.resume is not None and threading.get_ident() == self._thread:
            self._graph.resume = None
            torch.overrides._push_mode(self._calls)
            _push_mode(self._operations)


def _is_compiling(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_COMPILER):
            return True
        frame = frame.f_back
    return False


def discover(graph: Any, value: Any) -> None:
    """Tell `graph` of the nodes behind the tensors in `value` that it does not know, inputs first."""
    if isinstance(value, list | tuple):
        for item in value:
            discover(graph, item)
    elif isinstance(value, dict):
        discover(graph, tuple(value.values()))
    elif isinstance(value, Tensor) and value.grad_fn is not None:
        fresh: dict[Any, None] = {}
        stack = [value.grad_fn]
        while stack:
            node = stack.pop()
            if not graph.knows(node) and node not in fresh:
                fresh[node] = None
                stack += [parent for parent, _ in node.next_functions if parent is not None]
        for node in reversed(list(fresh)):
            graph.add(node)


def _counting_inside(func: Any) -> AbstractContextManager[None]:
    """Let the operations inside `func` count versions, where `func` has no kernel that does.

    A dispatch mode switches that counting off for everything below it. Operations over lists of tensors leave it to the
    operations that they are made of: without this, a watched foreach step would not be noticed by torch's own check.
    """
    if _counts(func):
        return nullcontext()
    guard: AbstractContextManager[None] = torch._C._SetExcludeDispatchKeyGuard(
        torch._C.DispatchKey.ADInplaceOrView, False
    )
    return guard


@functools.lru_cache(maxsize=4096)
def _counts(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "ADInplaceOrView")


@functools.lru_cache(maxsize=4096)
def _known(func: Any) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The operation's name, and position and name of the arguments that it writes."""
    schema = getattr(func, "_schema", None)
    written = tuple(
        (position, argument.name)
        for position, argument in enumerate(schema.arguments if schema is not None else ())
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return str(func), written


def _targets(written: tuple[tuple[int, str], ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for position, name in written:
        value = args[position] if position < len(args) else kwargs.get(name)
        for tensor in value if isinstance(value, list | tuple) else [value]:
            if isinstance(tensor, Tensor):
                yield tensor
