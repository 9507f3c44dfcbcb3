"""`Compiler`: torch.compile for a network whose structure changes.

A compiled network is thrown away when its structure has changed and the next step compiles anew; torch would otherwise
go back to eager mode in silence once it has compiled the same code too often.
"""

import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lab.base import ConfigError
from lab.store import AlertEvent, Record

COMPILERS = ("g++", "clang++")


class Compiler:
    """Compiles one module at a time and counts how often.

    Args:
        device: where the module runs.
        backend: of torch.compile.

    Raises:
        ConfigError: the machine has nothing that torch could compile with.
    """

    def __init__(self, device: torch.device, backend: str = "inductor") -> None:
        if backend == "inductor":
            _require_compiler(device)
        self.backend = backend
        self.count = 0
        self.graphs = 0
        self._parts: tuple[object, ...] = ()
        self._compiled: nn.Module | None = None

    def of(self, module: nn.Module, records: list[Record]) -> nn.Module:
        """The compiled `module`; an event in `records` where this step has to compile it."""
        parts = (*module.modules(), *module.parameters(), *module.buffers())
        known = len(parts) == len(self._parts) and all(
            one is other for one, other in zip(parts, self._parts, strict=True)
        )
        if self._compiled is None or not known:
            torch.compiler.reset()
            self.count += 1
            # The objects, not their ids: an id is given again once its object is gone.
            self._parts = parts
            compiled: Any = torch.compile(module, backend=self._watch(records), dynamic=False)
            self._compiled = compiled
        assert self._compiled is not None
        return self._compiled

    def _watch(self, records: list[Record]) -> Callable[[torch.fx.GraphModule, list[Any]], Callable[..., Any]]:
        """The backend, timed: what it compiles becomes an event."""
        inner = torch._dynamo.lookup_backend(self.backend)

        def compile_graph(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
            began = time.perf_counter()
            made: Callable[..., Any] = inner(graph, inputs)
            self.graphs += 1
            text = (
                f"structure {self.count}, graph {self.graphs} in all: {len(list(graph.graph.nodes))} operations in "
                f"{time.perf_counter() - began:.1f} s"
            )
            records.append(AlertEvent(level="info", title="Compiled", text=text))
            return made

        return compile_graph


def _require_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        return  # torch comes with its own for GPUs
    asked = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([asked] if asked else COMPILERS)):
        raise ConfigError(
            "a C++ compiler for --compile", f"none of {asked or ', '.join(COMPILERS)}", "install one, or remove it"
        )
