"""`Genotype`: the primitive on each edge, as a frozen value with JSON, a digest and a difference."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lab.base import ConfigError
from lab.space.space import ABSENT, ALL_SPACES, NB201, Edge, Space


class Edit(NamedTuple):
    """One changed edge; `old` or `new` is `ABSENT` where the edge was not or is no longer taken."""

    edge: Edge
    """The edge that changes."""
    old: str
    """Its primitive before."""
    new: str
    """Its primitive afterwards."""

    def __str__(self) -> str:
        return f"{self.edge}: {self.old} -> {self.new}"


@dataclass(frozen=True)
class Genotype:
    """The cells of `space`: `primitives[i]` stands on `space.edges[i]`, `ABSENT` on an edge that is not taken.

    Raises:
        ConfigError: a primitive that the space does not have, another number of them than edges, or a node that takes
            another number of edges than `space.taken`.
    """

    space: Space
    """Gives edges and primitives."""
    primitives: tuple[str, ...]
    """One for each edge, in the order of `space.edges`."""

    def __post_init__(self) -> None:
        space = self.space
        if len(self.primitives) != len(space.edges):
            raise ConfigError(
                f"{len(space.edges)} primitives for space {space.name}",
                f"{len(self.primitives)}",
                "give one primitive for each edge, in the order of space.edges",
            )
        allowed = space.choosable if space.taken is None else (*space.choosable, ABSENT)
        for edge, primitive in zip(space.edges, self.primitives, strict=True):
            if primitive not in allowed:
                raise ConfigError(
                    f"a primitive of space {space.name} on edge {edge}: {', '.join(allowed)}",
                    repr(primitive),
                    "correct that edge",
                )
        for rows in space.groups if space.taken is not None else ():
            sources = [space.edges[row].source for row in rows if self.primitives[row] != ABSENT]
            if len(sources) != space.taken:
                cell, target, _ = space.edges[rows[0]]
                raise ConfigError(
                    f"{space.taken} edges into node {target} of the {cell} cell, from different nodes",
                    f"{len(sources)} (from {', '.join(map(str, sources)) or 'nowhere'})",
                    "take that many",
                )

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the edges that are taken."""
        return tuple(row for row, primitive in enumerate(self.primitives) if primitive != ABSENT)

    @property
    def indices(self) -> tuple[int, ...]:
        """Column of each edge's primitive in `space.primitives`; -1 where the edge is not taken."""
        columns = {primitive: column for column, primitive in enumerate(self.space.primitives)} | {ABSENT: -1}
        return tuple(columns[primitive] for primitive in self.primitives)

    @classmethod
    def from_indices(cls, space: Space, indices: Iterable[int]) -> "Genotype":
        """The genotype whose `indices` these are."""
        return cls(space, tuple(ABSENT if column < 0 else space.primitives[column] for column in indices))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that differ where the genotype does."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def replace(self, edge: Edge, primitive: str) -> "Genotype":
        """The same cell with `primitive` on `edge`."""
        return self.edit((Edit(edge, self.primitives[self.space.edge_index(edge)], primitive),))

    def edit(self, edits: Iterable[Edit]) -> "Genotype":
        """The genotype after `edits`, all made at once: so one edge of a node can take the place of another.

        Raises:
            ConfigError: an edit's `old` is not what stands on its edge, or the result is no genotype of the space.
        """
        changed = list(self.primitives)
        for edit in edits:
            row = self.space.edge_index(edit.edge)
            if self.primitives[row] != edit.old:
                raise ConfigError(f"{edit.old} on edge {edit.edge}", self.primitives[row], "edit this genotype")
            changed[row] = edit.new
        return Genotype(self.space, tuple(changed))

    def diff(self, other: "Genotype") -> tuple[Edit, ...]:
        """The edits that turn this genotype into `other`, in the order of the edges.

        Raises:
            ConfigError: the two belong to different spaces.
        """
        if other.space != self.space:
            raise ConfigError(f"a genotype of space {self.space.name}", other.space.name, "compare within one space")
        rows = zip(self.space.edges, self.primitives, other.primitives, strict=True)
        return tuple(Edit(edge, old, new) for edge, old, new in rows if old != new)

    def to_json(self) -> dict[str, Any]:
        """`{"space": name, "cells": {cell type: [[target, source, primitive], ...]}}`, the edges that are taken."""
        cells: dict[str, list[list[Any]]] = {}
        for edge, primitive in zip(self.space.edges, self.primitives, strict=True):
            if primitive != ABSENT:
                cells.setdefault(edge.cell, []).append([edge.target, edge.source, primitive])
        return {"space": self.space.name, "cells": cells}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Genotype":
        """The genotype that `to_json` wrote.

        Raises:
            ConfigError: another form, an unknown space, or edges that the space does not have, or twice.
        """
        if (
            not isinstance(data, Mapping)
            or data.get("space") not in ALL_SPACES
            or not isinstance(data.get("cells"), dict)
        ):
            raise ConfigError(
                f"a genotype as written by to_json, space one of {', '.join(ALL_SPACES)}",
                f"{data!r:.80}",
                "check the file",
            )
        space = ALL_SPACES[data["space"]]
        found: dict[Edge, str] = {}
        try:
            for cell, rows in data["cells"].items():
                for target, source, primitive in rows:
                    edge = Edge(cell, target, source)
                    if type(target) is not int or type(source) is not int:
                        raise TypeError(f"{edge} between nodes that are no whole numbers")
                    if edge in found:
                        raise ValueError(f"{edge} a second time")
                    found[edge] = primitive
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError("rows of target, source, primitive", str(error), "check the file") from error
        if not set(found) <= set(space.edges) or (space.taken is None and len(found) < len(space.edges)):
            raise ConfigError(
                f"exactly the edges of space {space.name}", ", ".join(map(str, sorted(found))), "check the file"
            )
        return cls(space, tuple(found.get(edge, ABSENT) for edge in space.edges))

    @property
    def arch_str(self) -> str:
        """The cell in NAS-Bench-201's notation, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

        Raises:
            ConfigError: the space is another one.
        """
        if self.space != NB201:
            raise ConfigError("a genotype of space nb201", self.space.name, "use to_json for this space")
        groups: dict[int, str] = {}
        for edge, primitive in zip(self.space.edges, self.primitives, strict=True):
            groups[edge.target] = groups.get(edge.target, "|") + f"{primitive}~{edge.source}|"
        return "+".join(groups.values())

    @classmethod
    def from_arch_str(cls, text: str) -> "Genotype":
        """The genotype behind a text in NAS-Bench-201's notation.

        Raises:
            ConfigError: the text has another form.
        """
        found: dict[Edge, str] = {}
        for target, group in enumerate(text.strip().split("+"), start=1):
            for part in group.strip("|").split("|"):
                primitive, _, source = part.partition("~")
                if source.isdigit():
                    found[Edge("cell", target, int(source))] = primitive
        if set(found) != set(NB201.edges):
            raise ConfigError("|op~0|+|op~0|op~1|+|op~0|op~1|op~2|", repr(text), "write one primitive for each edge")
        return cls(NB201, tuple(found[edge] for edge in NB201.edges))

    def __str__(self) -> str:
        several = len({edge.cell for edge in self.space.edges}) > 1
        pairs = [(self.space.edges[row], self.primitives[row]) for row in self.rows]
        return ", ".join(
            f"{edge.cell + ' ' if several else ''}{edge.target}<-{edge.source} {primitive}" for edge, primitive in pairs
        )
