"""What stands around a step: parameters that no optimizer has, shared memory, buffers, BatchNorm, recomputation."""

import functools
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lab.doctor.blame import Blame
from lab.doctor.fingerprint import layout_of
from lab.doctor.hidden import full_inventory
from lab.doctor.learning import NONE, StepFacts
from lab.doctor.reach import cell_content
from lab.doctor.saved import storage_of
from lab.doctor.training_faults import (
    BUFFER,
    NORM_MOVES,
    NORM_STANDS,
    OF_LOSS,
    REDRAWN,
    SHARED,
    UNTRAINED,
)
from lab.doctor.values import FINITE, INF, NAN, ZERO

Finding = tuple[str, Blame, str, str]
"""Category, operation, name and detail."""
_DEPTH = 3


class Surroundings:
    """Findings that no line of the graph explains.

    Args:
        facts: of the step.
        judge_mode: a model in eval mode is a fault.
    """

    def __init__(self, facts: StepFacts, *, judge_mode: bool) -> None:
        self._facts = facts
        self._judge_mode = judge_mode

    def findings(self) -> Iterator[Finding]:
        """All of them."""
        yield from self._outside()
        yield from self._shared()
        yield from self._buffers()
        yield from self._norms()
        for operation, site in self._facts.watch.redraws.found:
            yield REDRAWN, Blame(operation, site), "", "forward and the recompute drew from other states"

    def _outside(self) -> Iterator[Finding]:
        """Parameters that got a gradient and are in no optimizer."""
        facts = self._facts
        for key in [key for key in facts.parameters if key in facts.trainable and key not in facts.groups]:
            if facts.kinds.get(key, NONE) != NONE:
                yield UNTRAINED, Blame(), facts.parameters[key][0], "it got a gradient and is never stepped"
        reached = facts.watch.gradients.reached - set(facts.parameters)
        if not reached:
            return
        named = {id(item): (name, of_model) for name, item, of_model in _around(facts.step, facts.model)}
        for key, source in facts.watch.values.sources.items():
            tensor = source.source() if key in reached and source.source is not None else None
            if not isinstance(tensor, nn.Parameter):
                continue
            name, of_model = named.get(key, (f"parameter of shape {tuple(tensor.shape)}", False))
            category = UNTRAINED if of_model else OF_LOSS
            yield category, Blame(), name, "it got a gradient and is never stepped"

    def _shared(self) -> Iterator[Finding]:
        by_storage: dict[int, list[tuple[str, Tensor]]] = {}
        for key, (name, parameter) in self._facts.parameters.items():
            storage = storage_of(parameter)
            if storage is not None and key in self._facts.groups and storage.nbytes():
                by_storage.setdefault(storage._cdata, []).append((name, parameter))
        for group in by_storage.values():
            for number, (name, parameter) in enumerate(group if len(group) > 1 else ()):
                here = layout_of(parameter)
                for other, second in group[:number]:
                    there = layout_of(second)
                    if here is not None and there is not None and here.overlaps(there.start, there.stop):
                        yield SHARED, Blame(), f"{other}, {name}", ""

    def _buffers(self) -> Iterator[Finding]:
        facts = self._facts
        for name, kind in facts.buffers_after.items():
            before = facts.buffers_before.get(name, FINITE)
            # an infinity that was there before is a mask
            if kind == NAN or (kind == INF and before in (FINITE, ZERO)):
                detail = f"{kind} before the step" if kind == before else f"{kind} since the step"
                yield BUFFER, Blame(), name, detail

    def _norms(self) -> Iterator[Finding]:
        facts = self._facts
        for name, module in facts.model.named_modules() if facts.watch.norms else ():
            if not isinstance(module, _NormBase) or module.running_mean is None:
                continue
            ran = facts.watch.norms.get(id(module.running_mean))
            own = [id(parameter) for parameter in module.parameters(recurse=False)]
            if ran is None or not own:
                continue
            training, site = ran
            blame, shown = Blame("batch_norm", site), name or "(the model)"
            trained = any(facts.kinds.get(key, NONE) != NONE for key in own)
            if training and id(module.running_mean) in facts.changed and not any(key in facts.trainable for key in own):
                yield NORM_MOVES, blame, shown, ""
            elif not training and trained and (facts.in_train_mode or self._judge_mode):
                yield NORM_STANDS, blame, shown, ""


def _around(step: Callable[[], Any], model: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Parameters of modules that the step's function reaches, by name; and whether they are the model's, hidden."""
    for name, value in _reached(step, _DEPTH):
        if isinstance(value, nn.Module) and value is not model:
            for path, parameter in value.named_parameters():
                yield f"{name}.{path}", parameter, False
        elif isinstance(value, nn.Parameter):
            yield name, value, False
    for item in full_inventory(model):
        yield item.name, item.tensor, True


def _reached(value: Any, depth: int, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, value
    if depth == 0:
        return
    if isinstance(value, functools.partial):
        yield from _reached(value.func, depth, name)
        for item in (*value.args, *value.keywords.values()):
            yield from _reached(item, depth - 1, name)
    elif isinstance(value, MethodType):
        yield from _reached(value.__func__, depth, name)
        for key, item in getattr(value.__self__, "__dict__", {}).items():
            yield key, item
    elif isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        inside = [(key, content) for key, cell in cells for content in cell_content(cell)]
        globals_ = [(key, value.__globals__[key]) for key in value.__code__.co_names if key in value.__globals__]
        for key, item in (*inside, *globals_):
            yield from _reached(item, depth - 1, key)
