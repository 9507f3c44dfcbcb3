"""The fixed samples of a run: their pictures with what the network says now, and which classes it confuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from lab.charts.layout import axis, make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.style import BLUE, GREEN, INK, ORANGE, RED

COLUMNS = 10
"""Pictures in a row."""
LETTERS = 8
"""Of a class's name below a picture."""
_ROW = 1.42
"""Height of a row, of which a picture takes 1 and its caption the rest; a column is 1 wide."""
RIGHT, WRONG, LEARNT, LOST = "right", "wrong", "wrong before, right now", "right before, wrong now"
STATE_SIGNS: Mapping[str, str] = MappingProxyType({RIGHT: "✔", WRONG: "✘", LEARNT: "▲", LOST: "▼"})
_FRAMES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        RIGHT: {"color": GREEN, "width": 1.5},
        WRONG: {"color": RED, "width": 2, "dash": "dash"},
        LEARNT: {"color": BLUE, "width": 4},
        LOST: {"color": ORANGE, "width": 3, "dash": "dot"},
    }
)
_CONFUSION: tuple[tuple[float, str], ...] = (
    (0.0, "rgba(217,114,10,0.9)"),
    (0.5, "rgba(127,136,150,0.03)"),
    (1.0, "rgba(47,126,240,0.8)"),
)
"""Orange for what is taken for another class, blue for what is right; the numbers stand in the cells."""
UNREAD = "No predictions: they come when a network is first read on the selection split."


@dataclass(frozen=True, kw_only=True)
class ToldSample:
    """One fixed sample and what the network says of it."""

    position: int
    """In the selection split."""
    label: int | None
    predicted: int | None
    """None where the network's output is no class."""
    confidence: float | None
    state: str
    """right, wrong, or one of the two that say that it was otherwise at the reading before."""

    @property
    def sign(self) -> str:
        """Sign of its state."""
        return STATE_SIGNS[self.state]


def picture_address(file: str) -> str:
    """Address of a picture that an images event holds."""
    return f"data:image/webp;base64,{file}"


def class_name(classes: Sequence[str], label: int) -> str:
    """Name of a class; its number where it has none, `others` for those that stand together."""
    if label < 0:
        return "others"
    return classes[label] if label < len(classes) else str(label)


def told_samples(
    images: Mapping[str, Any] | None, predictions: Mapping[str, Any] | None, earlier: Mapping[str, Any] | None = None
) -> tuple[ToldSample, ...]:
    """The samples of a reading, each beside what the reading before said of it.

    Args:
        images: payload of the run's images event.
        predictions: payload of a predictions event.
        earlier: payload of the one before; None marks no change.
    """
    if predictions is None:
        return ()
    labels = {} if images is None else dict(zip(images["samples"], images["labels"], strict=False))
    before = {} if earlier is None else dict(zip(earlier["samples"], earlier["right"], strict=True))
    found = []
    for place, (position, right) in enumerate(zip(predictions["samples"], predictions["right"], strict=True)):
        changed = before.get(position, right) != right
        state = (LEARNT if right else LOST) if changed else (RIGHT if right else WRONG)
        told = bool(predictions["predicted"])
        found.append(
            ToldSample(
                position=position,
                label=labels.get(position),
                predicted=predictions["predicted"][place] if told else None,
                confidence=predictions["confidence"][place] if told else None,
                state=state,
            )
        )
    return tuple(found)


