"""The live page of a run that the evolution agent works on: its actions, their trials, the network, how it learns."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go
import streamlit as st

from components import figures, panels, words
from components.feed import Snapshot
from components.words import Kpi, number, plain
from lab.charts import (
    Action,
    CurveView,
    action_counts,
    action_figure,
    action_table,
    learning_figure,
    parameter_figure,
    trial_figure,
)

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "Action": "one change that the agent tries on the live network; hybrid is several changes at once.",
        "✔ kept": "the change stays, with the weights that the network learnt in its trial.",
        "✘ rolled back": "it was tried and undone; the network is bit-identical to the one before.",
        "⊘ refused": "nothing was changed; the reason says why.",
        "Trial": "the changed network and a control copy train on the same batches; then both are evaluated on the "
        "selection split.",
        "Probe steps": "the training steps that each of the two takes in a trial.",
        "Loss change": "loss of the changed network less that of its control copy, in nats, ± one standard error; "
        "below zero the change helped.",
        "Exact": "the change does not alter what the network computes; the output difference was measured at that "
        "moment.",
        "Reward": "what the agent learns from: accuracy, size, information and stability, weighed in one number.",
        "Accept rate": "share of the last ten tried changes that were kept.",
        "Regret": "loss given away by decisions, in nats: by keeping a network worse than its control copy, or by "
        "rejecting a better one.",
        "Exploration ε": "how often the agent takes a random possible action instead of the one it thinks best.",
        "Not possible": "a masked action: the network has no place for it, or it would exceed the limits of the run.",
    }
)
"""The words of the agent's panels, one line each."""
RECENT = 10
"""Tried changes that the accept rate is a share of, at most."""
NO_CELL = (
    "This run is of recipe agent: the agent changes the layers of a live network. It has no cell, so there is no "
    "genotype, no architecture probabilities and no Gumbel temperature to show."
)


def _sentence(word: str) -> str:
    text = MEANINGS[word]
    return text[0].upper() + text[1:]


def kpis(snapshot: Snapshot, found: Sequence[Action]) -> tuple[Kpi, ...]:
    """The headline numbers of the agent's work, in order."""
    counts = action_counts(found)
    tried = counts["kept"] + counts["rolled back"]
    usual = {kpi.label: kpi for kpi in words.kpis(snapshot)}
    return (
        usual["Step"],
        usual["Epoch"],
        Kpi(
            label="Parameters",
            value=number(snapshot.series("agent/parameters").last, ",.0f"),
            help="Parameters of the network as it is now.",
        ),
        Kpi(label="Actions kept", value=f"{counts['kept']} of {tried}", help="Of all that were tried in this run."),
        Kpi(
            label="Accept rate",
            value=_accept_rate(snapshot, tried),
            help=_sentence("Accept rate"),
        ),
        Kpi(
            label="Regret so far",
            value=number(snapshot.series("agent/regret").last, ".4f"),
            help=_sentence("Regret"),
        ),
        usual["Stability"],
        usual["Decision accuracy"],
    )


def _accept_rate(snapshot: Snapshot, tried: int) -> str:
    """Accept rate with the number of tried changes that it is a share of: `40% of last 10`."""
    rate = snapshot.series("agent/accept_rate").last
    return number(rate, ".0%") if rate is None or not tried else f"{number(rate, '.0%')} of last {min(tried, RECENT)}"


def in_window(snapshot: Snapshot, found: Sequence[Action], view: CurveView) -> tuple[Action, ...]:
    """The actions at the steps that the page shows."""
    first = snapshot.last_step - view.last if view.last else 0
    return tuple(action for action in found if action.step >= first)


def action_lines(action: Action) -> tuple[str, ...]:
    """What an action did and what its trial measured, one sentence each."""
    lines = [f"{part.text} at {part.layer}" if part.layer else part.text for part in action.surgeries]
    if action.exact is not None:
        moved = number(action.difference, ".1e")
        lines.append(f"{'exact' if action.exact else 'not exact'}: output changed by {moved} at that moment")
    if action.loss_change is not None:
        lines.append(
            f"loss change {action.loss_text} nats after {action.probe_steps} probe steps beside its control copy"
        )
        parts = ", ".join(f"{name} {value:+.2f}" for name, value in action.reward_parts.items())
        lines.append(f"reward {number(action.reward, '+.3f')}" + (f", weighed from {parts}" if parts else ""))
    if action.parameters_text:
        stays = "" if action.outcome == "kept" else ", and back"
        lines.append(f"parameters {action.parameters_text}{stays}")
    return (*lines, f"why: {action.reason}") if action.reason else tuple(lines)


def state_line(action: Action) -> str:
    """How much the agent had learnt from after an action: `9 experiences, 4 updates of its policy, ...`."""
    names = {
        "experiences": "experiences",
        "updates": "updates of its policy",
        "probe_steps": "training steps in trials",
    }
    text = [f"{action.state[key]:,} {name}" for key, name in names.items() if key in action.state]
    return f"After action {action.number}: {', '.join(text)}." if text else ""


