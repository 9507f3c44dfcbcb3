import subprocess
import sys

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.base import derive_seed

NAMES = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 9)), max_size=3)


def test_a_seed_is_the_same_on_every_machine():
    assert derive_seed(0) == int.from_bytes(bytes.fromhex("5feceb66ffc86f38")) >> 1
    code = "from lab.base import derive_seed; assert derive_seed(7, 'a', 1) == int(__import__('sys').argv[1])"
    assert subprocess.run([sys.executable, "-c", code, str(derive_seed(7, "a", 1))], check=False).returncode == 0


@given(seed=st.integers(0, 2**63), names=NAMES)
@settings(max_examples=50, deadline=None)
def test_a_seed_fits_63_bits(seed, names):
    assert 0 <= derive_seed(seed, *names) < 2**63


def test_streams_with_different_names_have_different_seeds():
    names = [(), ("a",), ("b",), ("a", "b"), ("ab",), (1,), ("1",), (1, 2), (12,)]
    assert len({derive_seed(seed, *name) for seed in (0, 1) for name in names}) == 2 * len(names)


@given(left=NAMES, right=NAMES)
@settings(max_examples=200, deadline=None)
def test_different_lists_of_plain_names_never_meet(left, right):
    assume(not any("/" in str(name) for name in [*left, *right]))
    assert (derive_seed(0, *left) == derive_seed(0, *right)) == (
        [(type(n), n) for n in left] == [(type(n), n) for n in right]
    )
