"""What the help page says of how runs and charts behave, as data: tests hold each line to what they do."""

from collections.abc import Mapping
from types import MappingProxyType

from components.charted import charted
from components.language import later, say
from lab.charts import HEALTH_BANDS, health_word

TRAINED: Mapping[str, str] = MappingProxyType(
    {"warmup": later("weights"), "arch_training": later("architecture"), "weight_retraining": later("weights")}
)
"""Phase of a search -> what its steps train: weights, or architecture (parameters); the other stands still."""
PHASE_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "warmup": later("*Warm-up* trains the {trained} with cells drawn at random"),
        "arch_training": later("*Architecture* trains the {trained} parameters alone; the weights stand still"),
        "mutation": later("*Mutation* changes the cell in one moment and trains nothing"),
        "weight_retraining": later("*Retraining* trains the {trained} of the changed network"),
    }
)
"""Phase -> what the help page says of it."""
ZOOM_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "window": later("Steps shown"),
        "x": later("Horizontal axis"),
        "smoothing": later("Smoothing"),
        "log": later("Logarithmic loss"),
        "robust": later("Robust value axis"),
        "points": later("Points of a line"),
    }
)
"""Key -> name of the controls in the sidebar that end a zoom."""

KEYS: Mapping[str, str] = MappingProxyType(
    {
        later("Space"): later("pauses the replay; at the latest step of a running run, the training"),
        "← →": later("go through the run by a hundredth of it, with Shift by one step"),
        "M": later("mutates, as *Mutate now* does"),
        "F": later("fills the screen"),
    }
)
"""Key of the wall -> what it does."""


def phases_text() -> str:
    """The phases of a search, one sentence each."""
    sentences = [phase_sentence(phase) for phase in PHASE_SENTENCES]
    return say("A search goes in cycles. {sentences}", sentences=" ".join(sentences))


def phase_sentence(phase: str) -> str:
    """What a phase does; empty for one that has no sentence."""
    text = PHASE_SENTENCES.get(phase)
    if text is None:
        return ""
    return say("{sentence}.", sentence=say(text, trained=say(TRAINED.get(phase, ""))))


def health_text() -> str:
    """The words of the health score with their bounds."""
    critical, shaky, steady = (health_word((low + high) / 2) for low, high, _ in HEALTH_BANDS)
    return say(
        "Health near 1 is {steady}; below {low} {shaky}; below {lowest} {critical}.",
        steady=charted(steady),
        low=HEALTH_BANDS[1][1],
        shaky=charted(shaky),
        lowest=HEALTH_BANDS[0][1],
        critical=charted(critical),
    )


def slider_text() -> str:
    """What slider, replay and wall do."""
    return say(
        "The slider goes over the whole run: genotype, heat map, curves, numbers and sentences show what was known at "
        "its step, while the run goes on; *Now* follows the latest step again. *Play* replays the run from there; at "
        "speed 1 it takes as long as the training took. *Wall* opens the run on one screen for a projector, beside a "
        "fixed network where a run of one is there (its name begins with that of the run). Its keys: {keys}.",
        keys="; ".join(f"*{say(key)}* {say(text)}" for key, text in KEYS.items()),
    )


def zoom_text() -> str:
    """How long a zoom lasts."""
    return say(
        "Drag over a chart to zoom in. The zoom stays while new values arrive; a double click, another run, or a "
        "change of one of these in the sidebar ends it: {names}. Switch *Follow* off to read a page that stands "
        "still. A finished run does not refresh.",
        names=", ".join(f"*{say(name)}*" for name in ZOOM_ENDS.values()),
    )
