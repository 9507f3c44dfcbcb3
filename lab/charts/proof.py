"""The proof of a change as a picture: what the network said of ten samples right before it and right after it.

Bars above the line are before, bars below it after: a mirror image says that nothing moved. Below, what the network
says now, after the training that came since.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.charts.layout import axis, make_figure, note_figure
from lab.charts.marks import Event
from lab.charts.plotly import go
from lab.charts.samples import class_name, picture_address
from lab.charts.style import BLUE, GREY, ORANGE

GAP = 2
"""Empty places between the bars of two samples."""
NO_PROOF = "No change of the structure: the proof comes with the first one."
NOT_STORED = "This run's version stored no proofs of its changes."
HEIGHTS = (0.25, 0.5, 1.0)
"""Ends of the probability axis; the first that holds every bar is taken."""


def proof_figure(
    proof: Mapping[str, Any] | None,
    images: Mapping[str, Any] | None = None,
    predictions: Mapping[str, Any] | None = None,
    *,
    changed: bool = False,
    title: str = "",
) -> go.Figure:
    """Probabilities of ten samples before and after a change, and now.

    Args:
        proof: payload of a proof event.
        images: payload of the run's images event, for pictures and names.
        predictions: payload of a later predictions event; left out where it is of other samples.
        changed: without a proof, whether the structure has changed all the same.
    """
    if proof is None:
        return note_figure(NOT_STORED if changed else NO_PROOF, height=300, title=title)
    classes: Sequence[str] = () if images is None else images["classes"]
    slot = len(proof["columns"]) + GAP
    pictures = _pictures(proof, images, slot)
    now = _rows_now(proof, predictions)
    top = 0.8 if pictures else 1.0
    largest = max((value for rows in (proof["before"], proof["after"]) for row in rows for value in row), default=0.0)
    end = next((height for height in HEIGHTS if largest <= height), HEIGHTS[-1])
    both = {"tickvals": [-end, 0, end], "ticktext": [f"{end:.0%}", "0%", f"{end:.0%}"]}
    data = [
        _bars(proof, proof["before"], classes, slot, name="before the change", color=GREY),
        _bars(proof, proof["after"], classes, slot, name="right after it", color=BLUE, sign=-1),
    ]
    if now:
        data.append({**_bars(proof, now, classes, slot, name="now", color=ORANGE), "yaxis": "y2"})
    count = len(proof["samples"])
    layout: dict[str, Any] = (
        {"yaxis2": axis(domain=[0.0, 0.2], range=[0, 1.04], tickvals=[0, 1], tickformat=".0%")} if now else {}
    )
    places = [slot * (place + 0.5) for place in range(count)]
    names = [f"is {class_name(classes, label)}" for label in proof["labels"]]
    return make_figure(
        data,
        height=(430 if pictures else 340) + (60 if now else 0),
        title=title,
        hovermode="closest",
        barmode="overlay",
        images=pictures,
        xaxis=axis(
            range=[0, slot * count], tickvals=places, ticktext=names, showgrid=False, anchor="y2" if now else "y"
        ),
        yaxis=axis(
            domain=[0.3 if now else 0.0, top],
            range=[-1.04 * end, 1.04 * end],
            zeroline=True,
            zerolinecolor=GREY,
            **both,
        ),
        **layout,
    )


def _bars(
    proof: Mapping[str, Any],
    rows: Sequence[Sequence[float]],
    classes: Sequence[str],
    slot: int,
    *,
    name: str,
    color: str,
    sign: int = 1,
) -> dict[str, Any]:
    places, heights, texts = [], [], []
    for sample, (label, row) in enumerate(zip(proof["labels"], rows, strict=True)):
        for place, (column, value) in enumerate(zip(proof["columns"], row, strict=True)):
            places.append(slot * sample + GAP / 2 + 0.5 + place)
            heights.append(sign * value)
            texts.append(f"{class_name(classes, label)} as {class_name(classes, column)}: {value:.1%}")
    return {
        "type": "bar",
        "x": places,
        "y": heights,
        "name": name,
        "width": 0.85,
        "marker": {"color": color},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _pictures(proof: Mapping[str, Any], images: Mapping[str, Any] | None, slot: int) -> list[dict[str, Any]]:
    """The samples' pictures above their bars; none where a sample has no picture."""
    if images is None or not images["images"]:
        return []
    files = dict(zip(images["samples"], images["images"], strict=True))
    if any(sample not in files for sample in proof["samples"]):
        return []
    place = {"xref": "x", "yref": "paper", "y": 1.0, "yanchor": "top", "xanchor": "center", "sizing": "contain"}
    return [
        {"source": picture_address(files[sample]), "x": slot * (number + 0.5), "sizex": 0.9 * slot, "sizey": 0.17}
        | place
        for number, sample in enumerate(proof["samples"])
    ]


def _rows_now(proof: Mapping[str, Any], predictions: Mapping[str, Any] | None) -> list[list[float]]:
    """What a later reading says of the same samples and classes; empty where it tells of others."""
    if predictions is None or predictions["columns"] != proof["columns"]:
        return []
    told = dict(zip(predictions["samples"], predictions["outputs"], strict=False))
    return [told[sample] for sample in proof["samples"]] if all(each in told for each in proof["samples"]) else []


def proof_text(proof: Mapping[str, Any]) -> str:
    """What a proof shows, in a sentence or two."""
    same, outputs = proof["same"], proof["outputs"]
    if same == outputs:
        return f"Not one bit moved: all {outputs:,} outputs of these samples are the same before and after."
    largest = f"The largest difference of an output is {proof['difference']:.1e} of the largest output"
    bits = f"{same:,} of {outputs:,} outputs have the same bits"
    moved = f"no bar moved by more than {proof['moved']:.1e}"
    if proof["exact"]:
        return f"{largest}; {bits}; {moved}."
    return f"This change may alter what the network computes. {largest}; {bits}."


def proof_heading(step: int, proof: Mapping[str, Any]) -> str:
    """`Mutation 3 at step 480`."""
    what = str(proof["what"])
    number = "" if what == "extraction" else f" {proof['number']}"
    return f"{what.capitalize()}{number} at step {step:,}"


def proof_table(events: Sequence[Event]) -> list[dict[str, str]]:
    """All proofs as rows of text, the latest first."""
    return [
        {
            "change": proof_heading(event.step, event.payload),
            "what": str(event.payload["title"]),
            "largest difference": f"{event.payload['difference']:.1e}",
            "same bits": f"{event.payload['same']:,} of {event.payload['outputs']:,}",
            "kind": "keeps the function" if event.payload["exact"] else "may alter the function",
        }
        for event in reversed(events)
        if event.kind == "proof"
    ]
