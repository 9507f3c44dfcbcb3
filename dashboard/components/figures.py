"""The live page's figures from a snapshot and a view, each rebuilt only when what it shows has changed."""

import base64
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.io.json import to_json_plotly

from components.charted import charted_figure
from components.feed import Snapshot
from components.language import later, say
from components.moment import training_seconds
from components.patch import LARGE, MOST_PATCH, MOST_SHARE, Base, difference
from components.words import is_multitask
from lab.base import page_language
from lab.charts import (
    CellEdge,
    Change,
    Curve,
    CurveView,
    Mark,
    StepScale,
    cell_edges,
    curve_figure,
    epoch_scale,
    figure_spec,
    genotype_figure,
    hold_marks,
    log_scale,
    memory_figure,
    probability_figure,
    series_style,
    stability_figure,
    temperature_figure,
    time_scale,
    timeline_figure,
    uniform_entropy,
)
from lab.store import EventRow

LONG_ARRAY = 500
"""Numbers from which on an array is long."""
INT32 = 2**31
TASK_LOSSES = later("loss (nats; MSE)")
"""Units of the losses of several tasks: cross-entropy of classes, squared error of standardised numbers."""
MEMORY_NAMES = {"memory/rss": later("process (resident set)"), "memory/tensors": later("live tensors")}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as the browser takes it."""

    text: str
    """JSON of the figure, arrays as base64; where it has a base, of the patch that makes the figure of it."""
    height: int
    """Pixels."""
    base: Base | None = None


class DrawingCache:
    """Drawings by key, the latest used kept; an unchanged key costs nothing and changes nothing on the page."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._drawings: OrderedDict[Hashable, Drawing] = OrderedDict()
        self._bases: OrderedDict[Hashable, Base] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, key: Hashable, build: Callable[[], go.Figure], *, chart: Hashable = None, own_names: bool = False
    ) -> Drawing:
        """The drawing of `key`, built where it is not there.

        Args:
            key: what the figure depends on.
            build: makes the figure, which has a height.
            chart: what the figure is the latest picture of; a large one is told by what has changed since its base.
                None: each figure is told whole.
            own_names: the names of its lines are those of runs or metrics, and stay in every language.
        """

        def make() -> tuple[str, int]:
            figure = build()
            return figure_text(figure, own_names=own_names), int(figure_spec(figure)[1]["height"])

        return self._get(key, make, chart)

    def data(self, value: Any, chart: Hashable) -> Drawing:
        """Plain data for a script, told as a figure is: where it is large, by what has changed since its base."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return self._get((chart, text), lambda: (text, 0), chart)

    def _get(self, key: Hashable, make: Callable[[], tuple[str, int]], chart: Hashable) -> Drawing:
        """The drawing of `key`; where it is not there, of the text and the height that `make` gives."""
        key, chart = (page_language(), key), None if chart is None else (page_language(), chart)
        with self._lock:
            drawing = self._drawings.get(key)
            if drawing is not None:
                self._drawings.move_to_end(key)
                return drawing
        # Made outside the lock: a slow figure of one browser tab must not hold up the others.
        drawing = self._told(*make(), chart)
        with self._lock:
            self._drawings[key] = drawing
            while len(self._drawings) > self._size:
                self._drawings.popitem(last=False)
        return drawing

    def _told(self, text: str, height: int, chart: Hashable) -> Drawing:
        if chart is None or len(text) < LARGE:
            return Drawing(text=text, height=height)
        figure = json.loads(text)
        with self._lock:
            base = self._bases.get(chart)
        patch = "" if base is None else json.dumps(difference(base.figure, figure), separators=(",", ":"))
        if base is None or len(patch) > min(MOST_PATCH, MOST_SHARE * len(text)):
            base, patch = Base(text=text, figure=figure), "null"
        with self._lock:
            self._bases[chart] = base
            self._bases.move_to_end(chart)
            while len(self._bases) > self._size:
                self._bases.popitem(last=False)
        return Drawing(text=patch, height=height, base=base)


def figure_text(figure: go.Figure, *, own_names: bool = False) -> str:
    """JSON of a figure, in the page's language; `own_names` as of `DrawingCache.get`.

    The numbers of long curves have seven digits, which no screen can tell from all of them.
    """
    english = page_language() == "en"
    data, layout = figure_spec(figure) if english else charted_figure(figure, own_names=own_names)
    traces = [{name: _encoded(value) for name, value in trace.items()} for trace in data]
    return str(to_json_plotly({"data": traces, "layout": layout}))


def _encoded(value: Any) -> Any:
    """A long array of numbers as the browser reads it: base64 of the shortest kind that says enough."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or len(value) < LONG_ARRAY:
        return value
    if value.dtype == np.int64 and value.min() >= -INT32 and value.max() < INT32:
        value = value.astype(np.int32)
    elif value.dtype == np.float64:
        value = value.astype(np.float32)
    else:
        return value
    return {"dtype": f"{value.dtype.kind}4", "bdata": base64.b64encode(value.tobytes()).decode("ascii")}


