"""The kinds of fault that keep a model from learning, and how each is repaired."""

from dataclasses import dataclass
from typing import Any

from lab.doctor.calls import CAST, CHECKPOINT, DETACH, NO_GRAD, OPERATION
from lab.doctor.place import Place
from lab.doctor.values import TO_PYTHON

FORWARD = "not finite in forward"
BACKWARD = "gradient not finite"
OVERFLOW = "float16 overflow"
FLAT = "operation whose gradient is zero"
ZERO = "every gradient is zero"
UNREAD = "parameter that no operation read"
UNUSED = "result that the loss does not use"
CUTS = {
    DETACH: "graph cut by detach",
    NO_GRAD: "graph cut by no_grad",
    TO_PYTHON: "graph cut by a value taken to Python",
    CAST: "graph cut by a cast to whole numbers",
    OPERATION: "graph cut by an operation without a gradient",
    CHECKPOINT: "graph cut by a reentrant checkpoint",
}
NO_GRAPH = "loss that depends on no parameter"
FROZEN = "no parameter requires a gradient"
UNTRAINED = "trained parameter outside the optimizer"
OF_LOSS = "weights of the loss outside the optimizer"
SHARED = "two parameters over one storage"
INPUT = "input not finite"
PARAMETER = "parameter not finite"
BUFFER = "buffer not finite"
NORM_MOVES = "frozen BatchNorm that moves"
NORM_STANDS = "BatchNorm in eval mode while trained"
REDRAWN = "random numbers drawn anew in a recompute"
ERASED = "gradient erased before the step"
LOST = "step lost in rounding"

TRAINING_FIXES = {
    FORWARD: "keep the operation's input inside its domain: clamp it, or add a small number, before the operation",
    BACKWARD: "keep the operation's input inside its domain: torch.where hides a value, not its gradient "
    "(`torch.where(ok, torch.where(ok, x, 1.0).sqrt(), x)`)",
    OVERFLOW: "run the operation in float32 or bfloat16, or scale the loss (torch.amp.GradScaler)",
    FLAT: "pass the gradient straight through: `x + (x.round() - x).detach()`",
    ZERO: "look at that line: the loss does not change with its input (a softmax over one value, a saturated unit)",
    UNREAD: "call the module in forward, or remove it; a copy or another object of the same values is not trained",
    UNUSED: "use the result, or remove the module",
    CUTS[DETACH]: "go on with the tensor itself; detach only what must not be trained",
    CUTS[NO_GRAD]: "compute what is trained outside torch.no_grad() and torch.inference_mode()",
    CUTS[TO_PYTHON]: "stay in torch (torch.stack, torch.cat); numbers and arrays carry no gradient",
    CUTS[CAST]: "keep floating values on the way to the loss",
    CUTS[OPERATION]: "use what has a gradient: softmax for argmax, a sigmoid for a comparison",
    CUTS[CHECKPOINT]: "checkpoint(..., use_reentrant=False), or an input that requires a gradient",
    NO_GRAPH: "compute the loss from the model's output",
    FROZEN: "requires_grad_(True) on what is to be trained",
    UNTRAINED: "give it to the optimizer (add_param_group), or requires_grad_(False)",
    OF_LOSS: "give the loss's parameters to the optimizer: [*model.parameters(), *loss.parameters()]",
    SHARED: "register one Parameter under both names: it is stepped twice now, each time from a part of the gradient",
    INPUT: "clean the data (torch.nan_to_num, or leave such items out)",
    PARAMETER: "initialise it, or load weights that are whole",
    BUFFER: "compute it anew; values that are not a number spread to every result",
    NORM_MOVES: "module.eval() on it, after model.train(): its statistics move while its weights stay",
    NORM_STANDS: "model.train() before the step, or requires_grad_(False) on it",
    REDRAWN: "checkpoint(..., preserve_rng_state=True): the gradient is of another function than the loss",
    ERASED: "call zero_grad() before backward or after the step",
    LOST: "keep weights in float32 (torch.autocast), or take larger steps: the change is below the dtype's precision",
}


@dataclass(frozen=True, kw_only=True)
class LearningFinding:
    """One reason why something does not learn."""

    category: str
    """Kind of fault, one of those in `lab.doctor.training_faults.TRAINING_FIXES`."""
    names: tuple[str, ...]
    """The parameters, buffers or modules that it holds up."""
    operation: str
    """The operation at fault; empty where there is none."""
    place: Place | None
    """Its line; None: not seen."""
    detail: str
    """What was seen."""

    @property
    def fix(self) -> str:
        """What to do."""
        return TRAINING_FIXES[self.category]

    @property
    def because(self) -> str:
        """The operation with its line."""
        if self.place is None:
            return self.operation
        return f"{self.operation} at {self.place}" if self.operation else str(self.place)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready data."""
        place = None if self.place is None else self.place.to_dict()
        return {**vars(self), "names": list(self.names), "place": place, "fix": self.fix}

    def rows(self) -> tuple[tuple[str, str], ...]:
        """What is known, one fact a row."""
        facts = (
            ("what", some(self.names)),
            ("because of", self.because),
            ("seen", self.detail),
            ("fix", self.fix),
        )
        return tuple(fact for fact in facts if fact[1])


def some(names: tuple[str, ...]) -> str:
    """The names, of many the first three and how many more."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
