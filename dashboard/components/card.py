"""A framed place on the page."""

from typing import Any

import streamlit as st


def card(title: str, help: str) -> Any:
    """A framed place with a title; the help stands beside it."""
    place = st.container(border=True, height="stretch")
    place.markdown(f"**{title}**", help=help)
    return place
