"""The evolved network of a run as files that load without the lab."""

from .module import plain_module
from .program import export_onnx, export_program, onnx_outputs
from .report import ExportReport
from .run import FORMATS, choose_checkpoint, export_network, export_run

__all__ = [
    "FORMATS",
    "ExportReport",
    "choose_checkpoint",
    "export_network",
    "export_onnx",
    "export_program",
    "export_run",
    "onnx_outputs",
    "plain_module",
]
