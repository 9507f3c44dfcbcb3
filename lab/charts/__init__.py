"""Rows of a run as Plotly figures, DOT texts, tables and sentences: pure functions, used by page and notebook alike."""

from lab.charts.actions import (
    OUTCOME_STYLES,
    Action,
    Surgery,
    action_counts,
    action_marks,
    action_table,
    agent_actions,
    read_change,
)
from lab.charts.agent import ACTION_ORDER, action_figure, learning_figure, parameter_figure, trial_figure
from lab.charts.changes import Change, change_table, mutation_changes
from lab.charts.curves import Curve, CurveView, compare_figure, curve_figure, memory_figure, step_range
from lab.charts.genotype import CellEdge, cell_edges, edge_table, edge_width, genotype_dot, genotype_figure
from lab.charts.layout import Event, Mark, mutation_marks, note_figure
from lab.charts.probabilities import chosen_columns, probability_figure, probability_table
from lab.charts.search import entropy_series, health_word, stability_figure, temperature_figure, timeline_figure
from lab.charts.series import Series, count_note, make_series, smooth, thin
from lab.charts.shares import share_figure
from lab.charts.style import (
    COLORS,
    INK,
    PHASE_STYLES,
    PRIMITIVE_STYLES,
    STATUS_SIGNS,
    LineStyle,
    edge_label,
    phase_style,
    primitive_style,
    series_style,
)

__all__ = [
    "ACTION_ORDER",
    "COLORS",
    "INK",
    "OUTCOME_STYLES",
    "PHASE_STYLES",
    "PRIMITIVE_STYLES",
    "STATUS_SIGNS",
    "Action",
    "CellEdge",
    "Change",
    "Curve",
    "CurveView",
    "Event",
    "LineStyle",
    "Mark",
    "Series",
    "Surgery",
    "action_counts",
    "action_figure",
    "action_marks",
    "action_table",
    "agent_actions",
    "cell_edges",
    "change_table",
    "chosen_columns",
    "compare_figure",
    "count_note",
    "curve_figure",
    "edge_label",
    "edge_table",
    "edge_width",
    "entropy_series",
    "genotype_dot",
    "genotype_figure",
    "health_word",
    "learning_figure",
    "make_series",
    "memory_figure",
    "mutation_changes",
    "mutation_marks",
    "note_figure",
    "parameter_figure",
    "phase_style",
    "primitive_style",
    "probability_figure",
    "probability_table",
    "read_change",
    "series_style",
    "share_figure",
    "smooth",
    "stability_figure",
    "step_range",
    "temperature_figure",
    "thin",
    "timeline_figure",
    "trial_figure",
]