def parameter_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Parameters over steps with the kept changes."""
    return parameter_figure(snapshot.series("agent/parameters"), marks=figures.marks_of(snapshot), view=view)


def learning_panel(snapshot: Snapshot, view: CurveView) -> go.Figure:
    """Accept rate, exploration and regret over steps."""
    accept_rate, epsilon, regret = (snapshot.series(f"agent/{name}") for name in ("accept_rate", "epsilon", "regret"))
    return learning_figure(accept_rate, epsilon, regret, marks=figures.marks_of(snapshot), view=view)


def body(picture: panels.PageFrame) -> None:
    """What a person should look at first, headline numbers, actions, trials, network, curves, all actions."""
    snapshot = picture.snapshot
    found = snapshot.history.actions
    panels.notices(picture)
    panels.headline(kpis(snapshot, found))
    st.caption(NO_CELL)
    attention = words.needs_attention(snapshot)
    if attention:
        panels.alerts(snapshot)
    left, right = st.columns([3, 2])
    with left:
        _timeline(picture, found)
    with right:
        _latest(found)
    panels.evidence(picture)
    left, right = st.columns([3, 2])
    with left:
        _trials(picture, found)
    with right:
        _masked(found)
    left, right = st.columns(2)
    with left:
        _parameters(picture)
    with right:
        _learning(picture, found)
    _all_actions(found)
    _meanings()
    panels.curves(picture)
    if not attention:
        panels.alerts(snapshot)


def _timeline(picture: panels.PageFrame, found: Sequence[Action]) -> None:
    shown = in_window(picture.snapshot, found, picture.view)
    policy = words.policy_of(picture.snapshot)
    who = "The agent chooses." if policy == "agent" else f"Policy {policy} chooses, not the agent: a baseline."
    counts = ", ".join(f"{count} {outcome}" for outcome, count in action_counts(found).items())
    with panels.card("Actions", f"Each action in order: what it was, and what became of it. {who}"):
        picture.figure(
            "actions",
            (len(shown), picture.lengths()),
            lambda: action_figure(shown),
            f"Actions in order, by kind and outcome: {counts}",
        )
        if policy != "agent":
            st.caption(plain(who))


def _latest(found: Sequence[Action]) -> None:
    with panels.card("What the agent did last", "The latest action: the surgery, what its trial measured, and why."):
        if not found:
            st.write("No action yet: the network is as it began.")
            return
        st.markdown(f"##### {plain(found[-1].heading)}")
        st.markdown("\n".join(f"- {plain(line)}" for line in action_lines(found[-1])))


def _trials(picture: panels.PageFrame, found: Sequence[Action]) -> None:
    shown = in_window(picture.snapshot, found, picture.view)
    tried = [action for action in found if action.loss_change is not None]
    last = f"; the latest {tried[-1].loss_text} nats" if tried else ""
    with panels.card(
        "Trials",
        "Above: held-out loss change ± its standard error, below zero it helped; the axis is logarithmic far "
        "from zero. Below: reward.",
    ):
        picture.figure(
            "trials",
            (len(shown), picture.lengths()),
            lambda: trial_figure(shown),
            f"Loss change and reward of {len(tried)} trials{last}",
        )


def _masked(found: Sequence[Action]) -> None:
    with panels.card("Not possible now", _sentence("Not possible")):
        masked = found[-1].masked if found else {}
        if not found:
            st.write("Known after the first action.")
        elif not masked:
            st.write(f"After action {found[-1].number} every action is possible.")
        else:
            rows = [{"action": name, "reason": reason} for name, reason in masked.items()]
            st.dataframe(rows, hide_index=True, alt="Actions that are not possible now, with the reason")


def _meanings() -> None:
    with st.expander("Glossary"):
        st.markdown("\n".join(f"- **{word}**: {text}" for word, text in MEANINGS.items()))


def _parameters(picture: panels.PageFrame) -> None:
    snapshot = picture.snapshot
    with panels.card("Parameters", "Size of the live network; A3 ✔ is the third action, kept."):
        now = number(snapshot.series("agent/parameters").last, ",.0f")
        picture.curve(
            "parameters",
            (picture.view, picture.lengths("agent/parameters")),
            lambda: parameter_panel(snapshot, picture.view),
            f"Parameters of the network over steps, now {now}",
        )


def _learning(picture: panels.PageFrame, found: Sequence[Action]) -> None:
    snapshot = picture.snapshot
    names = ("agent/accept_rate", "agent/epsilon", "agent/regret")
    rate, epsilon, regret = (snapshot.series(name).last for name in names)
    with panels.card("Accept rate, exploration, regret", "How well the agent chooses, how much it explores, its cost."):
        picture.curve(
            "learning",
            (picture.view, picture.lengths(*names)),
            lambda: learning_panel(snapshot, picture.view),
            f"Accept rate, now {number(rate, '.0%')}, exploration, now {number(epsilon, '.0%')}, "
            f"and regret so far, {number(regret, '.4f')} nats, over steps",
        )
        if found and (text := state_line(found[-1])):
            st.caption(plain(text))


def _all_actions(found: Sequence[Action]) -> None:
    if found:
        with panels.card("What was changed", "All actions, the latest first; the glossary is below."):
            st.dataframe(action_table(found), hide_index=True, alt="All actions of the agent, the latest first")
