"""The evolved network of a run as files that load without the lab."""

from lab.export.module import plain_module
from lab.export.program import export_onnx, export_program, onnx_outputs
from lab.export.report import ExportReport
from lab.export.run import FORMATS, choose_checkpoint, export_network, export_run

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
