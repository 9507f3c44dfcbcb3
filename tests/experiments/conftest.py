"""What tests of experiments share: a prior from few cells, where the number of cells is not what they show."""

import functools

import pytest

from lab.asose import architecture
from lab.experiments import evolved


@pytest.fixture(scope="module")
def short_prior():
    """A prior looks at 80 cells in place of 250."""
    with pytest.MonkeyPatch.context() as patch:
        find = architecture.find_prior

        @functools.wraps(find)
        def short(space, x_BCHW, **settings):
            return find(space, x_BCHW, **(settings | {"evaluations": 80}))

        for module in (architecture, evolved):
            patch.setattr(module, "find_prior", short)
        yield