def search_steps(events: Sequence[EventRow], step: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which steps (N,) lie in an architecture phase: there the loss is another network's, on another split."""
    inside = np.zeros(len(step), dtype=bool)
    for event in events:
        if event.kind == "phase":
            # To the end: the next phase writes over its own part.
            inside[np.searchsorted(step, event.step) :] = event.payload["phase"] == "arch_training"
    return inside


def curves_of(snapshot: Snapshot, measure: str) -> tuple[Curve, ...]:
    """The curves of `loss` or `accuracy`: batches, selection split, batches of architecture phases, test split.

    Those without a point are left out, but for the first.
    """
    batches = snapshot.series(measure)
    search = search_steps(snapshot.of("phase"), batches.step)
    curves = [Curve(series=batches.where(~search), style=replace(series_style(say("batches"), 0), dash="solid"))]
    decision = snapshot.series(f"decision/{measure}")
    if len(decision):
        curves.append(Curve(series=decision, style=series_style(say("selection split"), 1), dense=False))
    if search.any():
        style = series_style(say("batches of architecture phases"), 2)
        curves.append(Curve(series=batches.where(search), style=style, dense=False, joined=False))
    test = snapshot.series(f"test/{measure}")
    if len(test):
        curves.append(
            Curve(series=test, style=series_style(say("test split, read once"), 3), dense=False, joined=False)
        )
    return tuple(curves)


def marks_of(snapshot: Snapshot) -> tuple[Mark, ...]:
    """What changed the network: mutations, and the agent's changes that were kept."""
    return snapshot.history.marks


def scale_of(snapshot: Snapshot, x: str) -> StepScale | None:
    """What the horizontal axis measures instead of steps; None for steps, also before an epoch or a second has passed.

    Args:
        x: step, epoch, time, or log step.
    """
    if x == "log step":
        return log_scale()
    if x == "epoch":
        return epoch_scale(snapshot.series("epoch"))
    return time_scale(training_seconds(snapshot)) if x == "time" else None


def loss_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Loss of every split over steps."""
    marks = marks_of(snapshot)
    unit = say(TASK_LOSSES) if is_multitask(snapshot) else say("loss (nats)")
    return curve_figure(curves_of(snapshot, "loss"), y_title=unit, view=view, marks=marks)


def accuracy_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Accuracy of every split over steps."""
    marks = marks_of(snapshot)
    curves = curves_of(snapshot, "accuracy")
    return curve_figure(curves, y_title=say("accuracy"), view=replace(view, log_y=False), marks=marks, percent=True)


def temperature_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Temperature and entropy over steps."""
    genotype = snapshot.latest("genotype")
    return temperature_figure(
        snapshot.series("temperature"),
        snapshot.history.entropy,
        marks=(*marks_of(snapshot), *hold_marks(snapshot.of("temperature"))),
        view=view,
        entropy_limit=None if genotype is None else uniform_entropy(genotype.payload),
    )


def stability_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Health over steps with interventions and rollbacks."""
    return stability_figure(
        snapshot.series("health"), snapshot.of("intervention", "rollback"), marks=marks_of(snapshot), view=view
    )


def memory_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Resident set and live tensors over steps."""
    found = [replace(snapshot.series(name), name=say(label)) for name, label in MEMORY_NAMES.items()]
    return memory_figure(
        [series for series in found if len(series)],
        marks=marks_of(snapshot),
        view=replace(view, log_y=False),
    )


def timeline_panel(snapshot: Snapshot) -> go.Figure:
    """Phases over steps."""
    return timeline_figure(snapshot.of("phase"), snapshot.last_step)


def latest_change(snapshot: Snapshot) -> Change | None:
    """The latest mutation that was made or refused; None where there was none."""
    found = snapshot.history.changes
    return found[-1] if found else None


def transition_share(snapshot: Snapshot, change: Change | None) -> float | None:
    """How far the output has moved to the primitives of `change`, in [0, 1); None where no transition goes on."""
    beta = snapshot.series("beta").since(0 if change is None else change.step)
    if change is None or change.status != "applied" or not len(beta):
        return None
    share = float(beta.value[-1])
    # A damaged row may hold NaN.
    return share if 0.0 <= share < 1.0 else None


def drawn_edges(event: EventRow | None, change: Change | None) -> tuple[CellEdge, ...]:
    """The edges of the shown genotype, those of the latest mutation starred unless it was refused or rolled back."""
    if event is None:
        return ()
    edits: Sequence[Sequence[Any]] = ()
    if change is not None and change.status in ("applied", "accepted"):
        edits = change.edits
    return cell_edges(event.payload["genotype"], event.payload, edits)


def genotype_panel(event: EventRow | None, change: Change | None, share: float | None = None) -> go.Figure:
    """The cell as a graph; while a transition goes on, its changed edges are filled as far as `share` says."""
    return genotype_figure(drawn_edges(event, change), filled=share)


def probability_panel(event: EventRow | None, *, taken: bool = False) -> go.Figure:
    """Architecture probabilities as a heat map; `taken`: of the edges that the network has."""
    return probability_figure(None if event is None else event.payload, taken=taken)
