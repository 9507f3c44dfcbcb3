import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.lesson import check


def test_equal_tensors_are_exact():
    result = check("weight", torch.arange(3.0), torch.arange(3.0))
    assert (result.ok, result.exact, result.approximate, result.max_difference) == (True, True, True, 0.0)
    assert "✓ exact" in str(result)


def test_a_difference_inside_the_bound_is_approximate():
    result = check("weight", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 2**-20]), atol=1e-5)
    assert (result.ok, result.exact) == (True, False)
    assert result.max_difference == pytest.approx(2**-20)
    assert "✓ approximate" in str(result)


def test_a_difference_just_above_the_bound_is_off():
    result = check("x", torch.tensor([1.5]), torch.tensor([0.0]), atol=1.0)
    assert not result.ok
    assert "off by 1.5" in str(result)


def test_a_difference_above_the_bound_says_how_far_and_where():
    want = torch.zeros(2, 3)
    got = want.clone()
    got[1, 2] = 0.5
    result = check("weight", got, want, atol=0.1)
    assert not result.ok
    assert "off by 0.5 at (1, 2): got 0.5, wanted 0; allowed 0.1" in str(result)
    assert "✗ off" in result._repr_html_()


def test_another_shape_is_named():
    result = check("weight", torch.zeros(2, 3), torch.zeros(3, 2))
    assert not result.ok
    assert result.max_difference is None
    assert "shape (2, 3); wanted (3, 2)" in str(result)


def test_another_dtype_is_off_although_the_values_agree():
    result = check("weight", torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not result.ok
    assert result.approximate
    assert "dtype torch.float32; wanted torch.float64" in str(result)


def test_nan_equals_nan_only_at_the_same_place():
    nan = torch.tensor([1.0, math.nan])
    assert check("x", nan, nan.clone()).exact
    one_sided = check("x", nan, torch.tensor([1.0, 2.0]), atol=1.0)
    assert not one_sided.ok
    assert one_sided.max_difference == math.inf


def test_infinities_of_the_same_sign_are_equal():
    assert check("x", torch.tensor([math.inf]), torch.tensor([math.inf])).exact
    assert not check("x", torch.tensor([math.inf]), torch.tensor([-math.inf]), atol=1.0).ok


def test_whole_numbers_that_float64_cannot_tell_apart_are_told_apart():
    assert not check("count", torch.tensor([2**60]), torch.tensor([2**60 + 1])).ok


def test_a_state_dict_is_compared_key_by_key():
    want = {"a": torch.zeros(2), "b": torch.zeros(1)}
    assert check("state", {"a": torch.zeros(2), "b": torch.zeros(1)}, want).exact
    result = check("state", {"a": torch.ones(2), "c": torch.zeros(1)}, want)
    assert "['a']: off by 1" in str(result)
    assert "['b'] is missing" in str(result)
    assert "['c'] is not wanted" in str(result)


def test_sequences_of_another_length_are_off():
    assert "has 1 items; wanted 2" in str(check("list", [1], [1, 2]))
    assert check("list", [1, (2.0, "x")], [1, (2.0, "x")]).exact


def test_other_objects_are_compared_by_equality():
    assert check("name", "skip", "skip").ok
    result = check("name", "skip", "none")
    assert not result.ok
    assert "got 'skip'; wanted 'none'" in str(result)


def test_numbers_have_no_dtype():
    assert check("loss", torch.tensor(0.5), 0.5).exact
    assert check("count", np.int64(3), 3).exact
    assert check("array", np.array([1.5], dtype=np.float32), torch.tensor([1.5])).exact


def test_a_meta_tensor_has_no_values_to_compare():
    result = check("weight", torch.zeros(2, device="meta"), torch.zeros(2))
    assert not result.ok
    assert "got a meta tensor" in str(result)


def test_empty_tensors_of_one_shape_are_exact():
    assert check("nothing", torch.zeros(0, 2), torch.zeros(0, 2)).exact


def test_neither_argument_is_changed_or_moved():
    got, want = torch.ones(2, requires_grad=True), torch.zeros(2)
    check("x", got, want)
    assert got.requires_grad
    assert got.tolist() == [1.0, 1.0]
    assert want.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("atol", [-1e-9, math.nan, math.inf])
def test_a_bound_that_lets_everything_pass_is_refused(atol):
    with pytest.raises(ConfigError, match="atol"):
        check("x", 1, 1, atol=atol)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5),
    st.floats(0, 1e6),
)
def test_ok_means_that_no_difference_exceeds_the_bound(values, other, atol):
    got = torch.tensor(values, dtype=torch.float64)
    want = torch.tensor(other[: len(values)], dtype=torch.float64)
    result = check("x", got, want, atol=atol)
    largest = max(abs(a - b) for a, b in zip(got.tolist(), want.tolist(), strict=True))
    assert result.max_difference == largest
    assert result.ok == (largest <= atol)
    assert bool(result.problems) == (not result.ok)
    assert result.exact == (values == other[: len(values)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_another_device_is_a_note_and_no_fault():
    result = check("x", torch.ones(2, device="cuda"), torch.ones(2))
    assert result.exact
    assert "note: on cuda:0; wanted on cpu" in str(result)
