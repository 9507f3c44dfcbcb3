"""The devices that a run may ask for, listed without importing torch: what the drivers offer and torch was built for.

CUDA devices are counted by NVIDIA's driver library, as torch counts them (`CUDA_VISIBLE_DEVICES` holds); MPS is taken
to be there on a Mac with Apple's processor. Whether torch can compute on them shows when a run asks for one.
Not covered: AMD's GPUs, which torch calls CUDA devices too.
"""

import ctypes
import importlib.util
import platform
import re
import sys
from pathlib import Path

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
ALL_WELL = 0
"""`CUDA_SUCCESS` of the driver's functions."""


def list_devices() -> tuple[str, ...]:
    """cpu, then cuda:0 and on, then mps: those of this machine that the installed torch was built for."""
    count = count_cuda_devices() if torch_has_cuda() else 0
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return ("cpu", *(f"cuda:{index}" for index in range(count)), *(("mps",) if apple else ()))


def count_cuda_devices() -> int:
    """CUDA devices that the driver offers this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != ALL_WELL or driver.cuDeviceGetCount(ctypes.byref(count)) != ALL_WELL:
        return 0
    return count.value


def torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA, by the text of its `version.py`."""
    # `find_spec` locates a package without importing it: torch takes seconds, and callers only list devices.
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    # A build without CUDA has None there; some versions annotate the name with a type.
    return re.search(r"^cuda\b[^=]*= *['\"]", text, re.MULTILINE) is not None
