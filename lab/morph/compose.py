"""`Compose`: several additions at once, each with a gate of its own."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lab.base import MorphError
from lab.morph.inserts import AddBranch, Deepen, InsertAttention, InsertResidual
from lab.morph.morph import Draft, Morph
from lab.morph.steps import Step
from lab.morph.trace import Example

ADDITIONS = (AddBranch, Deepen, InsertAttention, InsertResidual)


@dataclass(frozen=True)
class Compose(Morph):
    """The additions `parts`, in order; each wraps what stands there by then, so all see the shapes of the old model."""

    parts: tuple[Morph, ...]
    """At least two of AddBranch, Deepen, InsertAttention and InsertResidual (of one name), no kind twice."""
    name: ClassVar[str] = "compose"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        wrong = [part for part in self.parts if not isinstance(part, ADDITIONS) or _spans(part)]
        if len({type(part) for part in self.parts}) < max(len(self.parts), 2) or wrong:
            got = repr(wrong[0]) if wrong else f"{len(self.parts)} parts: {', '.join(p.name for p in self.parts)}"
            raise MorphError("two or more additions of different kinds, at one name each", got, "apply others in turn")
        steps: list[Step] = []
        notes = []
        for part in self.parts:
            draft = part.build_steps(model, example, seed)
            steps += draft.steps
            notes.append(draft.note)
        return Draft(steps=tuple(steps), note="; ".join(filter(None, notes)))


def _spans(part: Morph) -> bool:
    return isinstance(part, InsertResidual) and not isinstance(part.span, str)