def image_figure(
    images: Mapping[str, Any] | None, samples: Sequence[ToldSample] = (), *, title: str = "", height: int = 420
) -> go.Figure:
    """The pictures in rows of ten, each in the frame of its state, with the class that the network says below it."""
    if images is None or not images["images"]:
        return note_figure("No images: this run does not tell any.", height=height, title=title)
    places = {position: place for place, position in enumerate(images["samples"])}
    rows = -(-len(places) // COLUMNS)
    shown = [sample for sample in samples if sample.position in places]
    data = [
        _frames([places[sample.position] for sample in shown if sample.state == state], state)
        for state in STATE_SIGNS
        if any(sample.state == state for sample in shown)
    ]
    data.append(_captions(images, [(places[sample.position], sample) for sample in shown]))
    size = {"xref": "x", "yref": "y", "xanchor": "center", "yanchor": "top", "sizing": "contain"}
    hidden = {"visible": False, "showgrid": False}
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 34 if title else 8, "b": 40},
        images=[
            {"source": picture_address(file), "x": place % COLUMNS + 0.5, "y": _ROW * (place // COLUMNS) + 0.08}
            | {"sizex": 0.84, "sizey": 0.84, **size}
            for place, file in enumerate(images["images"])
        ],
        xaxis=axis(range=[0, COLUMNS], constrain="domain", **hidden),
        # Frames as square as the pictures, on a page of any width.
        yaxis=axis(range=[_ROW * rows, 0], scaleanchor="x", constrain="domain", constraintoward="top", **hidden),
    )


def _frames(places: Sequence[int], state: str) -> dict[str, Any]:
    """A frame around each picture, as one line with gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place in places:
        left, top = place % COLUMNS + 0.04, _ROW * (place // COLUMNS) + 0.04
        x += [left, left + 0.92, left + 0.92, left, left, None]
        y += [top, top, top + 0.92, top + 0.92, top, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": dict(_FRAMES[state]),
        "name": f"{STATE_SIGNS[state]} {state} ({len(places)})",
        "hoverinfo": "skip",
    }


def _captions(images: Mapping[str, Any], shown: Sequence[tuple[int, ToldSample]]) -> dict[str, Any]:
    classes = images["classes"]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [place % COLUMNS + 0.5 for place, _ in shown],
        "y": [_ROW * (place // COLUMNS) + 1.2 for place, _ in shown],
        "text": [f"{sample.sign} {_said(classes, sample)[:LETTERS]}" for _, sample in shown],
        "textfont": {"size": 12},
        "customdata": [sample_text(classes, sample) for _, sample in shown],
        "hovertemplate": "%{customdata}<extra></extra>",
        "showlegend": False,
    }


def _said(classes: Sequence[str], sample: ToldSample) -> str:
    return "" if sample.predicted is None else class_name(classes, sample.predicted)


def sample_text(classes: Sequence[str], sample: ToldSample) -> str:
    """`is 7, taken for 1 (62 %): wrong`."""
    truth = f"is {class_name(classes, sample.label)}, " if sample.label is not None else ""
    said = ""
    if sample.predicted is not None and sample.confidence is not None:
        said = f"taken for {_said(classes, sample)} ({sample.confidence:.0%}): "
    return f"{truth}{said}{sample.state}"


def sample_table(images: Mapping[str, Any] | None, samples: Sequence[ToldSample]) -> list[dict[str, str]]:
    """The samples as rows of text."""
    classes = [] if images is None else images["classes"]
    texts = {} if images is None else dict(zip(images["samples"], images["texts"], strict=False))
    rows = []
    for sample in samples:
        row = {"sample": str(sample.position)}
        if texts:
            row["text"] = str(texts.get(sample.position, ""))
        if sample.label is not None:
            row["is"] = class_name(classes, sample.label)
        if sample.predicted is not None and sample.confidence is not None:
            row |= {"taken for": _said(classes, sample), "probability": f"{sample.confidence:.0%}"}
        rows.append({**row, "now": f"{sample.sign} {sample.state}"})
    return rows


def confusion_figure(
    predictions: Mapping[str, Any] | None, classes: Sequence[str] = (), *, title: str = "", height: int = 430
) -> go.Figure:
    """How many samples of each class (row) were taken for each class (column); empty cells are none."""
    if predictions is None or not predictions["confusion"]:
        text = UNREAD if predictions is None else "No confusion matrix: this network's output is no class."
        return note_figure(text, height=height, title=title)
    counts = np.asarray(predictions["confusion"], dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [class_name(classes, label)[: 2 * LETTERS] for label in predictions["confused"]]
    heat = {
        "type": "heatmap",
        # The root: a single image that is taken for another class is seen beside a hundred that are not.
        "z": np.where(np.eye(len(counts), dtype=bool), share, -np.sqrt(share)),
        "x": names,
        "y": names,
        "zmin": -1.0,
        "zmax": 1.0,
        "colorscale": [list(stop) for stop in _CONFUSION],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "text": [[f"{count:.0f}" if count else "" for count in row] for row in counts],
        "texttemplate": "%{text}",
        "textfont": {"size": 12 if len(names) <= COLUMNS else 9, "color": INK},
        "hovertemplate": "%{y} taken for %{x}: %{text}<extra></extra>",
    }
    return make_figure(
        [heat],
        height=height,
        title=title,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 34 if title else 8, "b": 8},
        xaxis=axis(title={"text": "taken for", "standoff": 4}, type="category", showgrid=False),
        yaxis=axis(title={"text": "is", "standoff": 4}, type="category", autorange="reversed", showgrid=False),
    )
