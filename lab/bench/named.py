"""What a text names of a faulty line: the line itself, only the operation or the tensor, or neither.

The rule knows nothing of who wrote the text, so that it is the same for every tool. A line counts where its file and
number stand in the text (as `file.py:12` or as in a traceback), or its source. A name counts where the text has the
case's tensor as a word of its own, or an operation of torch that the line calls, written as code (`sqrt(`,
`SqrtBackward0`, `aten.sqrt`, `sqrt_1_3`, `'sqrt'`).
"""

import ast
import linecache
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

LINE, NAMED, MISSED = "line", "name", "missed"
_SYMBOLS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Add: ("add",),
    ast.Sub: ("sub",),
    ast.Mult: ("mul",),
    ast.Div: ("div",),
    ast.MatMult: ("matmul", "mm"),
    ast.Gt: ("gt",),
    ast.Lt: ("lt",),
}
_EVERYWHERE = ("backward",)
"""Stands in every traceback through autograd, so that it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What can be named of a case: its marked lines, and the tensor that it asks for."""

    lines: tuple[tuple[str, int], ...] = ()
    """Files and numbers; none where the fault has no line."""
    tensor: str = ""
    """Name of a tensor or module; empty where only the line matters."""


def what_is_named(text: str, fault: Fault) -> str:
    """`line`, `name` or `missed`."""
    if any(_holds_line(text, path, line) for path, line in fault.lines):
        return LINE
    operations = {name for path, line in fault.lines for name in operations_of(linecache.getline(path, line))}
    return NAMED if _holds_tensor(text, fault.tensor) or _holds_operation(text, operations) else MISSED


def operations_of(line: str) -> frozenset[str]:
    """Operations of torch that a line of source calls by name or by a symbol; none where it is no whole statement."""
    try:
        tree = ast.parse(f"def line():\n    {line.strip()}\n")
    except SyntaxError:
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = str(getattr(node.func, "attr", "") or getattr(node.func, "id", ""))
            if any(hasattr(place, name) for place in (torch, Tensor, F)):
                found.add(name.rstrip("_"))
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            found.update(_SYMBOLS.get(type(node.op), ()))
        elif isinstance(node, ast.Compare):
            found.update(name for symbol in node.ops for name in _SYMBOLS.get(type(symbol), ()))
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.update(("setitem", "index_put", "copy"))
    return frozenset(found.difference(_EVERYWHERE))


def _holds_line(text: str, path: str, line: int) -> bool:
    file = Path(path)
    names = (path, f"{file.parent.name}/{file.name}")
    where = "|".join((*map(re.escape, names), rf"(?<![\w./-]){re.escape(file.name)}"))
    if re.search(rf'(?:{where})(?::|", line ){line}\b', text):
        return True
    source = linecache.getline(path, line).partition("#")[0].strip()
    return bool(source) and source in text


def _holds_tensor(text: str, tensor: str) -> bool:
    if not tensor:
        return False
    name = re.escape(tensor)
    if re.search("[a-z]", tensor):
        return re.search(rf"(?<!\w){name}(?!\w|\.\w)", text) is not None
    # A module of a Sequential is a number: quoted, in parentheses, before a weight's name, or a table's own cell.
    return re.search(rf"['\"(]{name}['\")]|(?<![\w.]){name}\.[a-z]|(?m:(?:^|  ){name}(?:$|  ))", text) is not None


def _holds_operation(text: str, operations: Iterable[str]) -> bool:
    for operation in operations:
        node, name = re.escape(operation.replace("_", "")), re.escape(operation)
        called = rf"{name}_?(?:\(|_\d|['\"`])"
        if re.search(rf"(?i)\b{node}backward\d|\baten(?:\.|::){name}|(?<![a-z0-9_]){called}", text):
            return True
    return False
