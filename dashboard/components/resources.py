"""What all browser tabs share: one feed and one store of drawings."""

import sys
import uuid
from contextlib import suppress
from pathlib import Path

import streamlit as st

from components.feed import SnapshotFeed
from components.figures import DrawingCache
from components.root import run_folders, runs_root
from lab.base import LabError


def root_of_page() -> Path:
    """The folder of all runs, from the command line or the environment."""
    return runs_root(sys.argv[1:])


@st.cache_resource(max_entries=32, show_spinner=False)
def feed_of(run_dir: str) -> SnapshotFeed:
    """The feed of a run; a folder that cannot be read raises `StoreError` each time anew."""
    return SnapshotFeed(Path(run_dir))


def read_ahead(name: str) -> None:
    """Read what the page of the run `name` begins with, so that it is there when the page asks for it.

    Args:
        name: as an address has it; one that is no run, or cannot be read, is left to the page, which says so.
    """
    root = root_of_page()
    if name in run_folders(root):
        with suppress(LabError):
            feed_of(str(root / name)).refresh(past=False)


def this_tab() -> str:
    """What tells this browser tab from the others."""
    return str(st.session_state.setdefault("tab", uuid.uuid4().hex))


@st.cache_resource(show_spinner=False)
def drawing_cache() -> DrawingCache:
    """The figures that were drawn last."""
    return DrawingCache(size=256)
