import pytest
import torch

from lab.base import ConfigError, PlacementError
from lab.lesson import set_up


def test_the_same_seed_gives_the_same_draws():
    set_up(seed=7)
    first = torch.rand(3)
    set_up(seed=7)
    assert torch.equal(torch.rand(3), first)
    set_up(seed=8)
    assert not torch.equal(torch.rand(3), first)


def test_the_report_tells_versions_device_and_seed():
    session = set_up(seed=7, device="cpu")
    assert session.device == torch.device("cpu")
    for shown in (str(session), session._repr_html_()):
        assert torch.__version__.split("+")[0] in shown
        assert "cpu: asked for" in shown
        assert "7" in shown
    assert session.to_dict()["seed"] == 7


def test_a_device_that_is_absent_is_refused():
    with pytest.raises(PlacementError, match="expected"):
        set_up(device="cuda:99")


def test_one_thread_is_used_unless_more_are_asked_for():
    torch.set_num_threads(2)
    assert set_up().threads == 1
    assert torch.get_num_threads() == 1
    assert set_up(threads=2).threads == 2


def test_no_thread_is_refused():
    with pytest.raises(ConfigError, match="threads >= 1"):
        set_up(threads=0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed >= 0"):
        set_up(seed=-1)
