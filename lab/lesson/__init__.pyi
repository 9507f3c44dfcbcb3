"""What the notebooks stand on: expected errors, live checks, exercises, a run that trains in another process."""

from .check import CheckResult, check
from .dial import Dial
from .drawn import DrawnReport, FateMap, HeatMap, LineDrawing, draw_fates, draw_heat, draw_lines
from .errors import LessonError
from .exercise import Attempt, Exercise, Hints
from .expect import Expectation, expect
from .feed import RunFeed, RunSnapshot
from .follow import Follower, follow
from .graph import GraphDrawing, Operation, SavedValue, draw_graph
from .memory import MemoryBars, MemoryDrawing, draw_memory, memory_bars
from .parameters import ParameterRow, ParameterTable, parameter_table
from .paths import PathDrawing, draw_paths
from .picture import Picture
from .predict import Prediction, PredictionResult, PredictionScore, predict
from .run import RunHandle, start_run
from .session import Session, set_up
from .shares import Shares, share_bars

__all__ = [
    "Attempt",
    "CheckResult",
    "Dial",
    "DrawnReport",
    "Exercise",
    "Expectation",
    "FateMap",
    "Follower",
    "GraphDrawing",
    "HeatMap",
    "Hints",
    "LessonError",
    "LineDrawing",
    "MemoryBars",
    "MemoryDrawing",
    "Operation",
    "ParameterRow",
    "ParameterTable",
    "PathDrawing",
    "Picture",
    "Prediction",
    "PredictionResult",
    "PredictionScore",
    "RunFeed",
    "RunHandle",
    "RunSnapshot",
    "SavedValue",
    "Session",
    "Shares",
    "check",
    "draw_fates",
    "draw_graph",
    "draw_heat",
    "draw_lines",
    "draw_memory",
    "draw_paths",
    "expect",
    "follow",
    "memory_bars",
    "parameter_table",
    "predict",
    "set_up",
    "share_bars",
    "start_run",
]
