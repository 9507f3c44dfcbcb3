"""Places on the page: a framed one, one that is empty until it is opened, and a table of sentences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from components.words import plain

MOST_ROWS = 200
"""Rows of a table; the run's store has all of them."""
CHANGE_ICON = ":material/swap_horiz:"
"""Stands before the name of a change."""


def card(title: str, help: str) -> Any:
    """A framed place with a title; the help stands beside it."""
    place = st.container(border=True, height="stretch")
    place.markdown(f"**{title}**", help=help)
    return place


def folded(title: str, key: str, draw: Callable[[], None], *, icon: str | None = None, opened: bool = False) -> None:
    """A place that a person opens: what stands in it is made and sent only while it is open.

    Args:
        key: what the place is remembered by; the title may change.
        draw: draws into it.
        opened: whether it is open at first.
    """
    place = st.expander(title, expanded=opened, key=f"folded_{key}", on_change="rerun", icon=icon)
    if place.open:
        with place:
            draw()


def sentences(rows: Sequence[Mapping[str, str]], alt: str) -> None:
    """A table of few rows whose texts are read whole: lines are broken, where `st.dataframe` would cut them."""
    shown = [{plain(name): plain(text) for name, text in row.items()} for row in rows]
    st.table(shown, hide_index=True, alt=alt)
