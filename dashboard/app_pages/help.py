"""Help page: what ASO-SE and MAHIA-X are, what each panel and button of the live page means."""

from collections.abc import Mapping

import streamlit as st
from components.agent import MEANINGS
from components.behaviour import health_text, phases_text, slider_text, zoom_text
from components.language import later, say
from components.multitask import WEIGHTINGS
from components.text import TASKS

PROJECTS = {
    later("ASO-SE"): later(
        "*Alternating stable optimization with stochastic exploration*, the search that `lab train` runs: it "
        "trains weights, then architecture parameters with Gumbel-softmax sampling, then mutates the live network "
        "without changing its output, then trains it further."
    ),
    later("MAHIA-X"): later(
        "a family of model components (expert router, memories, layer routing, loss weighting) and the model of a "
        "text and a table that is built of them."
    ),
}
PANELS = {
    later("Phases"): "{phases}",
    later("Genotype"): later(
        "The cell that the network is built of. Nodes are feature maps at fixed places; an edge is the operation "
        "between two of them. Colour, dash and label name the primitive; width shows its probability. ★ marks the "
        "edges that the latest mutation changed."
    ),
    later("What changed"): later(
        "A mutation replaces primitives without changing what the network computes at that moment: the *output "
        "difference* proves it. Then the output moves to the new primitives step by step (the transition), and the "
        "selection split decides whether the change is kept (✔ accepted) or rolled back (✘ rejected)."
    ),
    later("The proof"): later(
        "At each change the network is asked about the same ten images of the selection split, right before and "
        "right after it, before any training. Bars above the line are before, bars below it after: a mirror image "
        "means that nothing moved. The sentence gives the largest difference, and how many outputs have the same "
        "bits. The lower bars are what the network says now, when the transition and the training have moved it."
    ),
    later("Ask the class"): later(
        "Let the class guess whether a change is kept or taken back: switch *Ask the class* on, beside the buttons. "
        "Then nothing on the page tells how a change ended until *Reveal* is pressed, which appears when it is "
        "decided. Answers are counted in this browser tab and are sent nowhere."
    ),
    later("Architecture probabilities"): later(
        "The probability of each primitive on each edge: softmax(α/τ). ◆ is what the live network has, ▲ the most "
        "probable primitive where it is another one."
    ),
    later("Temperature and entropy"): later(
        "The Gumbel temperature τ controls how much the search explores. As it falls, the entropy falls: the "
        "search converges. The dotted line is the entropy of a uniform choice: ln(primitives that can be drawn)."
    ),
    later("Loss and accuracy"): later(
        "Thick: moving average; pale: raw. *Batches* are the training batches of the weights; in architecture "
        "phases (diamonds) a step trains the architecture on the search split, with randomly sampled cells. The "
        "*selection split* trains nothing and decides about mutations. No image is in two splits. The test split "
        "is read once, at the end. A red cross is NaN or infinity. *Horizontal axis* in the sidebar draws the "
        "curves over steps, epochs or seconds of training. *Robust value axis* leaves out the few values far from "
        "all others. *Points of a line* sets how closely a long curve is drawn. Below the chart stands what is "
        "left out."
    ),
    later("Stability"): later(
        "{health} The sentences below it give the reasons; ⚑ (intervention) and ↺ (rollback) show what the trainer did."
    ),
    later("The images"): later(
        "Forty fixed images of the selection split, never of the test split, with what the network says now. The "
        "frame and a sign tell right (✔) from wrong (✘); ▲ was wrong at the reading before and is right now, ▼ the "
        "other way. A run on texts or tables shows its samples in words."
    ),
    later("Confusion matrix"): later(
        "Of the whole selection split: how many images of a class (row) were taken for a class (column). Blue is "
        "right, orange is wrong."
    ),
    later("Layers"): later(
        "One row for each layer, one column for each reading: the norm of its gradient behind the clipping, and "
        "how far a step moves its weights, relative to them. It is read at the first step of an epoch that trains "
        "weights and at every 64th step behind it."
    ),
    later("All metrics"): later(
        "Every number that the run writes, in groups by the part of its name before the first slash. *Metrics* in "
        "the sidebar finds some of them by a part of their name, or by a regular expression such as "
        "`loss|accuracy`."
    ),
    later("Alerts"): later("What needs your attention: level (information, warning, error), step and reason."),
    later("Memory"): later(
        "The resident set is all memory of the training process. Live tensors are parameters, buffers, gradients "
        "and optimizer state. Each has an axis of its own. A line that never stops rising is a memory leak."
    ),
}
BUTTONS = {
    later("Mutate now"): later(
        "the network changes its own cell at the next step; in a run of recipe agent, the agent takes one action, "
        "which is tried and then kept or rolled back"
    ),
    later("Pause and Resume"): later("the run waits, then continues; the result is the same as without the pause"),
    later("Save"): later("a checkpoint is written"),
    later("Temperature"): later(
        "holds τ at a value of yours, through epochs and resumes, until *Release temperature* lets the schedule "
        "set it again; while it is held the page says so"
    ),
    later("Stop"): later(
        "a checkpoint is written and the run ends; it can be resumed. One that the page has started and that does not "
        "end is ended by force"
    ),
}


