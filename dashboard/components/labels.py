"""What a person says of runs on the runs page: title, note, archive; and the deletion of a run."""

from collections.abc import Mapping, Sequence

import streamlit as st

from components import words
from lab.base import LabError
from lab.store import RunLabel, RunSummary, delete_run, read_label, write_label

TITLE_HELP = "What the run is called in this list; its folder keeps its name."
ARCHIVE_HELP = "The list leaves the run out; *Archived too* above it shows it again."
DELETE_HELP = "Deletes the folder of the run with its checkpoints, for good. A running run has to be stopped first."


def labels_of(runs: Sequence[RunSummary]) -> tuple[Mapping[str, RunLabel], tuple[str, ...]]:
    """The label of each run by its name, and what is wrong with those that cannot be read."""
    labels, wrong = {}, []
    for run in runs:
        try:
            labels[run.name] = read_label(run.path)
        except LabError as error:
            labels[run.name] = RunLabel()
            wrong.append(str(error))
    return labels, tuple(wrong)


def label_panel(run: RunSummary, label: RunLabel) -> None:
    """Fields for the title, the note and the archive of a run, and a button that asks before it deletes the run."""
    name = run.name
    with st.expander("Title, note, archive, delete", icon=":material/edit_note:"):
        with st.form(f"label_{name}", border=False):
            title = st.text_input("Title", label.title, key=f"title_{name}", help=TITLE_HELP)
            note = st.text_area("Note", label.note, key=f"note_{name}")
            archived = st.checkbox("Archived", label.archived, key=f"archived_{name}", help=ARCHIVE_HELP)
            saved = st.form_submit_button("Save", icon=":material/save:", key="save_label")
        lives = run.state in ("starting", "running")
        with st.popover("Delete", icon=":material/delete:", disabled=lives, help=DELETE_HELP):
            st.write(words.plain(f"Delete {name} with its checkpoints? This cannot be undone."))
            deleted = st.button("Yes, delete the run", key=f"delete_{name}")
        try:
            if saved:
                write_label(run.path, RunLabel(title=title.strip(), note=note.strip(), archived=archived))
            if deleted:
                delete_run(run.path)
        except LabError as error:
            st.error(words.plain(str(error)), icon=":material/error:")
            return
    if saved or deleted:
        st.rerun()
