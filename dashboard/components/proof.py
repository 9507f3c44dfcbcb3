"""The proof of the latest change: what the network said of ten samples before and after, and the transition since."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from components import words
from components.card import MOST_ROWS, card, folded
from components.charted import charted, charted_rows
from components.feed import Snapshot
from components.language import later, say
from lab.charts import proof_figure, proof_heading, proof_table, proof_text
from lab.store import EventRow

if TYPE_CHECKING:
    from components.panels import PageFrame

HELP = later(
    "Ten fixed images of the selection split. Above the line: what the network said right before the change; below it: "
    "right after, before any training. A mirror image proves that nothing moved."
)


def predictions_since(snapshot: Snapshot, proof: EventRow) -> EventRow | None:
    """The latest reading of the network behind a proof; None where it has not been read since."""
    reading = snapshot.latest("predictions")
    return reading if reading is not None and reading.id > proof.id else None


def transition_share(snapshot: Snapshot, proof: EventRow) -> float | None:
    """Share of the new primitives in the change that is proven, in [0, 1]; None where no transition has begun."""
    beta = snapshot.series("beta").since(proof.step)
    later = any(event.id > proof.id for event in snapshot.of("rollback"))
    share = beta.last
    # A damaged row may hold NaN, which a bar refuses.
    known = share is not None and 0.0 <= share <= 1.0
    return share if known and not later and proof.payload["what"] in ("mutation", "growth") else None


def proof_panel(picture: "PageFrame") -> None:
    """The latest proof as bars, in words and as a table; then how far the transition is."""
    snapshot = picture.snapshot
    proof, images = snapshot.latest("proof"), snapshot.latest("images")
    now = None if proof is None else predictions_since(snapshot, proof)
    changed = snapshot.history.latest("mutation", "growth", "action") is not None
    title, label = say("The proof"), say("No proof")
    told = "" if proof is None else charted(proof_text(proof.payload))
    if proof is not None:
        title = say("The proof: {change}", change=charted(proof_heading(proof.step, proof.payload)))
        label = say("Probabilities of ten samples before and after the latest change. {told}", told=told)
    with card(title, say(HELP)):
        picture.figure(
            "proof",
            (changed, *(None if event is None else event.id for event in (proof, images, now))),
            lambda: proof_figure(
                *(None if event is None else event.payload for event in (proof, images, now)), changed=changed
            ),
            label,
        )
        if proof is None:
            return
        st.markdown(f"**{words.plain(told)}**")
        st.caption(words.plain(proof.payload["title"]))
        share = transition_share(snapshot, proof)
        if share is not None:
            text = later("Then the transition: {share:.0%} of the way from the old part to the new one")
            st.progress(share, say(text, share=share))
        proofs = snapshot.of("proof")
        whole = later("All proofs ({count:,} in all)")
        part = later("The latest {most} proofs ({count:,} in all)")
        few = say(whole if len(proofs) <= MOST_ROWS else part, most=MOST_ROWS, count=len(proofs))
        folded(few, "proofs", partial(_proof_table, proofs[-MOST_ROWS:], few))


def _proof_table(proofs: Sequence[EventRow], title: str) -> None:
    rows = charted_rows(proof_table(proofs), "change", "kind", "same bits")
    st.dataframe(rows, hide_index=True, alt=say("{table}, the latest first", table=title))
