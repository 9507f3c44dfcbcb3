"""The live page of a run that the evolution agent works on: its actions, their trials, the network, how it learns."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go
import streamlit as st

from components import figures, panels, words
from components.ask import surgery_text
from components.card import CHANGE_ICON, sentences
from components.charted import charted, charted_rows
from components.feed import Snapshot
from components.language import later, say
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
        later("Action"): later(
            "one change that the agent tries on the live network; hybrid is several changes at once."
        ),
        later("✔ kept"): later("the change stays, with the weights that the network learnt in its trial."),
        later("✘ rolled back"): later("it was tried and undone; the network is bit-identical to the one before."),
        later("⊘ refused"): later("nothing was changed; the reason says why."),
        later("Trial"): later(
            "the changed network and a control copy train on the same batches; then both are evaluated on the "
            "selection split."
        ),
        later("Probe steps"): later("the training steps that each of the two takes in a trial."),
        later("Loss change"): later(
            "loss of the changed network less that of its control copy, in nats, ± one standard error; below zero the "
            "change helped."
        ),
        later("Exact"): later(
            "the change does not alter what the network computes; the output difference was measured at that moment."
        ),
        later("Reward"): later(
            "what the agent learns from: accuracy, size, information and stability, weighed in one number."
        ),
        later("Accept rate"): later("share of the last ten tried changes that were kept."),
        later("Regret"): later(
            "loss given away by decisions, in nats: by keeping a network worse than its control copy, or by rejecting "
            "a better one."
        ),
        later("Exploration ε"): later(
            "how often the agent takes a random possible action instead of the one it thinks best."
        ),
        later("Not possible"): later(
            "a masked action: the network has no place for it, or it would exceed the limits of the run."
        ),
    }
)
"""The words of the agent's panels, one line each."""
RECENT = 10
"""Tried changes that the accept rate is a share of, at most."""
NO_CELL = later(
    "This run is of recipe agent: the agent changes the layers of a live network. It has no cell, so there is no "
    "genotype, no architecture probabilities and no Gumbel temperature to show."
)


def _sentence(word: str) -> str:
    text = say(MEANINGS[word])
    return text[0].upper() + text[1:]


def kpis(snapshot: Snapshot, found: Sequence[Action]) -> tuple[Kpi, ...]:
    """The headline numbers of the agent's work, in order."""
    counts = action_counts(found)
    tried = counts["kept"] + counts["rolled back"]
    usual = {kpi.name: kpi for kpi in words.kpis(snapshot)}
    return (
        usual["step"],
        usual["epoch"],
        Kpi(
            name="parameters",
            label=say("Parameters"),
            value=number(snapshot.series("agent/parameters").last, ",.0f"),
            help=say("Parameters of the network as it is now."),
        ),
        Kpi(
            name="kept",
            label=say("Actions kept"),
            value=say("{kept} of {tried}", kept=counts["kept"], tried=tried),
            help=say("Of all that were tried in this run."),
        ),
        Kpi(
            name="accept rate",
            label=say("Accept rate"),
            value=_accept_rate(snapshot, tried),
            help=_sentence("Accept rate"),
        ),
        Kpi(
            name="regret",
            label=say("Regret so far"),
            value=number(snapshot.series("agent/regret").last, ".4f"),
            help=_sentence("Regret"),
        ),
        usual["stability"],
        usual["accuracy"],
    )


def _accept_rate(snapshot: Snapshot, tried: int) -> str:
    """Accept rate with the number of tried changes that it is a share of: `40% of last 10`."""
    rate = snapshot.series("agent/accept_rate").last
    if rate is None or not tried:
        # A share of nothing is no 0 %.
        return number(None)
    return say("{rate} of last {count}", rate=number(rate, ".0%"), count=min(tried, RECENT))


def in_window(snapshot: Snapshot, found: Sequence[Action], view: CurveView) -> tuple[Action, ...]:
    """The actions at the steps that the page shows."""
    first = snapshot.last_step - view.last if view.last else 0
    return tuple(action for action in found if action.step >= first)


def action_lines(action: Action) -> tuple[str, ...]:
    """What an action did and what its trial measured, one sentence each."""
    lines = [surgery_text(part) for part in action.surgeries]
    if action.exact is not None:
        moved, exact = number(action.difference, ".1e"), later("exact: output changed by {moved} at that moment")
        lines.append(say(exact if action.exact else "not exact: output changed by {moved} at that moment", moved=moved))
    if action.loss_change is not None:
        change = charted(action.loss_text)
        text = later("loss change {change} nats after {steps} probe steps beside its control copy")
        lines.append(say(text, change=change, steps=action.probe_steps))
        reward = say("reward {reward}", reward=number(action.reward, "+.3f"))
        parts = ", ".join(f"{name} {value:+.2f}" for name, value in action.reward_parts.items())
        lines.append(say("{reward}, weighed from {parts}", reward=reward, parts=parts) if parts else reward)
    if action.parameters_text:
        text = say("parameters {change}", change=action.parameters_text)
        lines.append(text if action.outcome == "kept" else say("{change}, and back", change=text))
    return (*lines, say("why: {reason}", reason=action.reason)) if action.reason else tuple(lines)


