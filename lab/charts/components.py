"""What each component of a model needs in bytes, from a run's scalars `component/NAME/KIND`. No Plotly: the command
line prints them too."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

COMPONENT = "component/"
"""What the names of a component's numbers begin with."""
WHOLE = "(whole model)"
"""Name of the whole model among its components."""
KINDS: Mapping[str, str] = {
    "parameters": "parameters",
    "state": "state",
    "kept": "kept for backward",
    "peak": "peak",
}


@dataclass(frozen=True, kw_only=True)
class ComponentBytes:
    """What one component of a model needs, in bytes."""

    name: str
    parameters: float
    state: float
    """Its buffers."""
    kept: float
    """Alive after its forward, for backward."""
    peak: float
    """Most alive at once in its forward and backward."""


def component_bytes(numbers: Mapping[str, float]) -> tuple[ComponentBytes, ...]:
    """The components that scalars tell of, by their last values, in the model's order; those told in part are left
    out."""
    found: dict[str, dict[str, float]] = {}
    for name, value in numbers.items():
        if name.startswith(COMPONENT):
            component, _, kind = name.removeprefix(COMPONENT).rpartition("/")
            found.setdefault(component, {})[kind] = value
    whole = [(name, kinds) for name, kinds in found.items() if kinds.keys() >= KINDS.keys()]
    return tuple(ComponentBytes(name=name, **{kind: kinds[kind] for kind in KINDS}) for name, kinds in whole)


def component_table(rows: Sequence[ComponentBytes]) -> list[dict[str, str]]:
    """One row for each component, bytes with thousands separated."""
    return [
        {"component": row.name, **{title: f"{asdict(row)[kind]:,.0f}" for kind, title in KINDS.items()}} for row in rows
    ]
