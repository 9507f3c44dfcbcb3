"""Help page: what each panel of the live page means."""

import streamlit as st
from components.agent import MEANINGS
from components.hybrid import WEIGHTINGS

PANELS = {
    "Phases": "A search goes in cycles. *Warm-up* trains the weights alone. *Architecture* trains weights and "
    "architecture in turn. *Mutation* changes the cell in one moment. *Retraining* lets the changed network settle.",
    "Genotype": "The cell that the network is built of. Nodes are feature maps, always in the same place; an edge is "
    "what is done between two of them. Colour, dash and label say the primitive; width says how probable it is. "
    "★ marks the edges that the latest mutation changed.",
    "What changed": "A mutation replaces primitives without changing what the network computes at that moment: the "
    "*output difference* proves it. Then the new primitives are blended in, and the decision split says whether "
    "the change is kept (✔ accepted) or taken back (✘ rejected).",
    "Architecture probabilities": "How strongly the search believes in each primitive on each edge: softmax(α/τ). "
    "◆ is what the live network has, ▲ the argmax_genotype where it is another one.",
    "Temperature and entropy": "The Gumbel temperature τ decides how freely the search tries things out. As it falls, "
    "the entropy falls: the search makes up its mind. The dotted line, ln(primitives), is that of knowing nothing.",
    "Loss and accuracy": "Thick: moving average; pale: raw. *Batches* are what each step trains the weights on; "
    "in architecture phases (diamonds) a step trains the architecture on a split of its own, with cells drawn at "
    "random. The *decision split* trains nothing and decides about mutations. No image is in two of them. The test "
    "split is read once, at the end. A red cross is NaN or infinity.",
    "Stability": "Health near 1 is steady; below 0.7 shaky; below 0.4 critical. The sentences below it say why, "
    "and ⚑ and ↺ say what the trainer did about it.",
    "Alerts": "What the run asks a person to look at: level (information, warning, error), step and reason.",
    "Memory": "The resident set is all memory of the training process. Live tensors are parameters, buffers, "
    "gradients and optimizer state. A line that climbs without end is a leak.",
}
BUTTONS = {
    "Mutate now": "the network changes its own cell at the next step; in a run of recipe agent, the agent takes one "
    "action, which is tried and then kept or taken back",
    "Pause and Resume": "the run waits, and goes on as if nothing had been",
    "Save": "a checkpoint is written",
    "Temperature": "sets τ by hand; entropy and draws follow",
    "Stop": "a checkpoint is written and the run ends; it can be resumed",
}


def page() -> None:
    """Panels, buttons, the words of the agent and of several losses, how to read the page at leisure."""
    for title, text in PANELS.items():
        st.markdown(f"**{title}.** {text}")
    st.subheader("Buttons")
    st.markdown("\n".join(f"- **{name}**: {text}." for name, text in BUTTONS.items()))
    st.subheader("The evolution agent")
    st.markdown(
        "A run of recipe agent has no cell: an agent changes the layers of a live network between epochs. Its page "
        "shows actions and trials instead of genotype, probabilities and temperature."
    )
    st.markdown("\n".join(f"- **{word}**: {text}" for word, text in MEANINGS.items()))
    st.subheader("Several losses")
    st.markdown(
        "A run of recipe hybrid trains one model of a text and a table on several tasks at once. Its page shows the "
        "load of the router's experts, the weight of each loss, and what each component of the model needs."
    )
    st.markdown("\n".join(f"- **{name}**: {text}" for name, text in WEIGHTINGS.items()))
    st.subheader("Reading at leisure")
    st.markdown(
        "While a run trains, charts are drawn anew at each tick and forget a zoom. Choose *Steps shown* in the "
        "sidebar, or switch *Follow* off: then the page stands still and every chart can be zoomed. A finished run "
        "does so by itself."
    )


page()
