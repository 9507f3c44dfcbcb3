"""Rows of a run as Plotly figures, DOT texts, tables and sentences: pure functions, used by page and notebook alike."""

from .actions import (
    OUTCOME_STYLES,
    Action,
    Surgery,
    action_counts,
    action_marks,
    action_table,
    agent_actions,
    read_change,
)
from .agent import ACTION_ORDER, action_figure, learning_figure, parameter_figure, trial_figure
from .allocations import allocation_figure
from .changes import Change, KnownChanges, add_change, change_table, mutation_changes
from .comparison import comparison_figure
from .components import COMPONENT, WHOLE, ComponentBytes, component_bytes, component_table
from .curves import Curve, CurveView, compare_figure, curve_figure, memory_figure, step_range
from .entropy import add_entropy, drawable_columns, drawn_probabilities, entropy_series, uniform_entropy
from .fates import fate_figure
from .genotype import CellEdge, cell_edges, edge_table, edge_width, genotype_dot, genotype_figure
from .graph import GraphNode, graph_figure
from .heat import heat_figure
from .layers import layer_figure, layer_table
from .layout import note_figure
from .lazy import LazyFigure, figure_spec
from .lines import lines_figure
from .marks import Event, Mark, add_mark, held_text, hold_marks, mutation_marks, shown_marks
from .multitask import (
    component_figure,
    named_series,
    router_figure,
    task_figure,
    weight_figure,
)
from .parallel import is_number, parallel_figure
from .pareto import pareto_front
from .paths import path_figure
from .probabilities import chosen_columns, probability_figure, probability_table
from .proof import proof_figure, proof_heading, proof_table, proof_text
from .samples import (
    ToldSample,
    class_name,
    confusion_figure,
    image_figure,
    picture_address,
    sample_table,
    sample_text,
    told_samples,
)
from .scale import StepScale, epoch_scale, log_scale, rescale_runs, rescale_steps, time_scale
from .search import HEALTH_BANDS, health_word, stability_figure, temperature_figure, timeline_figure
from .series import Series, count_note, make_series, smooth, thin
from .shares import share_figure
from .study import (
    StudyTrial,
    best_trial,
    coordinates_figure,
    front_figure,
    front_trials,
    importance_figure,
    logical_trials,
    study_figure,
    study_trials,
)
from .style import (
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
    "COMPONENT",
    "HEALTH_BANDS",
    "INK",
    "OUTCOME_STYLES",
    "PHASE_STYLES",
    "PRIMITIVE_STYLES",
    "STATUS_SIGNS",
    "WHOLE",
    "Action",
    "CellEdge",
    "Change",
    "ComponentBytes",
    "Curve",
    "CurveView",
    "Event",
    "GraphNode",
    "KnownChanges",
    "LazyFigure",
    "LineStyle",
    "Mark",
    "Series",
    "StepScale",
    "StudyTrial",
    "Surgery",
    "ToldSample",
    "action_counts",
    "action_figure",
    "action_marks",
    "action_table",
    "add_change",
    "add_entropy",
    "add_mark",
    "agent_actions",
    "allocation_figure",
    "best_trial",
    "cell_edges",
    "change_table",
    "chosen_columns",
    "class_name",
    "compare_figure",
    "comparison_figure",
    "component_bytes",
    "component_figure",
    "component_table",
    "confusion_figure",
    "coordinates_figure",
    "count_note",
    "curve_figure",
    "drawable_columns",
    "drawn_probabilities",
    "edge_label",
    "edge_table",
    "edge_width",
    "entropy_series",
    "epoch_scale",
    "fate_figure",
    "figure_spec",
    "front_figure",
    "front_trials",
    "genotype_dot",
    "genotype_figure",
    "graph_figure",
    "health_word",
    "heat_figure",
    "held_text",
    "hold_marks",
    "image_figure",
    "importance_figure",
    "is_number",
    "layer_figure",
    "layer_table",
    "learning_figure",
    "lines_figure",
    "log_scale",
    "logical_trials",
    "make_series",
    "memory_figure",
    "mutation_changes",
    "mutation_marks",
    "named_series",
    "note_figure",
    "parallel_figure",
    "parameter_figure",
    "pareto_front",
    "path_figure",
    "phase_style",
    "picture_address",
    "primitive_style",
    "probability_figure",
    "probability_table",
    "proof_figure",
    "proof_heading",
    "proof_table",
    "proof_text",
    "read_change",
    "rescale_runs",
    "rescale_steps",
    "router_figure",
    "sample_table",
    "sample_text",
    "series_style",
    "share_figure",
    "shown_marks",
    "smooth",
    "stability_figure",
    "step_range",
    "study_figure",
    "study_trials",
    "task_figure",
    "temperature_figure",
    "thin",
    "time_scale",
    "timeline_figure",
    "told_samples",
    "trial_figure",
    "uniform_entropy",
    "weight_figure",
]
