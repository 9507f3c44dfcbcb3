"""Tasks of lesson 14: tensors that a load has lost, what two overlapping loads leave behind, trials tried again."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _lost(answer: Answer) -> list[CheckResult]:
    model = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ("words", "body", "empty", "head")})
    model["head"].weight = model["words"].weight
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for name in ("words", "body"):
            next(model[name].parameters()).add_(1 if name == "words" else 0)
    model["empty"].to("meta")
    found = set(answer(model, saved))
    texts = {
        "words": "a tensor with other numbers is lost too",
        "body": "a tensor that equals the saved one is not lost",
        "empty": "a tensor on meta has no values: it is lost",
        "head": "a tied tensor has two names, and both are wanted: remove_duplicate=False",
    }
    return [
        check(f"{name}.weight is lost", f"{name}.weight" in found, name != "body", meaning=text)
        for name, text in texts.items()
    ]


def _differing(model: nn.Module, saved: Mapping[str, Tensor], *, both: bool = True, numbers: bool = True) -> list[str]:
    named = dict(model.named_parameters(remove_duplicate=not both))
    lost = [name for name, value in named.items() if value.is_meta]
    if numbers:
        lost += [name for name, value in named.items() if not value.is_meta and not torch.equal(value, saved[name])]
    return lost


LOST_TRIALS = Exercise(
    "which tensors were lost",
    hints=(
        "Ask value.is_meta first: a tensor on meta has no values to compare. Then torch.equal(value, saved[name]).",
        "model.named_parameters(remove_duplicate=False) gives a tied tensor under both of its names.",
    ),
    compare=_lost,
    mistakes={
        "only what is on meta was found: other numbers in its place are lost as well": lambda model, saved: _differing(
            model, saved, numbers=False
        ),
        "the second name of the tied tensor is missing: remove_duplicate=False": lambda model, saved: _differing(
            model, saved, both=False
        ),
        "these are all tensors: the one that equals the saved one is not lost": lambda model, saved: list(saved),
    },
)

# What happens -> the function that stays for every later load.
LOADS = {
    "one after the other": (("a in", "a out", "b in", "b out"), "original"),
    "one inside the other": (("a in", "b in", "b out", "a out"), "original"),
    "overlapping": (("a in", "b in", "a out", "b out"), "a"),
    "three overlapping": (("a in", "b in", "c in", "a out", "b out", "c out"), "b"),
}


def _left_behind(answer: Answer) -> list[CheckResult]:
    meaning = "each load puts back what it has found at its beginning"
    return [check(name, answer(list(events)), left, meaning=meaning) for name, (events, left) in LOADS.items()]


def _ends_first(events: Sequence[str]) -> str:
    """As if the load that ended first would always stay."""
    return next(event for event in events if event.endswith("out")).split()[0]


LEFT_BEHIND = Exercise(
    "what is left behind",
    hints=(
        "Keep two things: the function that is there now, and for each load the one that it has found.",
        "At 'a in': found['a'] = now, then now = 'a'. At 'a out': now = found['a'].",
    ),
    compare=_left_behind,
    mistakes={
        "the original comes back only where no loads overlap": lambda events: "original",
        "a load does not leave its own replacement there: at its end it puts back what it found": lambda events: events[
            -1
        ].split()[0],
        "who ends first stays only where the last load had found it": _ends_first,
    },
)

# Pairs of root and cause, one for each attempt; the roots that are due, as `lab.tune` decides with one retry.
STUDIES = {
    "killed, tried again, ended well": ([(0, "killed"), (1, ""), (0, "")], []),
    "the same parameters would raise again": ([(0, "exception"), (1, "not finite"), (2, "killed")], [2]),
    "killed twice": ([(0, "killed"), (1, "killed"), (0, "killed")], [1]),
    "killed, after Ctrl-C had ended it": ([(0, "interrupted"), (0, "killed"), (2, "")], [0]),
    "Ctrl-C during the second attempt": ([(0, "killed"), (0, "interrupted"), (2, "time-out")], [0]),
}
NEVER = ("exception", "not finite", "time-out")


def attempts(name: str) -> list[dict[str, object]]:
    """The attempts of one of `STUDIES`, with `number`, `root` and `cause`."""
    pairs, _ = STUDIES[name]
    return [{"number": number, "root": root, "cause": cause} for number, (root, cause) in enumerate(pairs)]


def _due(answer: Answer) -> list[CheckResult]:
    meaning = "wanted are the roots whose last attempt failed and may be tried again"
    return [
        check(name, list(answer(attempts(name))), wanted, meaning=f"{name}: {meaning}")
        for name, (_, wanted) in STUDIES.items()
    ]


def _roots(trials: Sequence[Mapping[str, object]], again: Callable[[list[object]], bool]) -> list[object]:
    causes: dict[object, list[object]] = {}
    for trial in trials:
        causes.setdefault(trial["root"], []).append(trial["cause"])
    return [root for root, own in causes.items() if again(own)]


DUE = Exercise(
    "which trials are tried again",
    hints=(
        "What happened to a trial is the cause of its last attempt; first collect the causes of each root.",
        "POLICY[cause].retried is never, counted or always. An attempt that ended well has no cause, and no rule.",
        "For a counted cause: how many causes of this root are counted? One retry allows one. Ctrl-C is none.",
    ),
    compare=_due,
    mistakes={
        "a trial that ended well at its second attempt is not due: its last cause counts": lambda trials: [
            trial["root"] for trial in trials if trial["cause"] and trial["cause"] not in NEVER
        ],
        "killed twice: one retry has been used up": lambda trials: _roots(
            trials, lambda own: bool(own[-1]) and own[-1] not in NEVER
        ),
        "Ctrl-C was not the trial's fault, and does not count as its retry": lambda trials: _roots(
            trials, lambda own: bool(own[-1]) and own[-1] not in NEVER and len(own) <= 1
        ),
    },
)
