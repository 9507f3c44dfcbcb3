"""Start a run from the page: a process of its own, which is the command `lab train`; until it trains, what it says.

What can be trained is asked of `lab train --describe`. Nothing about a started run is kept in a browser tab: its state
is that of its folder and its process, so that two tabs say the same.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from components.clock import LOOK_SECONDS, repeat
from components.language import later, say, say_error
from components.words import plain
from lab.base import ConfigError, LabError, StoreError, require, require_choice, require_range
from lab.store import RunSummary, check_new_run, launch, new_run_name

FOLDER = "LAB_FOLDER"
"""Environment variable: where runs begin; empty where none may be started, as beside a recorded run."""
DESCRIBE_SECONDS = 120.0
"""For the list of what can be trained, on a busy machine."""
LARGEST_SEED = 2**31 - 1
BEGUN, REFUSED_START = "begun_run", "refused_start"
"""What a browser tab remembers of its last click: the run that it goes to, or why there is none."""
MINUTES, EPOCHS = later("minutes of training"), later("epochs")
"""What the length of a run can be given in."""


@dataclass(frozen=True, kw_only=True)
class TrainChoices:
    """What can be trained here."""

    datasets: Mapping[str, tuple[str, ...]]
    """Recipe -> names of the data sets that it takes and that are here."""
    missing: tuple[str, ...]
    """Named data sets that are not here."""
    budgets: frozenset[str]
    """Recipes that can be planned for a time of training."""
    epochs: Mapping[str, int | None]
    """Recipe -> its epochs where none are given; None where a plan gives them."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run that a person asks for."""

    recipe: str
    dataset: str
    seed: int = 0
    minutes: float | None = None
    """Of training, for which the run is planned; None where its epochs are given."""
    epochs: int | None = None

    def check(self, choices: TrainChoices) -> None:
        """Refuse what cannot be trained here.

        Raises:
            ConfigError: an unknown recipe, a data set that is not here, a length that the recipe does not take.
        """
        require_choice("recipe", self.recipe, choices.datasets)
        require_choice(f"data set of {self.recipe}", self.dataset, choices.datasets[self.recipe])
        require_range("seed", self.seed, 0, LARGEST_SEED)
        given = [value for value in (self.minutes, self.epochs) if value is not None]
        require(len(given) == 1, expected=f"{MINUTES} or {EPOCHS}", got=f"{len(given)} of the two", hint="give one")
        if self.epochs is not None:
            require_range("epochs", self.epochs, 1)
            return
        if self.recipe not in choices.budgets:
            raise ConfigError(f"epochs of recipe {self.recipe}", MINUTES, "give its length in epochs")
        require_range("minutes", given[0], 0, open_low=True)

    def command(self, run_dir: Path) -> list[str]:
        """The command that trains it, as a terminal would be given it."""
        length = ["--epochs", str(self.epochs)] if self.minutes is None else ["--budget", f"{60 * self.minutes:g}s"]
        place = ["--save-dir", str(run_dir.parent.absolute()), "--name", run_dir.name]
        what = [self.recipe, "--dataset", self.dataset, "--seed", str(self.seed)]
        return lab_command("train", *what, *length, *place)


def lab_command(*words: str) -> list[str]:
    """The command `lab` with these words, by the Python that runs the page."""
    # -P: a file of the folder where it begins must not take the place of a package, as with the command itself.
    return [sys.executable, "-P", "-m", "lab", *words]


def read_choices(text: str) -> TrainChoices:
    """The choices in what `lab train --describe --json` writes."""
    payload: dict[str, Any] = json.loads(text)
    found, lengths = payload["datasets"], payload["lengths"]
    here = {
        recipe: tuple([item["name"] for item in found if item["found"] and recipe in item["recipes"]])
        for recipe in payload["recipes"]
    }
    return TrainChoices(
        datasets={recipe: names for recipe, names in here.items() if names},
        missing=tuple([item["name"] for item in found if not item["found"]]),
        budgets=frozenset([recipe for recipe, length in lengths.items() if length["budget"]]),
        epochs={recipe: length["epochs"] for recipe, length in lengths.items()},
    )


@st.cache_data(ttl=300, show_spinner=False)
def train_choices(folder: str) -> TrainChoices:
    """What can be trained by a process that begins in `folder`; asked again after five minutes.

    Raises:
        StoreError: `lab train --describe` does not answer.
    """
    command = lab_command("train", "--describe", "--json")
    hint = "run lab train --describe in a terminal"
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DESCRIBE_SECONDS
        )
        done.check_returncode()
        return read_choices(done.stdout)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise StoreError("what can be trained, from lab train --describe", said[-1], hint) from error
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise StoreError("what can be trained, from lab train --describe", got, hint) from error


def start_run(root: Path, name: str, request: RunRequest, choices: TrainChoices, folder: str) -> str:
    """Start a run in `root`; its name.

    Args:
        name: of its folder; empty: date and time.
        folder: where its process begins.

    Raises:
        ConfigError: what is asked for cannot be trained, or no name of a run.
        StoreError: there is such a run, or it cannot be started.
    """
    request.check(choices)
    name = name or new_run_name(root)
    check_new_run(root, name)
    launch.start(root / name, request.command(root / name), Path(folder))
    return name


