"""Optional packages: which extra of the distribution brings them, and the error where they are not installed."""

import importlib.util
from collections.abc import Collection, Mapping
from types import MappingProxyType

from lab.base.errors import ConfigError

DISTRIBUTION = "asose-lab"
"""The name to install by; the import is `lab`."""
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "page": ("streamlit", "plotly"),
        "notebooks": ("plotly", "anywidget", "ipywidgets", "jupyterlab"),
        "tune": ("optuna", "optuna_dashboard", "psycopg"),
        "text": ("transformers", "safetensors"),
        "export": ("onnx", "onnxscript", "onnxruntime"),
        "peers": ("timm", "torchlens", "torchinfo", "accelerate", "torch_pruning", "gromo", "peft"),
        "dev": ("playwright",),
    }
)
"""Extra -> what the lab imports of its packages."""


def missing_extra(extra: str, purpose: str, *missing: str, otherwise: str = "") -> ConfigError:
    """The error of a missing optional package, to be raised.

    Args:
        extra: a name of EXTRAS.
        purpose: what the packages are for, readable after "for".
        missing: the packages that are not there; all of the extra's without one.
        otherwise: what can be done instead of installing, readable after "or".
    """
    names = missing or EXTRAS[extra]
    hint = f"run pip install '{DISTRIBUTION}[{extra}]'" + (f", or {otherwise}" if otherwise else "")
    return ConfigError(f"{', '.join(names)} for {purpose}", f"no {', '.join(names)}", hint)


def require_extra(extra: str, purpose: str, packages: Collection[str] = (), *, otherwise: str = "") -> None:
    """Raise unless the packages of an extra, or those of it that `packages` names, can be imported.

    Raises:
        ConfigError: one of them is not installed.
    """
    missing = [name for name in packages or EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise missing_extra(extra, purpose, *missing, otherwise=otherwise)
