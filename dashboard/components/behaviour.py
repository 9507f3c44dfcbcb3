"""What the help page says of how runs and charts behave, as data: tests hold each line to what they do."""

from collections.abc import Mapping
from types import MappingProxyType

from lab.charts import HEALTH_BANDS, health_word

TRAINED: Mapping[str, str] = MappingProxyType(
    {"warmup": "weights", "arch_training": "architecture", "weight_retraining": "weights"}
)
"""Phase of a search -> what its steps train: weights, or architecture (parameters); the other stands still."""
PHASE_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "warmup": "*Warm-up* trains the {trained} with cells drawn at random",
        "arch_training": "*Architecture* trains the {trained} parameters alone; the weights stand still",
        "mutation": "*Mutation* changes the cell in one moment and trains nothing",
        "weight_retraining": "*Retraining* trains the {trained} of the changed network",
    }
)
"""Phase -> what the help page says of it."""
ZOOM_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "window": "Steps shown",
        "x": "Horizontal axis",
        "smoothing": "Smoothing",
        "log": "Logarithmic loss",
        "robust": "Robust value axis",
        "points": "Points of a line",
    }
)
"""Key -> name of the controls in the sidebar that end a zoom."""

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "Space": "pauses the replay; at the latest step of a running run, the training",
        "← →": "go through the run by a hundredth of it, with Shift by one step",
        "M": "mutates, as *Mutate now* does",
        "F": "fills the screen",
    }
)
"""Key of the wall -> what it does."""


def phases_text() -> str:
    """The phases of a search, one sentence each."""
    sentences = [text.format(trained=TRAINED.get(phase, "")) for phase, text in PHASE_SENTENCES.items()]
    return f"A search goes in cycles. {'. '.join(sentences)}."


def health_text() -> str:
    """The words of the health score with their bounds."""
    critical, shaky, steady = (health_word((low + high) / 2) for low, high, _ in HEALTH_BANDS)
    return f"Health near 1 is {steady}; below {HEALTH_BANDS[1][1]} {shaky}; below {HEALTH_BANDS[0][1]} {critical}."


def slider_text() -> str:
    """What slider, replay and wall do."""
    keys = "; ".join(f"*{key}* {text}" for key, text in KEYS.items())
    return (
        "The slider goes over the whole run: genotype, heat map, curves, numbers and sentences show what was known at "
        "its step, while the run goes on; *Now* follows the latest step again. *Play* replays the run from there; at "
        "speed 1 it takes as long as the training took. *Wall* opens the run on one screen for a projector, beside a "
        f"fixed network where a run of one is there (its name begins with that of the run). Its keys: {keys}."
    )


def zoom_text() -> str:
    """How long a zoom lasts."""
    names = ", ".join(f"*{name}*" for name in ZOOM_ENDS.values())
    return (
        "Drag over a chart to zoom in. The zoom stays while new values arrive; a double click, another run, or a "
        f"change of one of these in the sidebar ends it: {names}. Switch *Follow* off to read a page that stands "
        "still. A finished run does not refresh."
    )