def start_panel(root: Path, runs: Sequence[RunSummary]) -> None:
    """The fields of a run and the button that starts it; nothing where the page may start none."""
    folder = os.environ.get(FOLDER, os.getcwd())
    if not folder:
        return
    if BEGUN in st.session_state:
        st.switch_page("app_pages/live.py", query_params={"run": st.session_state.pop(BEGUN)})
    # Closed, it asks nobody what can be trained.
    place = st.expander(
        say("Start a run"), icon=":material/rocket_launch:", key="start", on_change="rerun", bind="query-params"
    )
    if not place.open:
        return
    with place:
        try:
            with st.spinner(say("Asking lab train what can be trained here")):
                choices = train_choices(folder)
        except LabError as error:
            st.error(plain(say_error(error)), icon=":material/error:")
            return
        _fields(choices)
        busy = [run.name for run in runs if run.state == "starting"]
        help = say("A process of its own: lab train.")
        if busy:
            help = say("{name} is starting; wait until it trains.", name=plain(busy[0]))
        st.button(
            say("Start"),
            type="primary",
            icon=":material/play_arrow:",
            disabled=bool(busy),
            help=help,
            # A run of this script may be cut off by the next one; what a click calls is not.
            on_click=_start,
            args=(root, choices, folder),
        )
        if choices.missing:
            text = later("Not here: {names}. lab train --dataset NAME --download fetches a data set.")
            st.caption(plain(say(text, names=", ".join(choices.missing))))
        if refused := st.session_state.get(REFUSED_START):
            st.error(plain(say("Nothing was started: {error}", error=refused)), icon=":material/error:")


def _start(root: Path, choices: TrainChoices, folder: str) -> None:
    """Start what the fields say at the moment of the click."""
    st.session_state.pop(REFUSED_START, None)
    try:
        st.session_state[BEGUN] = start_run(root, *_chosen(), choices, folder)
    except LabError as error:
        st.session_state[REFUSED_START] = say_error(error)


def _fields(choices: TrainChoices) -> None:
    """What a person chooses of a run, and the name of its folder."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        recipe = st.selectbox(say("Recipe"), list(choices.datasets), key="start_recipe", width=160)
        st.selectbox(say("Data set"), choices.datasets[recipe], key=f"start_dataset_{recipe}", width=200)
        kinds = [MINUTES, EPOCHS] if recipe in choices.budgets else [EPOCHS]
        kind = st.selectbox(say("Length in"), kinds, key=f"start_kind_{recipe}", format_func=say, width=200)
        if kind == MINUTES:
            st.number_input(say("Minutes"), 0.1, 10_000.0, 2.0, 0.5, key="start_minutes", width=140)
        else:
            usual = choices.epochs[recipe] or 20
            st.number_input(say("Epochs"), 1, 100_000, usual, key=f"start_epochs_{recipe}", width=140)
        st.number_input(say("Seed"), 0, LARGEST_SEED, 0, key="start_seed", width=140)
        st.text_input(say("Name"), key="start_name", placeholder=say("date and time"), width=200)


def _chosen() -> tuple[str, RunRequest]:
    """What the fields say: the name of the run's folder, and the run.

    Raises:
        ConfigError: another recipe or length was chosen in the same moment, and its fields are not there yet.
    """
    state = st.session_state
    recipe = state["start_recipe"]
    dataset, kind = f"start_dataset_{recipe}", f"start_kind_{recipe}"
    timed = state.get(kind) == MINUTES
    length = "start_minutes" if timed else f"start_epochs_{recipe}"
    if any(key not in state for key in (dataset, kind, length)):
        expected, hint = say("a data set and a length for {recipe}", recipe=recipe), say("choose them, then start")
        raise ConfigError(expected, "none", hint)
    request = RunRequest(
        recipe=recipe,
        dataset=state[dataset],
        seed=state["start_seed"],
        minutes=state[length] if timed else None,
        epochs=None if timed else state[length],
    )
    return state["start_name"].strip(), request


def stop_text() -> str:
    """What becomes of a run that does not stop."""
    return say(
        "A run that was started from this page and has not ended {stop:.0f} s after *Stop* gets SIGTERM, {term:.0f} s "
        "later SIGKILL.",
        stop=launch.STOP_SECONDS,
        term=launch.TERM_SECONDS,
    )


def starting_run(run_dir: Path) -> None:
    """What the process of a run says until the run can be read; then the page is drawn anew."""
    st.subheader(plain(run_dir.name))
    found = launch.state(run_dir)
    starts = found is not None and found[0] == "starting"
    if starts:
        # It listens to no command yet: it gets SIGTERM at once.
        end = partial(launch.end_later, run_dir, stop_seconds=0.0)
        st.button(say("Stop"), icon=":material/stop_circle:", on_click=end)

    def look() -> None:
        now = launch.state(run_dir)
        if now is None or found is None or now[0] != found[0]:
            st.rerun()
        if now[0] == "starting":
            st.info(plain(say("The run is starting: {reason}.", reason=now[1])), icon=":material/hourglass_top:")
        else:
            st.error(plain(say("The run did not begin: {reason}", reason=now[1])), icon=":material/error:")
        lines = launch.last_lines(run_dir)
        if lines:
            st.caption(plain(say("The end of {file}:", file=run_dir / launch.LOG)))
            st.code("\n".join(lines), language=None)

    repeat(look, LOOK_SECONDS)
