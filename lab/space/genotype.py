"""`Genotype`: the primitive on each edge, as a frozen value with text forms, a digest and a difference."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lab.base import ConfigError
from lab.space.space import NB201, SPACES, Edge, Space


class Edit(NamedTuple):
    """One changed edge."""

    edge: Edge
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.edge}: {self.old} -> {self.new}"


@dataclass(frozen=True)
class Genotype:
    """One cell of `space`: `primitives[i]` stands on `space.edges[i]`.

    Raises:
        ConfigError: a primitive that the space does not have, or another number of them than edges.
    """

    space: Space
    primitives: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.primitives) != len(self.space.edges):
            raise ConfigError(
                f"{len(self.space.edges)} primitives for space {self.space.name}",
                f"{len(self.primitives)}",
                "give one primitive for each edge, in the order of space.edges",
            )
        for edge, primitive in zip(self.space.edges, self.primitives, strict=True):
            if primitive not in self.space.primitives:
                raise ConfigError(
                    f"a primitive of space {self.space.name} on edge {edge}: {', '.join(self.space.primitives)}",
                    repr(primitive),
                    "correct that edge",
                )

    @property
    def indices(self) -> tuple[int, ...]:
        """Column of each edge's primitive in `space.primitives`."""
        return tuple(self.space.primitives.index(primitive) for primitive in self.primitives)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that differ where the genotype does."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def replace(self, edge: Edge, primitive: str) -> "Genotype":
        """The same cell with `primitive` on `edge`."""
        row = self.space.edge_index(edge)
        return Genotype(self.space, (*self.primitives[:row], primitive, *self.primitives[row + 1 :]))

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
        """`{"space": name, "cells": {cell type: [[target, source, primitive], ...]}}`."""
        cells: dict[str, list[list[Any]]] = {}
        for edge, primitive in zip(self.space.edges, self.primitives, strict=True):
            cells.setdefault(edge.cell, []).append([edge.target, edge.source, primitive])
        return {"space": self.space.name, "cells": cells}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Genotype":
        """The genotype that `to_json` wrote.

        Raises:
            ConfigError: another form, an unknown space, or edges that the space does not have.
        """
        if not isinstance(data, Mapping) or data.get("space") not in SPACES or not isinstance(data.get("cells"), dict):
            raise ConfigError(
                f"a genotype as written by to_json, space one of {', '.join(SPACES)}", f"{data!r:.80}", "check the file"
            )
        space = SPACES[data["space"]]
        found: dict[Edge, str] = {}
        for cell, rows in data["cells"].items():
            for row in rows:
                found[Edge(cell, int(row[0]), int(row[1]))] = row[2]
        if set(found) != set(space.edges):
            raise ConfigError(
                f"exactly the edges of space {space.name}", ", ".join(map(str, sorted(found))), "check the file"
            )
        return cls(space, tuple(found[edge] for edge in space.edges))

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
        rows = zip(self.space.edges, self.primitives, strict=True)
        return ", ".join(f"{edge.target}<-{edge.source} {primitive}" for edge, primitive in rows)
