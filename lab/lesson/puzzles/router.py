"""Tasks of lesson 10: word numbers that a table does not have, the load of experts, the balance loss."""

import torch
from torch import Tensor

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise
from lab.mahia import balance_loss


def _strangers(answer: Answer) -> list[CheckResult]:
    meaning = "a table with so many rows has the numbers from 0 to rows - 1"
    return [
        check(
            f"numbers that a table with {rows} rows does not have",
            answer(torch.tensor(ids), rows).tolist(),
            [number for number in ids if not 0 <= number < rows],
            meaning=meaning,
        )
        for ids, rows in (([0, 3, 9, 10, 11], 10), ([-1, 0, 4, 7], 5), ([1, 2], 3))
    ]


STRANGERS = Exercise(
    "word numbers that the table does not have",
    hints=(
        "A table with 10 rows has the rows 0 to 9. And what of a number below 0?",
        "ids[condition] keeps those for which the condition holds; a | b is 'or' for tensors.",
    ),
    compare=_strangers,
    mistakes={
        "the number `rows` itself is missing: the last row has the number rows - 1": lambda ids, rows: ids[
            (ids < 0) | (ids > rows)
        ],
        "numbers below 0 are missing: an embedding does not count from the end": lambda ids, rows: ids[ids >= rows],
        "those are the numbers that the table has": lambda ids, rows: ids[(ids >= 0) & (ids < rows)],
        "that says where they stand; wanted are the numbers": lambda ids, rows: (ids < 0) | (ids >= rows),
    },
)

CHOSEN = ((0, 2), (2, 0), (2, 4), (0, 2), (4, 2))
"""Experts of five tokens, of 6; nobody chose 1, 3 and 5, and 1, 3 stand between those that were chosen."""


def _load_shares(answer: Answer) -> list[CheckResult]:
    chosen = torch.tensor(CHOSEN)
    want = torch.tensor([0.3, 0.0, 0.5, 0.0, 0.2, 0.0])
    got = torch.as_tensor(answer(chosen, 6))
    few = "one share for each expert, also for those that nobody chose"
    if tuple(got.shape) != tuple(want.shape):
        return [check("one share for each expert", list(got.shape), [6], meaning=few)]
    meaning = "the shares of all choices must add up to 1"
    return [check("shares of the choices", got.to(want.dtype), want, atol=1e-6, meaning=meaning)]


LOAD_SHARES = Exercise(
    "the load of each expert",
    hints=(
        "Count how often each number stands in chosen; then divide by how many choices there are.",
        "torch.bincount(chosen.flatten(), minlength=experts) counts all experts, also idle ones.",
    ),
    compare=_load_shares,
    mistakes={
        "the counts are divided by the number of tokens: each token chooses several experts": lambda chosen, experts: (
            torch.bincount(chosen.flatten(), minlength=experts) / len(chosen)
        ),
        "idle experts are missing: give bincount a minlength": lambda chosen, experts: (
            torch.bincount(chosen.flatten()) / chosen.numel()
        ),
        "those are counts; wanted are shares": lambda chosen, experts: torch.bincount(
            chosen.flatten(), minlength=experts
        ),
        "only each token's first choice is counted": lambda chosen, experts: (
            torch.bincount(chosen[:, 0], minlength=experts) / len(chosen)
        ),
    },
)


def _balance(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        logits = torch.randn(40, 6, requires_grad=True)
    probabilities = torch.softmax(logits, dim=1)
    chosen = probabilities.topk(2).indices
    wanted = balance_loss(torch.bincount(chosen.flatten(), minlength=6) / chosen.numel(), probabilities)
    even, one = torch.full((6, 6), 1 / 6), torch.eye(6)[:1].expand(6, 6)
    loss = torch.as_tensor(answer(probabilities, chosen))
    gradients = [_gradient(each, logits) for each in (loss, wanted)]
    scale = "the loss must be 1 at an even load and 6 where one of six experts gets everything"
    parts = "the share of the choices times the mean probability, summed over the experts"
    flat = "the mean probability must carry the gradient"
    return [
        check("even load", float(answer(even, torch.arange(6)[:, None])), 1.0, atol=1e-6, meaning=scale),
        check(
            "all at one expert", float(answer(one, torch.zeros(6, 1, dtype=torch.long))), 6.0, atol=1e-5, meaning=scale
        ),
        check("a random gate", loss.detach(), wanted.detach(), atol=1e-5, meaning=parts),
        check("its gradient", *gradients, atol=1e-6, meaning=flat),
    ]


def _gradient(loss: Tensor, logits: Tensor) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros_like(logits)
    return torch.autograd.grad(loss, logits, retain_graph=True)[0]


def _share(probabilities: Tensor, chosen: Tensor) -> Tensor:
    return torch.bincount(chosen.flatten(), minlength=probabilities.shape[1]) / chosen.numel()


BALANCE = Exercise(
    "balance loss",
    hints=(
        "Two vectors with one number for each expert: the share of the choices, and the mean probability.",
        "The share of expert e is (chosen == e).sum() / chosen.numel(); torch.bincount counts all experts at once.",
        "Multiply the two vectors, add up, and multiply by the number of experts.",
    ),
    compare=_balance,
    mistakes={
        "the mean probability stands twice: one of the two must be the share of the choices": lambda p, chosen: (
            p.shape[1] * p.mean(dim=0).square().sum()
        ),
        "the counts are divided by the number of tokens: each token chooses k experts": lambda p, chosen: (
            p.shape[1] * (torch.bincount(chosen.flatten(), minlength=p.shape[1]) / len(chosen) * p.mean(dim=0)).sum()
        ),
        "the mean over the experts is not their sum times their number": lambda p, chosen: (
            _share(p, chosen) * p.mean(dim=0)
        ).mean(),
        "the value is right and there is no gradient: the gate would learn nothing from it": lambda p, chosen: (
            p.shape[1] * (_share(p, chosen) * p.detach().mean(dim=0)).sum()
        ),
    },
)
