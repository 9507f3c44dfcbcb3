import math

import torch

from lab.probe import relative_difference


def test_relative_difference_is_of_the_largest_values():
    old = torch.tensor([1.0, -4.0])
    assert relative_difference(torch.tensor([1.0, -4.0]), old) == 0.0
    assert relative_difference(torch.tensor([2.0, -4.0]), old) == 0.25
    assert relative_difference(torch.tensor([math.nan, -4.0]), old) == math.inf
    assert relative_difference(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5
