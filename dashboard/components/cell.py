"""The panels of a searched cell: its graph, what changed last, the probabilities."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from components import figures, words
from components.card import CHANGE_ICON, MOST_ROWS, card, folded
from components.charted import charted, charted_rows
from components.language import say
from lab.charts import CellEdge, Change, change_table, edge_table, probability_table
from lab.store import EventRow

if TYPE_CHECKING:
    from components.panels import PageFrame


def genotype_card(picture: "PageFrame", event: EventRow | None, change: Change | None) -> None:
    edges = figures.drawn_edges(event, change)
    title = say("Genotype") if event is None else say("Genotype at step {step:,}", step=event.step)
    with card(title, say("The cell of the network. A thick edge is a probable primitive; ★ is new.")):
        share = figures.transition_share(picture.snapshot, change)
        depends = (None if event is None else event.id, change, share)
        cells = ", ".join(f"{row['edge']} {row['primitive']}" for row in edge_table(edges))
        picture.figure(
            "genotype",
            depends,
            lambda: figures.genotype_panel(event, change, share),
            say("Graph of the cell: {cells}", cells=cells) if cells else say("No genotype"),
        )
        if rank := words.rank_text(event):
            st.caption(words.plain(rank))
        if edges:
            folded(say("As a table"), "edges", partial(_edge_table, edges))


def _edge_table(edges: Sequence[CellEdge]) -> None:
    rows = charted_rows(edge_table(edges), "probability", "changed")
    st.dataframe(rows, hide_index=True, alt=say("Edges of the cell with primitive and probability"))


def change_card(picture: "PageFrame", change: Change | None) -> None:
    help = say("The latest mutation: which edges, by how much the output changed, and the outcome.")
    with card(say("What changed"), help):
        for line in words.growth_lines(picture.snapshot)[:3]:
            st.markdown(f"- ⬆ {words.plain(line)}")
        if change is None:
            st.write(say("No mutation: the network still has its first cell."))
            return
        st.markdown(f"{CHANGE_ICON} **{charted(change.heading)}**")
        for line in change.lines:
            st.markdown(f"- {words.plain(charted(line))}")
        if not change.lines:
            st.markdown(f"- {say('no edge was changed')}")
        loss = "" if "decision loss" in change.reason else change.loss_text
        facts = [charted(change.difference_text), charted(loss), charted(change.requested_text), change.reason]
        st.markdown("  \n".join(words.plain(fact) for fact in facts if fact))
        share = figures.transition_share(picture.snapshot, change)
        if share is not None:
            st.progress(share, say("transition to the new primitives: {share:.0%}", share=share))
        found = picture.snapshot.history.changes
        latest = found[-MOST_ROWS:]
        few = say("All mutations")
        if len(latest) < len(found):
            few = say("The latest {latest} of {count:,} mutations", latest=len(latest), count=len(found))
        folded(few, "mutations", partial(_mutation_table, latest, few))


def _mutation_table(changes: Sequence[Change], title: str) -> None:
    rows = charted_rows(change_table(changes), "status", "edits", "asked by")
    st.dataframe(rows, hide_index=True, alt=say("{table}, the latest first", table=title))


def probability_card(picture: "PageFrame", event: EventRow | None) -> None:
    with card(
        say("Architecture probabilities"),
        say("softmax(α/τ) on each edge. ◆ is what the network has, ▲ the most probable."),
    ):
        picture.figure(
            "probabilities",
            None if event is None else event.id,
            lambda: figures.probability_panel(event),
            say("Probability of each primitive on each edge"),
        )
        if event is not None:
            folded(say("As a table"), "probabilities", partial(_probability_table, event))


def _probability_table(event: EventRow) -> None:
    rows = charted_rows(probability_table(event.payload))
    st.dataframe(rows, hide_index=True, alt=say("Probabilities and entropy per edge"))