LANGUAGES = later(
    "`LAB_LANG=de lab dashboard` shows this page in German, `zh` in Chinese; without it the page is in English. What a "
    "run has stored stays as it was written: reasons, alerts, names of primitives, layers, settings and metrics. What "
    "an error of the lab says stays in English as well."
)
STUDIES = later(
    "A study of `lab tune` tries other settings of a recipe; each trial is a run, which opens on the live page. "
    "*History* has the value of each complete trial and the best so far. *Importances* say how much of the difference "
    "between good and bad trials each setting explains. *Parallel coordinates* draw a line for each trial across its "
    "settings to its value. With several objectives the *Pareto front* has the trials that no other one "
    "beats in all of them. The *retry policy* says which failed attempts are tried again, always with the same "
    "settings; a retry is no further trial."
)


def words_of(meanings: Mapping[str, str]) -> str:
    """A list of words with what each means."""
    return "\n".join(say("- **{name}**: {text}", name=say(name), text=say(text)) for name, text in meanings.items())


def page() -> None:
    """Panels, buttons, the glossary of the agent and of several losses, zooming and pausing."""
    st.markdown(
        "\n".join(say("- **{name}** is {text}", name=say(name), text=say(text)) for name, text in PROJECTS.items())
    )
    for title, text in PANELS.items():
        told = say(text, phases=phases_text(), health=health_text())
        st.markdown(say("**{title}.** {text}", title=say(title), text=told))
    st.subheader(say("Buttons"))
    st.markdown(
        "\n".join(say("- **{name}**: {text}.", name=say(name), text=say(text)) for name, text in BUTTONS.items())
    )
    st.subheader(say("The evolution agent"))
    st.markdown(
        say(
            "A run of recipe agent has no cell: an agent changes the layers of a live network between epochs. Its page "
            "shows actions and trials instead of genotype, probabilities and temperature."
        )
    )
    st.markdown(words_of(MEANINGS))
    st.subheader(say("Several losses"))
    st.markdown(
        say(
            "A run of recipe multitask trains one model of a text and a table on several tasks at once. Its page shows "
            "the load of the router's experts, the weight of each loss, and what each component of the model needs."
        )
    )
    st.markdown(words_of(WEIGHTINGS))
    st.subheader(say("Sentences"))
    st.markdown(
        say("A run of recipe text trains a classifier of sentences on an encoder; its page has no cell to show.")
    )
    st.markdown(words_of(TASKS))
    st.subheader(say("Studies"))
    st.markdown(say(STUDIES))
    st.subheader(say("Looking back, replay, wall"))
    st.markdown(slider_text())
    st.subheader(say("Zooming and pausing"))
    st.markdown(zoom_text())
    st.subheader(say("Language"))
    st.markdown(say(LANGUAGES))


page()
