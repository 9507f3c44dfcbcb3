"""What the user's own code raises, told in one line with the user's own frames.

A frame is the user's own where its file belongs neither to Python, nor to an installed package, nor to this package.
"""

import linecache
import os
import sysconfig
import traceback
from types import TracebackType

from lab.base.errors import ConfigError, LabError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_TORCH = f"{os.sep}torch{os.sep}"
_SHOWN = 4
"""Frames in a message, at most."""


class UserCode:
    """Inside, the user's own code runs; an error of it leaves as a `ConfigError` with its own lines.

    Errors of this package that did not come through the user's code leave as they are, as does what interrupts.

    Args:
        name: what runs, as the user calls it: `my_module:make_model`, `forward`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception | SystemExit):
            return
        frames = list(reversed(traceback.extract_tb(trace)))
        places = [_place(frame) for frame in frames if _is_own(frame.filename)]
        foreign = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
        if isinstance(error, SyntaxError) and error.filename and error.text:
            source = error.text.strip()
            places = [f"{_relative(error.filename)}:{error.lineno}: {source}", *places]
        if not places and (isinstance(error, LabError) or not foreign):
            return
        text = str(error.msg if isinstance(error, SyntaxError) else error)
        got = f"{type(error).__name__}{f': {text}' if text else ''}"
        # Without a frame of the user's own, the library that the user called: its line, but no line of torch.
        library = (_place(frame) for frame in foreign if _is_installed(frame.filename) and _TORCH not in frame.filename)
        shown = places[:_SHOWN] or list(library)[:1]
        if shown:
            got = f"{got} at {'; called at '.join(shown)}"
        raise ConfigError(f"{self._name} to run", got, "correct it there") from error


def _is_own(filename: str) -> bool:
    # "<frozen importlib._bootstrap>" and other code without a file.
    return not filename.startswith((_PACKAGE, *_STANDARD, "<")) and not _is_installed(filename)


def _is_installed(filename: str) -> bool:
    return any(folder in filename for folder in _INSTALLED)


def _place(frame: traceback.FrameSummary) -> str:
    source = linecache.getline(frame.filename, frame.lineno or 0).strip()
    where = f"{_relative(frame.filename)}:{frame.lineno} in {frame.name}"
    return f"{where}: {source}" if source else where


def _relative(filename: str) -> str:
    inside = filename.startswith(os.getcwd() + os.sep)
    return os.path.relpath(filename) if inside else filename
