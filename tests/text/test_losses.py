"""The loss of class and span against torch's own cross-entropy."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from lab.base import ConfigError
from lab.text import TextLoss

CLASSES = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
ENDS = torch.tensor([[[0.0, 4, 0], [0, 0, 5]], [[6.0, 0, 0], [6, 0, 0]], [[0.0, 9, 0], [0, 9, 0]]])
TARGETS = torch.tensor([[0, 1, 2], [0, 0, 0], [0, 1, 2]])
BOTH = {"criteria": CLASSES, "evidence": ENDS}


def test_each_loss_is_the_cross_entropy_of_its_outputs():
    criteria = cross_entropy(CLASSES, TARGETS[:, 0], reduction="none")
    ends = [cross_entropy(ENDS[:, k], TARGETS[:, 1 + k], reduction="none") for k in (0, 1)]
    torch.testing.assert_close(TextLoss("criteria").each(CLASSES, TARGETS), criteria)
    torch.testing.assert_close(TextLoss("evidence").each(ENDS, TARGETS), (ends[0] + ends[1]) / 2)
    loss = TextLoss("share", 0.25)
    torch.testing.assert_close(loss.each(BOTH, TARGETS), 0.25 * criteria + 0.375 * (ends[0] + ends[1]))
    torch.testing.assert_close(loss.mean(BOTH, TARGETS), loss.each(BOTH, TARGETS).mean())
    assert set(loss.parts(BOTH, TARGETS)) == {"criteria", "evidence"}
    assert TextLoss("criteria").parts(CLASSES, TARGETS) == {}


def test_a_hit_is_the_right_class_or_both_ends_of_the_span():
    assert TextLoss("criteria").hits(CLASSES, TARGETS).tolist() == [True, False, True]
    assert TextLoss("evidence").hits(ENDS, TARGETS).tolist() == [True, True, False]
    assert TextLoss("joint").hits(BOTH, TARGETS).tolist() == [True, False, True]


def test_a_weight_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="criteria_weight"):
        TextLoss("share", 2.0)