def state_line(action: Action) -> str:
    """How much the agent had learnt from after an action: `9 experiences, 4 updates of its policy, ...`."""
    names = {
        "experiences": later("{count:,} experiences"),
        "updates": later("{count:,} updates of its policy"),
        "probe_steps": later("{count:,} training steps in trials"),
    }
    known = [say(text, count=action.state[key]) for key, text in names.items() if key in action.state]
    return say("After action {number}: {known}.", number=action.number, known=", ".join(known)) if known else ""


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
    st.caption(say(NO_CELL))
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
    if policy == "agent":
        who = say("The agent chooses.")
    else:
        who = say("Policy {policy} chooses, not the agent: a baseline.", policy=policy)
    counts = ", ".join(f"{count} {charted(outcome)}" for outcome, count in action_counts(found).items())
    help = say("Each action in order: what it was, and what became of it. {who}", who=who)
    with panels.card(say("Actions"), help):
        picture.figure(
            "actions",
            (len(shown), picture.lengths()),
            lambda: action_figure(shown),
            say("Actions in order, by kind and outcome: {counts}", counts=counts),
        )
        if policy != "agent":
            st.caption(plain(who))


def _latest(found: Sequence[Action]) -> None:
    help = say("The latest action: the surgery, what its trial measured, and why.")
    with panels.card(say("What the agent did last"), help):
        if not found:
            st.write(say("No action: the network is as it began."))
            return
        st.markdown(f"{CHANGE_ICON} **{plain(charted(found[-1].heading))}**")
        st.markdown("\n".join(f"- {plain(line)}" for line in action_lines(found[-1])))


def _trials(picture: panels.PageFrame, found: Sequence[Action]) -> None:
    shown = in_window(picture.snapshot, found, picture.view)
    tried = [action for action in found if action.loss_change is not None]
    label = say("Loss change and reward of {count} trials", count=len(tried))
    if tried:
        label = say("{label}; the latest {change} nats", label=label, change=charted(tried[-1].loss_text))
    help = say(
        "Above: held-out loss change ± its standard error, below zero it helped; the axis is logarithmic far "
        "from zero. Below: reward."
    )
    with panels.card(say("Trials"), help):
        picture.figure(
            "trials",
            (len(shown), picture.lengths()),
            lambda: trial_figure(shown),
            label,
        )


def _masked(found: Sequence[Action]) -> None:
    with panels.card(say("Not possible now"), _sentence("Not possible")):
        masked = found[-1].masked if found else {}
        if not found:
            st.write(say("Known after an action."))
        elif not masked:
            st.write(say("After action {number} every action is possible.", number=found[-1].number))
        else:
            rows = [{say("action"): name, say("reason"): reason} for name, reason in masked.items()]
            sentences(rows, say("Actions that are not possible now, with the reason"))


def _meanings() -> None:
    with st.expander(say("Glossary")):
        st.markdown("\n".join(f"- **{say(word)}**: {say(text)}" for word, text in MEANINGS.items()))


def _parameters(picture: panels.PageFrame) -> None:
    snapshot = picture.snapshot
    with panels.card(say("Parameters"), say("Size of the live network; A3 ✔ is the third action, kept.")):
        now = number(snapshot.series("agent/parameters").last, ",.0f")
        picture.curve(
            "parameters",
            (picture.view, picture.lengths("agent/parameters")),
            lambda: parameter_panel(snapshot, picture.view),
            say("Parameters of the network over steps, now {now}", now=now),
        )


def _learning(picture: panels.PageFrame, found: Sequence[Action]) -> None:
    snapshot = picture.snapshot
    names = ("agent/accept_rate", "agent/epsilon", "agent/regret")
    rate, epsilon, regret = (snapshot.series(name).last for name in names)
    help = say("How well the agent chooses, how much it explores, its cost.")
    with panels.card(say("Accept rate, exploration, regret"), help):
        picture.curve(
            "learning",
            (picture.view, picture.lengths(*names)),
            lambda: learning_panel(snapshot, picture.view),
            say(
                "Accept rate, now {rate}, exploration, now {epsilon}, and regret so far, {regret} nats, over steps",
                rate=number(rate, ".0%"),
                epsilon=number(epsilon, ".0%"),
                regret=number(regret, ".4f"),
            ),
        )
        if found and (text := state_line(found[-1])):
            st.caption(plain(text))


def _all_actions(found: Sequence[Action]) -> None:
    if found:
        with panels.card(say("What was changed"), say("All actions, the latest first; the glossary is below.")):
            rows = charted_rows(action_table(found), "outcome", "loss change (nats)", "exact")
            st.dataframe(rows, hide_index=True, alt=say("All actions of the agent, the latest first"))
