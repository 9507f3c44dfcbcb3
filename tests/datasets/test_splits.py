import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import DataError
from lab.datasets import DataConfig, load, split
from lab.datasets.splits import stratified_parts

DIGITS = load(DataConfig())


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    cuts=st.tuples(st.floats(0.01, 0.98), st.floats(0.01, 0.98)).map(sorted),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=100, deadline=None)
def test_parts_are_disjoint_complete_and_share_out_each_class(labels, cuts, seed):
    y = torch.tensor(labels)
    shares = (cuts[0], cuts[1] - cuts[0], 1 - cuts[1])
    parts = stratified_parts(y, shares, seed=seed)
    together = torch.cat(parts)
    assert together.sort().values.tolist() == list(range(len(labels)))
    for label in set(labels):
        total = labels.count(label)
        for part, share in zip(parts, shares, strict=True):
            assert abs(int((y[part] == label).sum()) - total * share) <= 1 + 1e-9


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_no_training_sample_is_in_two_parts_of_digits_and_none_is_left_out(seed):
    splits = split(DIGITS, DataConfig(seed=seed))
    parts = [set(part.tolist()) for part in (splits.train, splits.search, splits.selection)]
    assert sum(map(len, parts)) == len(DIGITS.y_train)
    assert set().union(*parts) == set(range(len(DIGITS.y_train)))
    assert splits.test.tolist() == list(range(len(DIGITS.y_test)))


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    first, again, other = (split(DIGITS, DataConfig(seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, other.train)


def test_default_shares_are_70_15_15_in_every_class():
    splits = split(DIGITS, DataConfig())
    assert splits.sizes() == {"train": 1006, "search": 216, "selection": 216, "test": 359}
    for label in range(10):
        total = int((DIGITS.y_train == label).sum())
        own = int((DIGITS.y_train[splits.train] == label).sum())
        assert abs(own - 0.7 * total) <= 0.5


def test_a_limit_keeps_that_many_samples_of_all_classes():
    splits = split(DIGITS, DataConfig(train_limit=200))
    used = torch.cat([splits.train, splits.search, splits.selection])
    assert len(used.unique()) == len(used)
    assert abs(len(used) - 200) <= 10
    assert len(DIGITS.y_train[used].unique()) == 10


def test_a_limit_above_the_set_is_refused():
    with pytest.raises(DataError, match="at most the 1438 training samples of digits, got a limit of 2000"):
        split(DIGITS, DataConfig(train_limit=2000))


def test_a_set_too_small_for_three_parts_is_refused():
    rows = torch.tensor([int((DIGITS.y_train == label).nonzero()[0]) for label in range(10)])
    tiny = dataclasses.replace(DIGITS, x_train=DIGITS.x_train[rows], y_train=DIGITS.y_train[rows])
    with pytest.raises(DataError, match="got 10 samples, which leave search and selection empty"):
        split(tiny, DataConfig())
