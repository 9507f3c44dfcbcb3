"""Labelled sentences that a program writes: reports on machines, with the words that say that something is broken.

The class is `fault` or `normal`. A fault's span is the words that tell it. The same words stand in normal sentences
too, behind a negation, and every sentence names a time, so that no single word decides.
"""

import numpy as np

from lab.base import derive_seed

TITLE = "sentences (synthetic)"
COUNT = 1500
MACHINES = ("pump", "fan", "valve", "motor", "belt", "press", "lathe", "boiler", "mixer", "crane", "drill", "saw")
PLACES = ("left", "right", "old", "new", "second", "third", "small", "large")
FAULTS = (
    "leaking oil",
    "out of order",
    "making a loud noise",
    "losing pressure",
    "far too hot",
    "stuck",
    "vibrating badly",
    "without power",
)
STATES = ("running well", "as quiet as ever", "at its usual speed", "ready", "clean", "in use", "warm and steady")
NEGATIONS = ("no longer", "not", "never")
FORMS = (
    "the {place} {machine} in hall {hall} is {state} since {hour}:{minute:02d}",
    "since {hour}:{minute:02d} the {place} {machine} is {state}, says hall {hall}",
    "hall {hall}: {place} {machine} {state}, seen at {hour}:{minute:02d}",
    "please note that at {hour}:{minute:02d} the {place} {machine} was {state}",
)


def write_sentences(count: int = COUNT) -> list[dict[str, str]]:
    """Rows with the columns text, label and spans, a function of `count` alone; synthetic.

    Args:
        count: of sentences, >= 1.
    """
    rng = np.random.default_rng(derive_seed(0, "text", "sentences"))
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: np.random.Generator) -> dict[str, str]:
    kind = rng.random()
    fault = str(rng.choice(FAULTS))
    if kind < 0.4:
        state, broken = fault, True
    elif kind < 0.6:
        state, broken = f"{rng.choice(NEGATIONS)} {fault}", False
    else:
        state, broken = str(rng.choice(STATES)), False
    text = str(rng.choice(FORMS)).format(
        place=rng.choice(PLACES),
        machine=rng.choice(MACHINES),
        hall=rng.integers(1, 10),
        hour=rng.integers(0, 24),
        minute=5 * rng.integers(0, 12),
        state=state,
    )
    begin = text.index(state)
    span = f"{begin}:{begin + len(state)}" if broken else ""
    return {"text": text, "label": "fault" if broken else "normal", "spans": span}
