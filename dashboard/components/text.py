"""The live page of a run that trains a text model: the encoder's proof, both losses, the usual curves."""

import streamlit as st

from components import panels, words
from components.feed import Snapshot
from components.language import later, say
from components.words import Kpi
from lab.charts import named_series, task_figure

TASKS = {
    "criteria": later("The model says the class of a sentence."),
    "evidence": later("The model says where the span of a sentence starts and ends; a sentence may have none."),
    "share": later("One encoder with two heads says the class of a sentence and where its span is."),
    "joint": later("Two encoders, fused, say the class of a sentence and where its span is."),
}
"""What the model of each task says."""
NO_CELL = later("It has no cell, so there is no genotype and no Gumbel temperature to show.")
LOSS_HELP = later(
    "Cross-entropy, nats: of the class, of the span's two ends (their mean), or the weighted sum of both."
)
ACCURACY_HELP = later("Share of sentences with the right class; of task evidence: whose span is right at both ends.")


def task_of(snapshot: Snapshot) -> str:
    """criteria, evidence, share or joint."""
    return str(snapshot.config.get("text", {}).get("task", "criteria"))


def task_text(snapshot: Snapshot) -> str:
    """What the run's model says of a sentence, on which encoder."""
    encoder = str(snapshot.config.get("text", {}).get("encoder", "tiny"))
    if encoder == "tiny":
        stands = say("It stands on a tiny encoder from random weights.")
    else:
        stands = say("It stands on the encoder {encoder}.", encoder=encoder)
    return f"{say(TASKS.get(task_of(snapshot), ''))} {stands} {say(NO_CELL)}".strip()


def kpis(snapshot: Snapshot) -> tuple[Kpi, ...]:
    """The headline numbers, in order."""
    usual = {kpi.name: kpi for kpi in words.kpis(snapshot)}
    task = Kpi(name="task", label=say("Task"), value=task_of(snapshot), help=say("criteria, evidence, share or joint."))
    return (task, *(usual[name] for name in ("step", "epoch", "stability", "accuracy", "memory")))


def body(picture: panels.PageFrame) -> None:
    """What a person should look at first, headline numbers, both losses where there are two, the usual curves."""
    snapshot = picture.snapshot
    panels.notices(picture)
    panels.headline(kpis(snapshot))
    st.caption(words.plain(task_text(snapshot)))
    attention = words.needs_attention(snapshot)
    if attention:
        panels.alerts(snapshot)
    decisions = named_series(snapshot.scalars, "decision/loss/")
    if decisions:
        with panels.card(say("Loss of class and span"), say("On the selection split, after each epoch.")):
            told = ", ".join(f"{series.name} {words.number(series.last, '.3f')}" for series in decisions)
            picture.curve(
                "parts",
                (picture.view, *(len(series) for series in decisions), picture.lengths()),
                lambda: task_figure((), decisions, view=picture.view),
                say("Loss of each part over steps; now {told}", told=told),
            )
    panels.curves(picture, loss=say(LOSS_HELP), accuracy=say(ACCURACY_HELP))
    if not attention:
        panels.alerts(snapshot)
