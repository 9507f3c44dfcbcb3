"""`AddExpert`: one more expert in a router, without change of output."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lab.base import MorphError, derive_seed
from lab.mahia import ExpertRouter
from lab.morph.morph import Draft, Morph
from lab.morph.steps import Append, SetAttribute, Step
from lab.morph.trace import Example, run
from lab.morph.twins import MODEL_ERRORS, copied
from lab.morph.widths import find_module


@dataclass(frozen=True)
class AddExpert(Morph):
    """One more expert in the `ExpertRouter` at `moe`.

    Without `source` it is a fresh one with a slot of its own. A gate row, however low, would take mass from the others
    for some token; so the slot is closed: its logit is -inf, its probability exactly 0. Over `steps` forwards in train
    mode `opening` goes from 0 to 1 and adds log(opening) to the logit, and the expert competes more and more.

    With `source` it is a copy of that expert. Two equal gate rows would take two of the k places; so both halves share
    one place: a hyperplane through the tokens of `source`, at their median on the example, sends each token to one of
    them. Slots, weights and computation stay as they are, and as the halves see other tokens they do not stay twins.
    Half of the optimizer's first moments and a quarter of the second go to the copy.

    What is exact is the output. The balance loss counts experts: at a split it asks that each half gets as much as the
    others from then on; a closed expert does not count.
    """

    moe: str
    """Name of an `ExpertRouter` without a capacity; "" for the model itself."""
    source: int | None = None
    """Number of the expert that is split; None for a fresh one."""
    steps: int = 100
    """Forwards in train mode until a fresh expert is fully open, >= 1."""
    name: ClassVar[str] = "add_expert"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        router = self._router(model)
        if self.steps < 1:
            raise MorphError("steps >= 1", f"steps = {self.steps}", "give a number of forwards in train mode")
        names = {id(tensor): name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
        if self.source is None:
            return self._fresh(router, names, seed)
        if not 0 <= self.source < router.num_experts:
            expected = f"an expert from 0 to {router.num_experts - 1}"
            raise MorphError(expected, f"source = {self.source}", "name one of them, or None for a fresh one")
        tokens_TD = _tokens_of(model, router, self.source, example)
        return self._split(router, names, seed, tokens_TD)

    def _router(self, model: nn.Module) -> ExpertRouter:
        router = find_module(model, self.moe) if self.moe else model
        if not isinstance(router, ExpertRouter):
            found = [name for name, module in model.named_modules() if isinstance(module, ExpertRouter)]
            hint = f"name one of {', '.join(map(repr, found))}" if found else "build the model with one"
            raise MorphError("the name of an ExpertRouter", f"{type(router).__name__} {self.moe!r}", hint)
        if router.capacity_factor is not None:
            got = f"capacity_factor = {router.capacity_factor}"
            hint = "each expert's room would shrink with their number; set capacity_factor to None"
            raise MorphError("a router without a capacity", got, hint)
        own = {id(tensor) for tensor in (*router.parameters(), *router.buffers())}
        for path, other in model.named_modules():
            if isinstance(other, ExpertRouter) and other is not router and own & {id(p) for p in other.parameters()}:
                raise MorphError("weights that one router has", f"{path!r}, which shares them", "untie them first")
        return router

    def _fresh(self, router: ExpertRouter, names: dict[int, str], seed: int) -> Draft:
        experts, gate = router.experts, router.gate
        steps: list[Step] = [
            _drawn(names, gate.weight, seed, bound=_row_bound(router)),
            _drawn(names, gate.threshold, seed),
            _drawn(names, gate.state.get_buffer("opening"), seed),
            _drawn(names, experts.gate_up, seed, bound=1.0 / sqrt(experts.gate_up.shape[-1])),
            _drawn(names, experts.down, seed, bound=1.0 / sqrt(experts.down.shape[-1])),
        ]
        if router.state is not None:
            bias_E = router.state.get_buffer("selection_bias")
            steps.append(_drawn(names, bias_E, seed, fill=float(bias_E.mean())))
        path = self._gate_path()
        steps.append(SetAttribute(module=path, attribute="origins", value=(*gate.origins, gate.OWN_SLOT)))
        steps.append(SetAttribute(module=path, attribute="opening_rate", value=1.0 / self.steps))
        note = f"expert {router.num_experts}, closed; it opens over {self.steps} forwards in train mode"
        return Draft(steps=tuple(steps), note=note)

    def _split(self, router: ExpertRouter, names: dict[int, str], seed: int, tokens_TD: Tensor) -> Draft:
        experts, gate, source = router.experts, router.gate, self.source
        assert source is not None
        row = _drawn(names, gate.weight, seed, bound=_row_bound(router))
        places_T = tokens_TD.double() @ row.drawn(gate.weight.detach().double())
        middle = float(places_T.quantile(0.5))
        steps: list[Step] = [
            row,
            _drawn(names, gate.threshold, seed, fill=middle),
            _drawn(names, gate.state.get_buffer("opening"), seed, fill=1.0),
            Append(tensor=names[id(experts.gate_up)], source=source),
            Append(tensor=names[id(experts.down)], source=source),
        ]
        if router.state is not None:
            steps.append(Append(tensor=names[id(router.state.get_buffer("selection_bias"))], source=source))
        origins = (*gate.origins, source)
        steps.append(SetAttribute(module=self._gate_path(), attribute="origins", value=origins))
        goes = int((places_T > middle).sum())
        note = f"expert {router.num_experts} takes {goes} of {len(tokens_TD)} tokens of expert {source} on the example"
        return Draft(steps=tuple(steps), note=note)

    def _gate_path(self) -> str:
        return f"{self.moe}.gate" if self.moe else "gate"


def _drawn(names: dict[int, str], tensor: Tensor, seed: int, *, fill: float = 0.0, bound: float = 0.0) -> Append:
    name = names[id(tensor)]
    return Append(tensor=name, fill=fill, bound=bound, seed=derive_seed(seed, "add_expert", name))


def _row_bound(router: ExpertRouter) -> float:
    """Bound of uniform draws with the mean square that the gate's rows have."""
    # Uniform draws within b have the mean square b^2 / 3.
    return sqrt(3.0 * float(router.gate.weight.detach().double().square().mean()))


def _tokens_of(model: nn.Module, router: ExpertRouter, expert: int, example: Example) -> Tensor:
    """The tokens (T, D) of the example that go to `expert`.

    Raises:
        MorphError: the forward fails, or no token does.
    """
    quiet = copied(model).eval()
    # Any of its names leads to it in the copy.
    inner: Any = quiet.get_submodule(next(name for name, module in model.named_modules() if module is router))
    seen: list[Tensor] = []

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.append(args[0][(output.experts_TK == expert).any(dim=1)])

    handle = inner.gate.register_forward_hook(note)
    try:
        with torch.no_grad():
            run(quiet, example)
    except MODEL_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise MorphError("a forward that runs on the example", line, "give an example that the model takes") from error
    finally:
        handle.remove()
    if not seen or not sum(map(len, seen)):
        got = "none does" if seen else "the router was never called"
        raise MorphError(
            f"an example with tokens that go to expert {expert}", got, "give more tokens, or another source"
        )
    return torch.cat(seen)
