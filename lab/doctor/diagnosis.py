"""From the facts of a step to findings: each gradient that is missing, zero or not finite gets its line."""

import torch
from torch import Tensor

from lab.doctor.ancestry import ancestors
from lab.doctor.blame import Blame, cut_of, first_not_finite
from lab.doctor.gradients import FLAT as FLAT_NODES
from lab.doctor.gradients import paths_avoid
from lab.doctor.learning import NONE, LearningRow, StepFacts, rows_of
from lab.doctor.records import NodeRecord
from lab.doctor.surroundings import Surroundings
from lab.doctor.training_faults import (
    BACKWARD,
    BUFFER,
    CUTS,
    ERASED,
    FLAT,
    FORWARD,
    FROZEN,
    INPUT,
    LOST,
    NO_GRAPH,
    OVERFLOW,
    PARAMETER,
    UNREAD,
    UNUSED,
    ZERO,
    LearningFinding,
    some,
)
from lab.doctor.values import FINITE, INF, NAN, CallRecord, behind
from lab.doctor.values import ZERO as ZERO_KIND

_SOFTMAX = ("LogSoftmax", "Softmax", "SafeSoftmax")
_HALF = (torch.float16, torch.bfloat16)


class Diagnosis:
    """Reads the facts of one step.

    Args:
        facts: of the step.
        judge_mode: a model in eval mode is a fault.
    """

    def __init__(self, facts: StepFacts, *, judge_mode: bool) -> None:
        self._facts = facts
        self._judge_mode = judge_mode
        watch = facts.watch
        losses = [*watch.losses, *([facts.loss_record] if facts.loss_record is not None else [])]
        self._losses = losses
        self._behind_loss = behind(losses)
        self._because: dict[int, str] = {}
        self._found: dict[tuple[str, str], tuple[Blame, list[str], str]] = {}
        self._notes: dict[str, list[str]] = {}
        self._leaves: dict[int, set[int]] = {}
        self._read = set(watch.values.sources) | watch.gradients.leaves

    def run(self) -> tuple[list[LearningRow], list[LearningFinding], list[str]]:
        """Rows, findings and notes."""
        if not self._facts.trainable:
            self._find(FROZEN, Blame(), "(the model)")
        else:
            self._missing()
            if not self._not_finite():
                self._zeros()
        self._standing()
        for category, blame, name, detail in Surroundings(self._facts, judge_mode=self._judge_mode).findings():
            self._find(category, blame, name, detail)
        findings = [
            LearningFinding(
                category=category,
                names=tuple(dict.fromkeys(names)),
                operation=blame.operation,
                place=blame.place,
                detail=detail,
            )
            for (category, _), (blame, names, detail) in self._found.items()
        ]
        if self._facts.in_train_mode is False and not self._judge_mode:
            self._note("the model is in eval mode, which was not judged")
        notes = [f"{text}: {some(tuple(names))}" if names else text for text, names in self._notes.items()]
        return rows_of(self._facts, self._because), findings, notes

    def _find(self, category: str, blame: Blame, name: str = "", detail: str = "") -> None:
        names = self._found.setdefault((category, str(blame) + detail), (blame, [], detail))[1]
        if name:
            names.append(name)

    def _note(self, text: str, name: str = "") -> None:
        names = self._notes.setdefault(text, [])
        if name:
            names.append(name)

    def _name(self, key: int) -> str:
        return self._facts.parameters[key][0]

    def _of_kind(self, *kinds: str) -> list[int]:
        facts = self._facts
        return [key for key in facts.parameters if key in facts.trainable and facts.kinds.get(key) in kinds]

    # values that are not finite

    def _not_finite(self) -> bool:
        """Whether the loss or a gradient is not finite; the line is found."""
        for loss in self._losses:
            if loss.values != FINITE:
                self._forward(loss)
                return True
        spoiled = self._of_kind(NAN, INF)
        left = set(spoiled)
        for record, dtype in self._facts.watch.gradients.spoiled:
            reached = {leaf for each in ancestors(record) for leaf in each.leaves}
            mine = [key for key in spoiled if key in left & reached]
            blame = Blame.of_node(record)
            skipped = self._facts.watch.scaled and dtype in _HALF
            if skipped:
                self._note(f"the GradScaler skipped this step: the gradient left {dtype} in {blame}")
            for key in mine:
                if not skipped:
                    self._find(OVERFLOW if dtype is torch.float16 else BACKWARD, blame, self._name(key))
                self._because[key] = str(blame)
            left -= set(mine)
        for key in spoiled:
            if key in left and not self._facts.watch.scaled:
                self._find(BACKWARD, Blame(), self._name(key), "no operation of backward made it so")
        return bool(spoiled)

    def _forward(self, loss: CallRecord) -> None:
        record = first_not_finite(loss)
        blame = Blame.of_call(record)
        for key in self._of_kind(NAN, INF):
            self._because[key] = str(blame)
        tensor = record.source() if record.source is not None else None
        if tensor is not None:
            category, name = self._outside(tensor)
            self._find(category, Blame(), name, f"it has values that are {record.values}")
        elif record.dtype is torch.float16:
            self._find(OVERFLOW, blame, "loss", f"the first result that is {record.values}")
        else:
            self._find(FORWARD, blame, "loss", f"the first result that is {record.values}; its inputs are not")

    def _outside(self, tensor: Tensor) -> tuple[str, str]:
        for name, buffer in self._facts.model.named_buffers():
            if buffer is tensor:
                return BUFFER, name
        known = self._facts.parameters.get(id(tensor))
        return (PARAMETER, known[0]) if known is not None else (INPUT, f"tensor of shape {tuple(tensor.shape)}")

    # gradients that are not there

    def _missing(self) -> None:
        facts = self._facts
        missing = self._of_kind(NONE)
        if facts.without_graph:
            self._no_graph(missing)
            return
        erased = {key for key in missing if key in facts.watch.gradients.reached and key in facts.watch.erased}
        for key in missing:
            name = self._name(key)
            if key in erased:
                blame = Blame("gradient set to None", facts.watch.erased[key])
                self._found_for(key, ERASED, blame, name)
            elif key in facts.watch.gradients.reached:
                self._because[key] = "the optimizer stepped before backward"
                self._note(self._because[key], name)
            elif key not in self._read:
                self._unread(key, name)
            else:
                self._lost(key, name)

    def _found_for(self, key: int, category: str, blame: Blame, name: str, detail: str = "") -> None:
        self._because[key] = str(blame) or category
        if key in self._facts.groups:
            self._find(category, blame, name, detail)

    def _no_graph(self, missing: list[int]) -> None:
        """The loss needs no gradient."""
        detail = "backward said: element 0 of tensors does not require grad"
        for key in missing:
            cut = cut_of(key, self._behind_loss)
            blame = Blame.of_call(cut)
            category = CUTS[cut.cut] if cut is not None else NO_GRAPH
            self._because[key] = str(blame) or category
            self._find(category, blame, self._name(key), detail)

    def _unread(self, key: int, name: str) -> None:
        self._because[key] = "no operation read it"
        if key not in self._facts.groups:
            return
        if self._routed(name):
            self._note("not chosen in this step, no operation read", name)
            return
        nothing = not any(known in self._read for known in self._facts.owned)
        detail = "the step reads no parameter of the model: it calls another object or a copy" if nothing else ""
        self._find(UNREAD, Blame(), name, detail)

    def _routed(self, name: str) -> bool:
        """Values choose between modules of a list, and others of the list were chosen."""
        steps = name.split(".")
        lists = [number for number, step in enumerate(steps) if step.isdigit()]
        read = [self._facts.parameters[key][0] for key in self._read if key in self._facts.parameters]
        siblings = any(other.startswith(".".join(steps[:number]) + ".") for number in lists for other in read)
        return siblings and bool(self._facts.watch.routes)

    def _lost(self, key: int, name: str) -> None:
        cut = cut_of(key, self._behind_loss)
        if cut is not None:
            self._found_for(key, CUTS[cut.cut], Blame.of_call(cut), name)
            return
        source = self._facts.watch.values.sources.get(key)
        if source is None:
            self._because[key] = "backward did not ask for it"
            return
        outputs = behind(self._facts.outputs)
        if any(record is source for record in outputs) or any(record is source for record in self._behind_loss):
            self._because[key] = "the loss does not use what it makes"
            self._note("the loss does not use this part of the output", name)
            return
        self._found_for(key, UNUSED, Blame.of_call(self._facts.watch.values.uses.get(key)), name)

    # gradients that are zero

    def _zeros(self) -> None:
        watch = self._facts.watch
        zeros = self._of_kind(ZERO_KIND)
        if not zeros:
            return
        open_ways = paths_avoid(watch.gradients.roots, FLAT_NODES)
        flat = [record for record in watch.gradients.zeroed if record.operation in FLAT_NODES]
        others = self._of_kind(FINITE)
        for key in zeros:
            over = [record for record in watch.gradients.zeroed if self._leads(record, key)]
            blame = Blame.of_node(over[0]) if over else Blame()
            self._because[key] = str(blame)
            blocking = [record for record in flat if self._leads(record, key)]
            if blocking and key not in open_ways:
                self._found_for(key, FLAT, Blame.of_node(blocking[0]), self._name(key))
            elif over and not others and self._is_fault(over[0].operation):
                self._found_for(key, ZERO, blame, self._name(key))
            elif not others:
                self._note("every gradient is zero in this step", self._name(key))

    def _leads(self, record: NodeRecord, key: int) -> bool:
        reached = self._leaves.get(id(record))
        if reached is None:
            reached = {leaf for each in ancestors(record) for leaf in each.leaves}
            self._leaves[id(record)] = reached
        return key in reached

    def _is_fault(self, operation: str) -> bool:
        """A loss of zero is satisfied, unless a softmax over one value made it so."""
        return bool(self._facts.loss) or operation.startswith(_SOFTMAX)

    # parameters that do not move

    def _standing(self) -> None:
        facts = self._facts
        stands = [
            key
            for key in self._of_kind(FINITE)
            if key in facts.groups and key not in facts.changed and facts.steps and not facts.watch.scaled
        ]
        halves = [key for key in facts.parameters if key in facts.trainable and facts.parameters[key][1].dtype in _HALF]
        for key, kind in facts.spoiled.items():
            if facts.kinds.get(key) not in (NAN, INF):
                self._because[key] = f"the optimizer's step: {kind}"
                self._find(PARAMETER, Blame(), self._name(key), f"it is {kind} since the step, its gradient is not")
        for key in stands:
            parameter = facts.parameters[key][1]
            if facts.rates.get(key) == 0:
                self._because[key] = "learning rate 0"
                self._note("the learning rate is 0 in this step", self._name(key))
            else:
                self._because[key] = "the change is below the dtype's precision"
                lost = parameter.dtype in _HALF and set(halves) <= set(stands)
                if lost:
                    self._find(LOST, Blame(), self._name(key))
                else:
                    self._note(self._because[key], self._name(key))
