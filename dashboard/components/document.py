"""Tells the browser which language the page is in: a screen reader reads it aloud by that."""

import streamlit as st

from lab.base import page_language

_DOCUMENT = st.components.v2.component(
    "lab_document",
    js="export default function ({ data }) { document.documentElement.lang = data.language; }",
    isolate_styles=False,
)


def tell_language() -> None:
    """Write the language into the document; Streamlit itself says that every page is in English."""
    language = page_language()
    if language != "en":
        _DOCUMENT(key="document_language", data={"language": language}, height=1)
