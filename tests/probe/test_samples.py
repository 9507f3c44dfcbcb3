import torch

from lab.probe import CANDIDATES, fixed_positions
from lab.probe.samples import told_classes


def test_one_sample_of_each_class_comes_before_a_second_of_any():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert fixed_positions(labels).tolist() == [0, 3, 5, 1, 4, 2]


def test_the_first_ten_of_forty_are_those_of_a_call_for_ten():
    labels = torch.randint(3, (200,), generator=torch.Generator().manual_seed(0))
    many, few = fixed_positions(labels), fixed_positions(labels, 10)
    assert len(many) == 40
    assert torch.equal(many[:10], few)
    assert len(set(many.tolist())) == 40


def test_a_long_split_sorted_by_class_is_looked_at_up_to_a_bound():
    labels = torch.arange(2).repeat_interleave(CANDIDATES // 2 + 100)
    assert int(fixed_positions(labels).max()) < CANDIDATES
    assert labels[fixed_positions(labels)].tolist()[:4] == [0, 1, 0, 1]


def test_of_many_classes_those_of_the_samples_are_told():
    assert told_classes(torch.tensor([3, 1]), 10) == list(range(10))
    assert told_classes(torch.tensor([31, 7, 31]), 100) == [7, 31]
