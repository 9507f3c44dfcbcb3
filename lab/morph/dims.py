"""What the dimensions of tensors are made of: units of widths, in order, and which of them are the same width.

A `WidthVar` is one width that can change, for instance the channels of a convolution. A dimension is a list of
segments, one after the other (a concatenation), and a segment is a product of factors, the last one fastest (a
flattening): after `cat` and `flatten` of widths A and B on 7x7 maps a dimension is [(A, 49), (B, 49)]. `unify` says
that two dimensions are the same; what this implies for their widths is worked out at once.

Not covered: a dimension whose units are interleaved from two widths, as after a channel shuffle. Such widths are fixed.
"""

from math import prod


class WidthVar:
    """One width: how many units it has, and what stands against changing that."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.link: Dim | None = None
        """What the width turned out to be made of."""
        self.fixed = ""
        """Why the number of units cannot change; empty where it can."""
        self.inexact = ""
        """Why copies of units change the function; empty where they do not."""
        self.equal = ""
        """Why every unit needs the same number of copies; empty where it does not."""


Factor = int | WidthVar
Segment = tuple[Factor, ...]
Dim = tuple[Segment, ...]


def plain(size: int) -> Dim:
    """A dimension that belongs to no width: batch, pixels, tokens."""
    return ((size,),)


def factor_size(factor: Factor) -> int:
    """How many positions one factor spans."""
    return factor if isinstance(factor, int) else factor.size


def segment_size(segment: Segment) -> int:
    """How many positions a segment spans."""
    return prod(factor_size(factor) for factor in segment)


def dim_size(dim: Dim) -> int:
    """How many positions a dimension has."""
    return sum(segment_size(segment) for segment in dim)


def width_vars(dim: Dim) -> tuple[WidthVar, ...]:
    """The widths of a dimension, links followed."""
    return tuple(factor for segment in resolve(dim) for factor in segment if isinstance(factor, WidthVar))


def resolve(dim: Dim) -> Dim:
    """The dimension with every link followed and neighbouring numbers multiplied."""
    done: list[Segment] = []
    for segment in dim:
        done += _resolve_segment(segment)
    return tuple(done)


def _resolve_segment(segment: Segment) -> list[Segment]:
    for position, factor in enumerate(segment):
        if isinstance(factor, int) or factor.link is None:
            continue
        left, right, link = segment[:position], segment[position + 1 :], resolve(factor.link)
        if len(link) == 1:
            return _resolve_segment(left + link[0] + right)
        if any(factor_size(other) != 1 for other in left):
            # (n, [A, B]) is A B A B ...: no list of segments says that, so both stay as they are.
            for var in width_vars(link):
                fix(var, "a reshape repeats a concatenation")
            return _resolve_segment((*left, factor.size, *right))
        return [piece for inner in link for piece in _resolve_segment(inner + right)]
    return [_multiply(segment)]


def _multiply(segment: Segment) -> Segment:
    done: list[Factor] = []
    for factor in segment:
        if factor == 1:
            continue
        if isinstance(factor, int) and done and isinstance(done[-1], int):
            done[-1] *= factor
        else:
            done.append(factor)
    return tuple(done) or (1,)


def fix(what: WidthVar | Dim, reason: str) -> None:
    """The number of units cannot change, for `reason`; an earlier reason stays."""
    for var in _each(what):
        var.fixed = var.fixed or reason


def mark_inexact(what: WidthVar | Dim, reason: str) -> None:
    """Copies of units change the function, for `reason`."""
    for var in _each(what):
        var.inexact = var.inexact or reason


def mark_equal(dim: Dim, reason: str) -> None:
    """Copies leave the function as it is only where each unit has as many, for `reason`."""
    found = resolve(dim)
    for var in width_vars(dim):
        # A width that is in every part, as where slices of one tensor are joined, weighs the same in each.
        if any(var not in segment for segment in found):
            mark_inexact(var, f"{reason} over a concatenation")
    for var in width_vars(dim):
        var.equal = var.equal or reason


def _each(what: WidthVar | Dim) -> tuple[WidthVar, ...]:
    return width_vars(((what,),)) if isinstance(what, WidthVar) else width_vars(what)


def unify(first: Dim, second: Dim, reason: str) -> None:
    """The two dimensions are position by position the same; widths for which that cannot be kept up are fixed."""
    a, b = resolve(first), resolve(second)
    if a == b:
        return
    if dim_size(a) != dim_size(b):
        fix(a, reason)
        fix(b, reason)
        return
    if _link(a, b) or _link(b, a):
        return
    left, right = list(a), list(b)
    while left and right:
        # What one step linked may stand further on, too.
        left, right = list(resolve(tuple(left))), list(resolve(tuple(right)))
        one, other = left.pop(0), right.pop(0)
        size, other_size = segment_size(one), segment_size(other)
        if size > other_size:
            one, rest = _cut(one, other_size, reason)
            left.insert(0, rest)
        elif other_size > size:
            other, rest = _cut(other, size, reason)
            right.insert(0, rest)
        _unify_segments(one, other, reason)


def _link(dim: Dim, other: Dim) -> bool:
    """Make `dim`, where it is one width and nothing else, stand for `other`."""
    if len(dim) != 1 or len(dim[0]) != 1 or isinstance(dim[0][0], int):
        return False
    var = dim[0][0]
    # A width that is linked to itself would never resolve.
    if var in width_vars(other):
        return False
    if not width_vars(other):
        fix(var, "it meets a size that no weight has")
        return True
    var.link = other
    # What stood against changing `var` stands against all that it is made of.
    fixed, inexact, equal = var.fixed, var.inexact, var.equal
    if fixed:
        fix(other, fixed)
    if inexact:
        mark_inexact(other, inexact)
    if equal:
        mark_equal(other, equal)
    return True


def _cut(segment: Segment, size: int, reason: str) -> tuple[Segment, Segment]:
    """The first `size` positions of a segment and the rest."""
    if len(segment) == 1 and isinstance(segment[0], WidthVar):
        var = segment[0]
        first, rest = WidthVar(size), WidthVar(var.size - size)
        _link(((var,),), ((first,), (rest,)))
        return (first,), (rest,)
    fix((segment,), reason)
    return (size,), (segment_size(segment) - size,)


def _unify_segments(first: Segment, second: Segment, reason: str) -> None:
    a, b = list(_multiply(first)), list(_multiply(second))
    while a and b:
        left, right = _prefixes(a, b)
        if len(left) == 1 and left[0] == 1 and len(right) == 1 and right[0] == 1:
            return
        whole_left, whole_right = resolve((tuple(left),)), resolve((tuple(right),))
        if whole_left == whole_right or _link(whole_left, whole_right) or _link(whole_right, whole_left):
            continue
        fix(whole_left, reason)
        fix(whole_right, reason)


def _prefixes(a: list[Factor], b: list[Factor]) -> tuple[list[Factor], list[Factor]]:
    """Take the shortest beginnings of both that span as many positions."""
    left, right = [a.pop(0)], [b.pop(0)]
    while segment_size(tuple(left)) != segment_size(tuple(right)):
        short, rest = (left, a) if segment_size(tuple(left)) < segment_size(tuple(right)) else (right, b)
        if not rest:
            break
        short.append(rest.pop(0))
    return left, right


def merge(dims: list[Dim], reason: str) -> Dim:
    """The dimension that a flattening of `dims` gives; widths for which that cannot be said are fixed."""
    result: Dim = ((1,),)
    for dim in map(resolve, dims):
        if result == ((1,),):
            result = dim
        elif len(dim) == 1 or all(var.fixed for var in width_vars(dim)):
            # What cannot change is one number, whatever it is made of.
            dim = dim if len(dim) == 1 else plain(dim_size(dim))
            result = tuple(segment + dim[0] for segment in result)
        elif dim_size(result) != 1:
            fix(result, reason)
            fix(dim, reason)
            result = plain(dim_size(result) * dim_size(dim))
    return resolve(result)


def split(dim: Dim, sizes: list[int], reason: str) -> list[Dim]:
    """The dimensions that a reshape of one to `sizes` gives; a width becomes the product of one for each of them.

    A width of which no such product can be said is fixed.
    """
    found = resolve(dim)
    if sum(size != 1 for size in sizes) <= 1:
        return [found if size != 1 else plain(1) for size in sizes]
    count = next(size for size in sizes if size != 1)
    if len(found) == count and len({segment_size(segment) for segment in found}) == 1:
        # Pieces of one size, joined and then told apart again: queries, keys and values of which each has a bias.
        for segment in found[1:]:
            unify((found[0],), (segment,), reason)
        first = resolve((found[0],))
        if len(first) == 1:
            found = ((count, *first[0]),)
    if len(found) > 1:
        fix(found, reason)
        return [plain(size) for size in sizes]
    factors, parts = list(found[0]), []
    for size in sizes:
        part: list[Factor] = []
        while factors and segment_size(tuple(part)) < size:
            if size % segment_size(tuple(part)):
                break
            # A width that is there twice is divided once.
            factors = list(resolve((tuple(factors),))[0])
            need, factor = size // segment_size(tuple(part)), factors.pop(0)
            if factor_size(factor) > need and factor_size(factor) % need == 0:
                factor, rest = _divide(factor, need)
                factors.insert(0, rest)
            part.append(factor)
        if segment_size(tuple(part)) != size:
            fix(found, reason)
            return [plain(size) for size in sizes]
        parts.append(resolve((tuple(part),)))
    return parts


def _divide(factor: Factor, size: int) -> tuple[Factor, Factor]:
    """A factor as a product, the first of `size`: whole heads and the units of one are widths of their own."""
    if isinstance(factor, int):
        return size, factor // size
    parts = WidthVar(size), WidthVar(factor.size // size)
    _link(((factor,),), (parts,))
    return parts


def pieces(dim: Dim, sizes: list[int], reason: str) -> list[Dim]:
    """The dimensions that a cut into pieces of `sizes` gives, one after the other; equal ones are the same width.

    A forward that divides by a number, as `chunk` does, needs equal pieces to stay equal.
    """
    found = resolve(dim)
    if len(set(sizes)) == 1 and len(found) == 1 and len(sizes) > 1:
        if sizes[0] == 1:
            fix(found, reason)
            return [plain(1)] * len(sizes)
        number, piece = split(found, [len(sizes), sizes[0]], reason)
        fix(number, reason)
        return [piece] * len(sizes)
    left, parts = list(found), []
    for size in sizes:
        part: list[Segment] = []
        while left and dim_size(tuple(part)) < size:
            left = list(resolve(tuple(left)))
            segment, need = left.pop(0), size - dim_size(tuple(part))
            if segment_size(segment) > need:
                segment, rest = _cut(segment, need, reason)
                left.insert(0, rest)
            part.append(segment)
        parts.append(resolve(tuple(part)))
    if len(set(sizes)) == 1:
        for other in parts[1:]:
            unify(parts[0], other, reason)
    return [resolve(part) for part in parts]
