"""Where in the user's own source something happened.

A line is the user's when its file belongs neither to torch, nor to the standard library, nor to this package. Covered:
the frames of the calling thread, and those of a traceback. Not covered: threads of the autograd engine that no Python
code called (there is no line then).
"""

import dis
import functools
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

import torch

_TORCH = os.path.dirname(torch.__file__) + os.sep
_OPTIMIZERS = os.path.join(_TORCH, "optim") + os.sep
_DOCTOR = os.path.dirname(__file__) + os.sep
_INSIDES = tuple(os.path.join(_TORCH, name) for name in ("_dynamo", "_compile", "_ops", "_subclasses"))
"""Torch's own way from a call to its kernel, which tells nobody anything."""
_STANDARD = sysconfig.get_path("stdlib") + os.sep
_COMMANDS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "cli") + os.sep
_SITE = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_NOTEBOOK_CELL = re.compile(r"[/\\]ipykernel_\d+[/\\]\d+\.py$")
_USER, _OPTIMIZER, _OTHER = range(3)
_STORE_ITEM = dis.opmap["STORE_SUBSCR"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One line of source."""

    path: str
    """File, as Python names it."""
    line: int
    """Number of the line, from 1."""
    function: str
    """Function that the line is in."""

    @property
    def text(self) -> str:
        """The line itself, without its indentation; empty where the source is not to be had."""
        return linecache.getline(self.path, self.line).strip()

    @property
    def is_command(self) -> bool:
        """The line is of a command of this project, which called for the user: it tells the user nothing."""
        return self.path.startswith(_COMMANDS)

    def __str__(self) -> str:
        inside = os.path.relpath(self.path) if self.path.startswith(os.getcwd() + os.sep) else self.path
        if _NOTEBOOK_CELL.search(self.path):
            inside = "notebook cell"
        source = f": {self.text}" if self.text else ""
        return f"{inside}:{self.line} in {self.function}{source}"

    def to_dict(self) -> dict[str, str | int]:
        """The place as JSON-ready data."""
        return {"path": self.path, "line": self.line, "function": self.function, "text": self.text}


class Site(NamedTuple):
    """A place as it is taken at run time: no text is read, no frame is kept."""

    code: CodeType
    line: int
    instruction: int
    """Offset of the running instruction in the code."""
    optimizer: bool
    """The call came through a step of torch's optimizers."""

    @property
    def place(self) -> Place:
        """The same place for a person."""
        return Place(path=self.code.co_filename, line=self.line, function=self.code.co_qualname)

    @property
    def stores_item(self) -> bool:
        """The running instruction is an assignment to an item, `x[i] = v`."""
        # `co_code` has the instruction as it was compiled, whatever the interpreter specialised it to.
        return self.instruction >= 0 and self.code.co_code[self.instruction] == _STORE_ITEM


def call_site(frame: FrameType | None = None) -> Site | None:
    """The innermost frame of the user's at or above `frame` (default: the caller); None where there is none."""
    frame = frame or sys._getframe(1)
    optimizer = False
    here: FrameType | None = frame
    while here is not None:
        owner = _owner(here.f_code.co_filename)
        if owner == _USER:
            return Site(here.f_code, here.f_lineno, here.f_lasti, optimizer)
        optimizer = optimizer or owner == _OPTIMIZER
        here = here.f_back
    return None


@functools.lru_cache(maxsize=4096)
def _owner(filename: str) -> int:
    if is_users(filename):
        return _USER
    return _OPTIMIZER if filename.startswith(_OPTIMIZERS) else _OTHER


def user_frames(frame: FrameType, entry: CodeType) -> Iterator[FrameType]:
    """The user's frames from `frame` up to the call of `entry`, innermost first."""
    here: FrameType | None = frame
    while here is not None and here.f_code is not entry:
        if is_users(here.f_code.co_filename):
            yield here
        here = here.f_back


def traceback_place(traceback: TracebackType | None) -> tuple[Place | None, bool]:
    """The innermost place of the user's in `traceback`, and whether it is the user's.

    Where no frame is the user's, the innermost frame outside this package is given.
    """
    found: Place | None = None
    other: Place | None = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = Place(path=code.co_filename, line=traceback.tb_lineno, function=code.co_qualname)
        if is_users(code.co_filename):
            found = place
        elif not code.co_filename.startswith((_DOCTOR, *_INSIDES)):
            other = place
        traceback = traceback.tb_next
    return (found or other), found is not None


@functools.lru_cache(maxsize=4096)
def is_users(filename: str) -> bool:
    """Whether the file is neither torch's, nor the standard library's, nor of this package."""
    # "<eval_with_key>" is code that torch.fx generated.
    if filename.startswith((_TORCH, _DOCTOR, "<frozen ", "<eval_with_key>")):
        return False
    # Installed packages often lie inside the folder of the standard library.
    return is_installed(filename) or not filename.startswith(_STANDARD)


@functools.lru_cache(maxsize=65536)
def is_installed(filename: str) -> bool:
    """Whether the file lies in a folder of installed packages."""
    return any(folder in filename for folder in _SITE)
