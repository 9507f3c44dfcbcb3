"""The lab's own network: its size, and the name that the source documents have for it."""

import pytest

from lab.nn import seed_cnn, small_cnn
from lab.nn.named import make_model


def test_it_has_the_parameters_of_the_document_under_both_names():
    assert seed_cnn is small_cnn
    assert sum(p.numel() for p in small_cnn().parameters()) == 2_193_674


@pytest.mark.parametrize("name", ["small_cnn", "seed_cnn"])
def test_settings_may_have_either_name(name):
    model = make_model(name, num_classes=4, in_channels=1, size=8, channels=2)
    assert type(model) is type(small_cnn())
