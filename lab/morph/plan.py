"""`MorphPlan`: one change of a network as data, measured before it is made."""

import json
from dataclasses import dataclass
from typing import Any

from lab.base import MorphError, Report, ReportTable
from lab.morph.steps import Step, Wrap, step_from_dict, step_to_dict
from lab.store import translate_plan

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MorphPlan(Report):
    """What one change does, in names and sizes; no tensor, no module.

    The figures were measured on a copy of the model, in float64, with this very plan.
    """

    op: str
    """Name of the operation, for instance `widen`."""
    arguments: dict[str, Any]
    """What the operation was asked for."""
    steps: tuple[Step, ...]
    """In the order in which they are carried out."""
    units: tuple[int, ...] = ()
    """Old unit of each new unit, where a width changes."""
    old_units: int = 0
    """How many units there were."""
    shares: tuple[float, ...] = ()
    """Share of each new unit in the outgoing weights of its old unit; they add up to 1."""
    seed: int = 0
    """Of everything that was drawn or will be."""
    structure: str
    """Digest of the structure that the plan was made for."""
    weights: str = ""
    """Digest of the weights that it is exact for; empty where it is exact for any, or not exact."""
    exact: bool
    """Whether the function stays what it is (relative difference at most 1e-10)."""
    max_difference: float
    """Largest relative difference of the output, eval and train mode, float64, on the example."""
    parameters: tuple[int, int]
    """Numbers of parameters before and after."""
    flops: tuple[int, int]
    """Floating-point operations of a forward on the example, before and after."""
    note: str = ""
    """What the reader should know, for instance where a shortcut resamples."""

    @property
    def wraps(self) -> bool:
        """Whether modules are added."""
        return any(isinstance(step, Wrap) for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """All fields, JSON-ready."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("units", "shares", "parameters", "flops"):
            data[name] = list(data[name])
        return {"schema": SCHEMA, **data, "steps": [step_to_dict(step) for step in self.steps]}

    def to_json(self) -> str:
        """The plan as one JSON text, for `from_json`."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "MorphPlan":
        """The plan that gave `text`.

        Raises:
            MorphError: the text is no plan.
        """
        try:
            data = translate_plan(json.loads(text))
            if data.pop("schema") != SCHEMA:
                raise MorphError(f"a plan of schema {SCHEMA}", "another one", "make the plan again")
            steps = tuple(step_from_dict(step) for step in _present_steps(data))
            for name in ("units", "shares", "parameters", "flops"):
                data[name] = tuple(data[name])
            return cls(steps=steps, **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MorphError("the JSON text of a plan", f"{type(error).__name__}: {error}", "write it again") from error

    def tables(self) -> tuple[ReportTable, ...]:
        """The change and its price."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        output = ("exact for these weights" if self.weights else "exact") if self.exact else "changed"
        rows = [
            ("change", f"{self.op}({arguments})"),
            ("output", f"{output}, relative difference {self.max_difference:.1e}"),
            ("parameters", f"{self.parameters[0]:,} -> {self.parameters[1]:,}"),
            ("FLOPs", f"{self.flops[0]:,} -> {self.flops[1]:,}"),
        ]
        if self.note:
            rows.append(("note", self.note))
        return (ReportTable(title="Plan", columns=("what", "value"), rows=tuple(rows)),)


def _present_steps(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a plan's data, taken out; those of a swap that earlier versions wrote become a transition."""
    steps: list[dict[str, Any]] = data.pop("steps")
    if not any(step.get("step") == "genotype" for step in steps):
        return steps
    channels = [step["arguments"]["channels"] for step in steps if step["step"] == "wrap"]
    edge, primitive = data["arguments"]["edge"], data["arguments"]["primitive"]
    return [{"step": "transition", "edge": edge, "primitive": primitive, "channels": channels}]
