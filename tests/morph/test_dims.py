"""What two dimensions have in common, measured by what copying units does to their positions."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.base import MorphError
from lab.morph.dims import (
    WidthVar,
    dim_size,
    fix,
    mark_equal,
    mark_inexact,
    merge,
    pieces,
    plain,
    resolve,
    segment_size,
    split,
    unify,
    width_vars,
)
from lab.morph.steps import Part, Resize, layout_of

SIZES = (1, 2, 2, 3, 4, 6)
FIXED_PROFILE = settings(max_examples=80, derandomize=True, database=None, deadline=None)


def index(dim, unit):
    """Old position of each new one when every unit of `unit` but the first is there twice, in another order."""
    units = torch.tensor([*range(unit.size), *range(unit.size - 1, 0, -1)])
    return Resize(tensor="w", dim=0, layout=layout_of(dim, unit), shared=False).index(units, unit.size)


def free(*dims):
    """The widths that can change; everything is resolved first, so that all reasons are known."""
    for dim in dims:
        resolve(dim)
    return {var for dim in dims for var in width_vars(dim) if not var.fixed}


def once(dim, unit):
    return all(segment.count(unit) <= 1 for segment in resolve(dim))


def factors(pool):
    return st.sampled_from(SIZES) | st.sampled_from(pool)


def dims_over(pool):
    segment = st.lists(factors(pool), min_size=1, max_size=3).map(tuple)
    return st.lists(segment, min_size=1, max_size=3).map(tuple)


@st.composite
def pools(draw):
    return [WidthVar(draw(st.sampled_from((2, 2, 3, 4, 6, 8)))) for _ in range(draw(st.integers(2, 6)))]


@st.composite
def dims_of_size(draw, pool, size):
    """A dimension of `size` positions: widths of the pool where they fit, new ones and numbers elsewhere."""
    segments, left = [], size
    while left:
        here = draw(st.integers(1, left)) if draw(st.integers(0, 2)) == 0 else left
        left -= here
        segment = []
        while here > 1:
            fitting = [var for var in pool if here % var.size == 0]
            kind = draw(st.integers(0, 3))
            if fitting and kind > 0:
                segment.append(draw(st.sampled_from(fitting)))
            else:
                count = draw(st.sampled_from([n for n in range(2, here + 1) if here % n == 0]))
                segment.append(WidthVar(count) if kind > 1 else count)
            last = segment[-1]
            here //= last if isinstance(last, int) else last.size
        segments.append(tuple(segment) or (1,))
    return tuple(segments)


def check_same(first, second):
    assert dim_size(first) == dim_size(second)
    for unit in free(first, second):
        if once(first, unit) and once(second, unit):
            assert torch.equal(index(first, unit), index(second, unit))


@FIXED_PROFILE
@given(st.data(), pools())
def test_widths_that_stay_free_are_in_unified_dimensions_at_the_same_positions(data, pool):
    pairs = []
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.integers(2, 24))
        pairs.append((data.draw(dims_of_size(pool, size)), data.draw(dims_of_size(pool, size))))
        unify(*pairs[-1], "they do not fit")
    for _ in range(2):
        for first, second in pairs:
            check_same(first, second)


@FIXED_PROFILE
@given(st.data(), st.integers(2, 24))
def test_unify_is_symmetric(data, size):
    pool = [WidthVar(count) for count in (2, 3, 4, 6)]
    first, second = data.draw(dims_of_size(pool, size)), data.draw(dims_of_size(pool, size))
    seen = []
    for order in (1, -1):
        twins = {}

        def twin(factor, twins=twins):
            return factor if isinstance(factor, int) else twins.setdefault(factor, WidthVar(factor.size))

        a, b = (tuple(tuple(map(twin, segment)) for segment in dim) for dim in (first, second))
        unify(*(a, b)[::order], "they do not fit")
        changes = [[index(dim, unit).tolist() if once(dim, unit) else "twice" for dim in (a, b)] for unit in free(a, b)]
        seen.append(sorted(changes, key=str))
    assert seen[0] == seen[1]


@FIXED_PROFILE
@given(st.data(), pools())
def test_a_flattening_keeps_sizes_and_the_places_of_free_widths(data, pool):
    dims = data.draw(st.lists(dims_over(pool), min_size=1, max_size=3))
    sizes = [dim_size(dim) for dim in dims]
    assume(torch.tensor(sizes).prod() <= 4000)
    merged = merge(dims, "no")
    total = dim_size(merged)
    assert total == torch.tensor(sizes).prod()
    for unit in free(merged, *dims):
        if (
            once(merged, unit)
            and sum(unit in width_vars(dim) for dim in dims) == 1
            and all(once(d, unit) for d in dims)
        ):
            numbers = torch.arange(total).reshape(sizes)
            for axis, dim in enumerate(dims):
                numbers = numbers.index_select(axis, index(dim, unit))
            assert torch.equal(numbers.flatten(), index(merged, unit))


@FIXED_PROFILE
@given(st.data(), pools())
def test_a_division_keeps_sizes_and_the_places_of_free_widths(data, pool):
    dim = data.draw(dims_over(pool))
    total = dim_size(dim)
    assume(1 < total <= 500)
    sizes, left = [], total
    while left > 1 and len(sizes) < 3:
        sizes.append(data.draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
        left //= sizes[-1]
    sizes.append(left)
    parts = split(dim, sizes, "no")
    assert [dim_size(part) for part in parts] == sizes
    for unit in free(dim, *parts):
        if once(dim, unit) and all(once(part, unit) for part in parts):
            numbers = torch.arange(total).reshape(sizes)
            for axis, part in enumerate(parts):
                numbers = numbers.index_select(axis, index(part, unit))
            assert torch.equal(numbers.flatten(), index(dim, unit))


@FIXED_PROFILE
@given(st.data(), pools())
def test_a_layout_spans_the_dimension_and_as_many_units_give_it_back(data, pool):
    dim = data.draw(dims_over(pool))
    for unit in pool:
        if not once(dim, unit):
            with pytest.raises(MorphError, match="at most once in a flattened dimension"):
                layout_of(dim, unit)
            continue
        layout = layout_of(dim, unit)
        assert sum(part.size(unit.size) for part in layout) == dim_size(dim)
        step = Resize(tensor="w", dim=0, layout=layout, shared=True)
        assert torch.equal(step.index(torch.arange(unit.size), unit.size), torch.arange(dim_size(dim)))
        assert torch.equal(step.scale(torch.ones(unit.size)), torch.ones(dim_size(dim)))
        assert sum(not part.fixed for part in layout) == sum(unit in segment for segment in resolve(dim))


def test_a_concatenation_of_flattened_widths_has_one_part_for_each():
    a, b = WidthVar(3), WidthVar(2)
    assert layout_of(((a, 49), (2, b), (5,)), a) == (Part(1, 0, 49), Part(1, 4, 1), Part(1, 5, 1))
    assert layout_of(((a, 49), (2, b), (5,)), b) == (Part(1, 147, 1), Part(2, 0, 1), Part(1, 5, 1))


def test_a_width_stands_for_what_it_turned_out_to_be():
    whole, one, other = WidthVar(5), WidthVar(2), WidthVar(3)
    unify(((whole,),), ((one,), (other,)), "no")
    assert resolve(((whole, 4),)) == ((one, 4), (other, 4))
    assert not any(var.fixed for var in (whole, one, other))


def test_a_width_is_cut_where_a_concatenation_joins():
    whole, one = WidthVar(5), WidthVar(2)
    unify(((whole,), (1, 4)), ((one,), (3,), (4,)), "no")
    (first,), (rest,) = resolve(((whole,),))
    assert resolve(((one,),)) == ((first,),)
    assert not one.fixed
    assert rest.fixed == "it meets a size that no weight has"


def test_groups_are_the_units_of_the_width_that_they_cut():
    width, groups = WidthVar(8), WidthVar(4)
    unify(((width,),), ((groups, 2),), "no")
    assert width_vars(((width,),)) == (groups,)
    assert segment_size(resolve(((width,),))[0]) == 8


def test_dimensions_of_different_sizes_are_fixed_for_the_reason_that_was_given():
    a, b = WidthVar(4), WidthVar(5)
    unify(((a,),), ((b,),), "they do not fit")
    assert a.fixed == b.fixed == "they do not fit"


def test_the_first_reason_stays_and_reaches_what_a_width_is_made_of():
    whole, one, other = WidthVar(5), WidthVar(2), WidthVar(3)
    fix(whole, "first")
    mark_inexact(whole, "sums")
    mark_equal(((whole,),), "averages")
    unify(((whole,),), ((one,), (other,)), "no")
    fix(((whole,),), "second")
    for var in (one, other):
        assert (var.fixed, var.inexact, var.equal) == ("first", "sums", "averages")


def test_an_average_over_a_concatenation_cannot_keep_up_with_copies():
    one, other = WidthVar(2), WidthVar(3)
    mark_equal(((one,), (other,)), "averages")
    assert one.inexact == "averages over a concatenation"


def test_a_size_that_no_weight_has_fixes_the_width():
    width = WidthVar(4)
    unify(((width,),), plain(4), "no")
    assert width.fixed == "it meets a size that no weight has"


def test_a_repeated_concatenation_is_fixed_however_late_it_is_found():
    whole, one, other = WidthVar(5), WidthVar(2), WidthVar(3)
    flat = ((3, whole),)
    unify(((whole,),), ((one,), (other,)), "no")
    assert dim_size(resolve(flat)) == 15
    assert one.fixed == other.fixed == "a reshape repeats a concatenation"


def test_a_flattening_of_a_repeated_concatenation_is_fixed():
    one, other = WidthVar(2), WidthVar(3)
    assert merge([plain(4), ((one,), (other,))], "no way") == plain(20)
    assert one.fixed == other.fixed == "no way"


def test_a_division_of_a_width_makes_it_a_product():
    width = WidthVar(6)
    (two, three) = split(((width,),), [2, 3], "divided")
    assert resolve(((width,),)) == ((*two[0], *three[0]),)
    assert not any(var.fixed for dim in (two, three) for var in width_vars(dim))


def test_a_division_that_no_product_says_fixes_the_widths():
    one, other = WidthVar(2), WidthVar(6)
    assert split(((one, other),), [3, 4], "divided") == [plain(3), plain(4)]
    assert one.fixed == other.fixed == "divided"
    number = WidthVar(2)
    assert split(((number, 6),), [3, 4], "divided") == [plain(3), plain(4)]
    assert number.fixed == "divided"


def test_equal_pieces_are_one_width_and_others_are_not():
    width = WidthVar(6)
    one, other = pieces(((width,),), [3, 3], "cut")
    assert one == other
    (number, piece), *_ = resolve(((width,),))
    assert number.size == 2
    assert number.fixed
    assert one == ((piece,),)
    assert not piece.fixed
    width = WidthVar(6)
    one, other = pieces(((width,),), [2, 4], "cut")
    assert resolve(((width,),)) == (*one, *other)
    assert not any(var.fixed for var in width_vars(((width,),)))


def test_equal_pieces_of_a_concatenation_are_coupled():
    a, b = WidthVar(3), WidthVar(3)
    one, other = pieces(((a,), (b,)), [3, 3], "cut")
    assert one == other == resolve(((a,),)) == resolve(((b,),))


@FIXED_PROFILE
@given(st.data(), pools())
def test_pieces_keep_sizes_and_the_places_of_free_widths(data, pool):
    dim = data.draw(dims_over(pool))
    total = dim_size(dim)
    assume(1 < total <= 500)
    count = data.draw(st.sampled_from([n for n in range(1, 5) if total % n == 0]))
    first = data.draw(st.integers(1, total - 1))
    sizes = data.draw(st.sampled_from([[total // count] * count, [first, total - first]]))
    parts = pieces(dim, sizes, "cut")
    assert [dim_size(part) for part in parts] == sizes
    whole = tuple(segment for part in parts for segment in part)
    for unit in free(dim, *parts):
        if once(dim, unit) and once(whole, unit):
            assert torch.equal(index(dim, unit), index(whole, unit))
