"""The fixed samples of a run as an event: pictures, sentences, or a word on why there are none.

Of the selection split: the test split is read once, at the end of a run.
"""

from lab.datasets import Streams
from lab.probe import SHOWN, encode_images, fixed_positions
from lab.store import ImagesEvent
from lab.text import TextData
from lab.train import RecordData, RunData, StreamData

LONGEST = 160
"""Letters of a sentence that are kept."""
MOST_CLASSES = 1000
"""Classes up to which each is named."""
LONGEST_CLASS = 40
"""Letters of a class's name that are kept."""
RECORDS = (
    "This run reads records of a text and a table, which are no images: shown is whether the task with classes gets "
    "each of these records right."
)
SENTENCES = "This run reads sentences, which are no images: shown is each sentence, and whether it is read correctly."


def describe_samples(data: RunData) -> ImagesEvent | None:
    """The samples whose predictions a run on `data` tells; None where nothing is known of its records."""
    if isinstance(data, StreamData):
        return _images(data.streams)
    if isinstance(data, TextData):
        rows = data.rows["selection"][:SHOWN].tolist()
        sentences = [data.table.sentences[row] for row in rows]
        classes = _names(data.table.classes)
        return ImagesEvent(
            samples=list(range(len(rows))),
            labels=[each.label for each in sentences] if classes else [],
            classes=classes,
            texts=[each.text[:LONGEST] for each in sentences],
            note=SENTENCES,
        )
    if isinstance(data, RecordData):
        count = min(SHOWN, len(data.records.selection))
        return ImagesEvent(samples=list(range(count)), labels=[], classes=[], note=RECORDS)
    return None


def _images(streams: Streams) -> ImagesEvent:
    labels_N = streams.selection.y_n.cpu()
    positions_P = fixed_positions(labels_N)
    x_PCHW = streams.bundle.x_train[streams.splits.selection[positions_P]]
    return ImagesEvent(
        samples=positions_P.tolist(),
        labels=labels_N[positions_P].tolist(),
        classes=_names(streams.bundle.classes),
        images=encode_images(x_PCHW),
    )


def _names(classes: tuple[str, ...]) -> list[str]:
    return [name[:LONGEST_CLASS] for name in classes] if len(classes) <= MOST_CLASSES else []
