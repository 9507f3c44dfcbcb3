"""The search as an event: what can be drawn is told with how likely it is."""

import pytest

from lab.asose.events import describe_search
from lab.charts import uniform_entropy
from lab.explore import GumbelExplorer
from lab.space import NB201


def test_the_event_tells_what_each_edge_can_draw():
    explorer = GumbelExplorer(NB201, allow_none=False)
    explorer.exclude(0, "skip_connect")
    event = describe_search(explorer, explorer.argmax_genotype, None, "epoch")
    assert event.drawable == [[2, 3, 4]] + [[1, 2, 3, 4]] * 5


def test_a_search_that_knows_nothing_stands_on_the_line_of_the_page():
    explorer = GumbelExplorer(NB201, allow_none=False)
    explorer.start_from([[0.0] * 5] * 6, 0.0)
    event = describe_search(explorer, explorer.argmax_genotype, None, "epoch")
    payload = {name: getattr(event, name) for name in ("genotype", "edges", "primitives", "probabilities", "drawable")}
    assert sum(event.entropy) / 6 == pytest.approx(uniform_entropy(payload))
