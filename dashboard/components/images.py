"""What the network says of fixed samples now, whom it confuses, and how much each layer moves."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from components import words
from components.card import card, folded
from components.charted import charted_rows
from components.feed import Snapshot
from components.language import later, say
from lab.charts import (
    ToldSample,
    confusion_figure,
    image_figure,
    layer_figure,
    layer_table,
    sample_table,
    told_samples,
)
from lab.store import EventRow

if TYPE_CHECKING:
    from components.panels import PageFrame

IMAGES_HELP = later(
    "Forty fixed images of the selection split, which trains nothing; never of the test split. Below each: what the "
    "network says. ▲ was wrong at the reading before and is right now, ▼ the other way."
)
CONFUSION_HELP = later("All images of the selection split: a row is what an image is, a column what it was taken for.")
LAYERS_HELP = later(
    "How large the gradient of each layer is, and how far a step moves its weights. A row that stays pale learns "
    "nothing; one that is far darker than the rest may be unstable. Empty: no gradient."
)
UNTOLD = later("This run tells no samples: an earlier version made it, or it was restored from its checkpoints.")
NOT_READ = later("The network has not been read on the selection split; predictions come with the first reading.")


def latest_samples(snapshot: Snapshot) -> tuple[tuple[EventRow | None, ...], tuple[ToldSample, ...]]:
    """The images event with the last two readings, and the samples as the last one sees them."""
    readings = snapshot.of("predictions")[-2:]
    now = readings[-1] if readings else None
    before = readings[0] if len(readings) > 1 else None
    found = (snapshot.latest("images"), now, before)
    return found, told_samples(*(None if event is None else event.payload for event in found))


def count_text(samples: tuple[ToldSample, ...]) -> str:
    """`37 of 40 right; 3 were wrong at the reading before`."""
    right = sum(sample.sign in "✔▲" for sample in samples)
    learnt, lost = (sum(sample.sign == sign for sample in samples) for sign in "▲▼")
    text = say("{right} of {count} right", right=right, count=len(samples))
    text += say("; {count} ▲ turned from wrong to right", count=learnt) if learnt else ""
    return text + (say("; {count} ▼ turned from right to wrong", count=lost) if lost else "")


def readings(picture: "PageFrame") -> None:
    """Images with predictions, confusion matrix, layers; nothing for a run that tells none of them."""
    snapshot = picture.snapshot
    if snapshot.latest("images") is None and snapshot.latest("layers") is None:
        return
    told = snapshot.latest("images")
    _samples(picture)
    if told is not None and not told.payload["images"]:
        _layers(picture)
        return
    left, right = st.columns([2, 3])
    with left:
        _confusion(picture)
    with right:
        _layers(picture)


def _samples(picture: "PageFrame") -> None:
    found, samples = latest_samples(picture.snapshot)
    images = found[0]
    pictures = images is not None and bool(images.payload["images"])
    with card(say("The images" if pictures or images is None else "The samples"), say(IMAGES_HELP)):
        if images is None:
            st.write(say(UNTOLD))
            return
        if pictures:
            picture.figure(
                "images",
                tuple(None if event is None else event.id for event in found),
                lambda: image_figure(images.payload, samples),
                say("Fixed images with what the network says: {told}", told=count_text(samples)),
            )
        if images.payload["note"]:
            st.caption(words.plain(images.payload["note"]))
        if not samples:
            st.caption(say(NOT_READ))
            return
        st.markdown(words.plain(count_text(samples)))
        table = partial(_sample_table, images, samples)
        folded(say("As a table"), "samples", table, opened=not pictures)


def _sample_table(images: EventRow, samples: Sequence[ToldSample]) -> None:
    rows = charted_rows(sample_table(images.payload, samples), "now")
    st.dataframe(rows, hide_index=True, alt=say("Fixed samples with what the network says of each"))


def _confusion(picture: "PageFrame") -> None:
    snapshot = picture.snapshot
    images, now = snapshot.latest("images"), snapshot.latest("predictions")
    classes = [] if images is None else images.payload["classes"]
    with card(say("Confusion matrix"), say(CONFUSION_HELP)):
        picture.figure(
            "confusion",
            None if now is None else now.id,
            lambda: confusion_figure(None if now is None else now.payload, classes),
            say("Images of the selection split by true class and predicted class"),
        )


def _layers(picture: "PageFrame") -> None:
    found = picture.snapshot.of("layers")
    with card(say("Layers"), say(LAYERS_HELP)):
        picture.figure(
            "layers",
            (len(found), found[-1].id if found else None),
            lambda: layer_figure(found),
            say("Gradient norm and update over weights of each layer over steps"),
        )
        if found:
            folded(say("The latest reading as a table"), "layers", partial(_layer_table, found))


def _layer_table(found: Sequence[EventRow]) -> None:
    rows = charted_rows(layer_table(found), "gradient norm", "update / weights")
    st.dataframe(rows, hide_index=True, alt=say("Gradient norm and update of each layer"))
