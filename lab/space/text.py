"""Genotypes as one line of text: NAS-Bench-201's notation, and the named tuple in which DARTS cells are published.

Source of the latter: Liu, Simonyan, Yang 2019, "DARTS", the code that came with it: for each node two pairs of
primitive and source, nodes in order; the nodes that the output joins.
"""

import ast

from lab.base import ConfigError
from lab.space.genotype import Genotype
from lab.space.space import ABSENT, DARTS, Edge

FORM = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6), "
    "reduce=[...], reduce_concat=range(2, 6))"
)
CELLS = ("normal", "reduce")
LONGEST = 4_000
"""Characters above which a text is not read: no genotype has so many."""


def genotype_text(genotype: Genotype) -> str:
    """`genotype` in the notation in which cells of its space are published; `parse_genotype` reads it back.

    Args:
        genotype: of any space.

    Returns:
        `|op~0|+|op~0|op~1|+...` (Dong and Yang 2020, NAS-Bench-201), for DARTS `Genotype(normal=[...], ...)` (Liu et
        al. 2019).
    """
    if genotype.space != DARTS:
        return genotype.arch_str
    lists = {
        cell: [
            (genotype.primitives[row], DARTS.edges[row].source)
            for row in genotype.rows
            if DARTS.edges[row].cell == cell
        ]
        for cell in CELLS
    }
    joined = f"range({DARTS.outputs[0]}, {DARTS.outputs[-1] + 1})"
    return f"Genotype({', '.join(f'{cell}={lists[cell]}, {cell}_concat={joined}' for cell in CELLS)})"


def parse_genotype(text: str) -> Genotype:
    """The genotype behind a text; nothing in it is run.

    Args:
        text: `Genotype(normal=..., ...)` for a cell of `DARTS`, else NAS-Bench-201's notation.

    Raises:
        ConfigError: another form, an unknown primitive, or a node that takes other than two different edges.
    """
    if not text.lstrip().startswith("Genotype"):
        return Genotype.from_arch_str(text)
    fields = _fields(text)
    found: dict[Edge, str] = {}
    for cell in CELLS:
        if fields[f"{cell}_concat"] != DARTS.outputs:
            raise ConfigError(f"{cell}_concat=range(2, 6)", repr(fields[f"{cell}_concat"]), "join all four nodes")
        pairs = _pairs(cell, fields[cell])
        for place, (primitive, source) in enumerate(pairs):
            edge = Edge(cell, 2 + place // 2, source)
            if edge not in DARTS.edges or edge in found:
                raise ConfigError(
                    f"two different nodes before node {edge.target} of the {cell} cell as its sources",
                    f"{source} at pair {place}",
                    "correct that source",
                )
            found[edge] = primitive
    return Genotype(DARTS, tuple(found.get(edge, ABSENT) for edge in DARTS.edges))


def _fields(text: str) -> dict[str, object]:
    """Field -> its value, a range as a tuple."""
    try:
        tree = ast.parse(text.strip() if len(text) <= LONGEST else "", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.func.id != "Genotype":
            raise ValueError("no Genotype(...)")
        names = [keyword.arg for keyword in tree.keywords]
        if tree.args or sorted(map(str, names)) != ["normal", "normal_concat", "reduce", "reduce_concat"]:
            raise ValueError("other fields")
        return {str(keyword.arg): _value(keyword.value) for keyword in tree.keywords}
    # Python parsers end deeply nested text with one of the last two.
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigError(FORM, f"{text!r:.80} ({error})", "write all four fields in that form") from error


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        return tuple(range(*(ast.literal_eval(argument) for argument in node.args)))
    value = ast.literal_eval(node)
    return tuple(value) if isinstance(value, list) else value


def _pairs(cell: str, value: object) -> list[tuple[str, int]]:
    """Two pairs of primitive and source for each node."""
    count = 2 * len(DARTS.outputs)
    found = [
        (pair[0], pair[1])
        for pair in (value if isinstance(value, tuple) else ())
        if isinstance(pair, tuple | list) and len(pair) == 2 and type(pair[0]) is str and type(pair[1]) is int
    ]
    if not isinstance(value, tuple) or len(found) != count or len(value) != count:
        raise ConfigError(f"{cell} as a list of {count} pairs (primitive, source)", f"{value!r:.60}", f"write {FORM}")
    return found
