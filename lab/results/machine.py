"""What a figure was measured on."""

import os
import platform
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Cores, threads, versions and accelerator, as JSON data."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
