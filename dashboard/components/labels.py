"""What a person says of runs on the runs page: title, note, archive; and the deletion of a run."""

from collections.abc import Mapping, Sequence

import streamlit as st

from components import words
from components.language import later, say, say_error
from lab.base import LabError
from lab.store import RunLabel, RunSummary, delete_run, read_label, write_label

TITLE_HELP = later("What the run is called in this list; its folder keeps its name.")
ARCHIVE_HELP = later("The list leaves the run out; *Archived too* above it shows it again.")
DELETE_HELP = later(
    "Deletes the folder of the run with its checkpoints, for good. A running run has to be stopped first."
)


def labels_of(runs: Sequence[RunSummary]) -> tuple[Mapping[str, RunLabel], tuple[str, ...]]:
    """The label of each run by its name, and what is wrong with those that cannot be read."""
    labels, wrong = {}, []
    for run in runs:
        try:
            labels[run.name] = read_label(run.path)
        except LabError as error:
            labels[run.name] = RunLabel()
            wrong.append(say_error(error))
    return labels, tuple(wrong)


def label_panel(run: RunSummary, label: RunLabel) -> None:
    """Fields for the title, the note and the archive of a run, and a button that asks before it deletes the run."""
    name = run.name
    with st.expander(say("Title, note, archive, delete"), icon=":material/edit_note:"):
        with st.form(f"label_{name}", border=False):
            title = st.text_input(say("Title"), label.title, key=f"title_{name}", help=say(TITLE_HELP))
            note = st.text_area(say("Note"), label.note, key=f"note_{name}")
            archived = st.checkbox(say("Archived"), label.archived, key=f"archived_{name}", help=say(ARCHIVE_HELP))
            saved = st.form_submit_button(say("Save"), icon=":material/save:", key="save_label")
        lives = run.state in ("starting", "running")
        with st.popover(say("Delete"), icon=":material/delete:", disabled=lives, help=say(DELETE_HELP)):
            st.write(words.plain(say("Delete {name} with its checkpoints? This cannot be undone.", name=name)))
            deleted = st.button(say("Yes, delete the run"), key=f"delete_{name}")
        try:
            if saved:
                write_label(run.path, RunLabel(title=title.strip(), note=note.strip(), archived=archived))
            if deleted:
                delete_run(run.path)
        except LabError as error:
            st.error(words.plain(say_error(error)), icon=":material/error:")
            return
    if saved or deleted:
        st.rerun()
