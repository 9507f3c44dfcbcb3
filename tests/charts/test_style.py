"""Style: readable on white and on near-black, and never told apart by colour alone."""

import itertools
from typing import Any

import pytest

from lab.charts import (
    COLORS,
    INK,
    PHASE_STYLES,
    PRIMITIVE_STYLES,
    edge_label,
    phase_style,
    primitive_style,
    series_style,
)
from lab.space import DARTS, NB201


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#0e1117"])
@pytest.mark.parametrize("color", COLORS)
def test_every_colour_stands_out_on_a_light_and_a_dark_page(color: str, page: str) -> None:
    assert contrast(color, page) >= 3.0


def test_text_is_easy_to_read() -> None:
    assert contrast(INK, "#ffffff") >= 7.0


def test_the_contrast_measure_knows_its_extremes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#777777") == pytest.approx(1.0)


@pytest.mark.parametrize("primitive", sorted({*NB201.primitives, *DARTS.primitives}))
def test_every_primitive_of_the_space_has_a_style_of_its_own(primitive: str) -> None:
    assert primitive in PRIMITIVE_STYLES


def test_primitives_differ_in_colour_and_in_dash_and_in_label() -> None:
    for one, other in itertools.combinations([PRIMITIVE_STYLES[name] for name in NB201.primitives], 2):
        assert one.color != other.color
        assert one.dash != other.dash
        assert one.label != other.label
    # Ten primitives are more than there are dashes that can be told apart: the label, always there, is the other sign.
    for one, other in itertools.combinations([PRIMITIVE_STYLES[name] for name in DARTS.primitives], 2):
        assert one.color != other.color
        assert one.label != other.label


@pytest.mark.parametrize("page", ["#ffffff", "#0e1117"])
@pytest.mark.parametrize("style", PRIMITIVE_STYLES.values(), ids=PRIMITIVE_STYLES.keys())
def test_every_primitive_stands_out_on_a_light_and_a_dark_page(style: Any, page: str) -> None:
    assert contrast(style.color, page) >= 3.0


def test_an_unknown_primitive_keeps_its_name_and_always_looks_the_same() -> None:
    assert primitive_style("ghost_conv_3x3").label == "ghost conv 3x3"
    assert primitive_style("ghost_conv_3x3") == primitive_style("ghost_conv_3x3")


def test_an_unknown_phase_is_shown_under_its_own_name() -> None:
    assert phase_style("cool_down").label == "cool down"
    assert phase_style("warmup") is PHASE_STYLES["warmup"]


def test_neighbouring_series_differ_in_colour_and_dash() -> None:
    one, other = series_style("a", 0), series_style("b", 1)
    assert (one.color, one.dash) != (other.color, other.dash)
    assert one.color != other.color


def test_an_edge_is_named_from_source_to_target() -> None:
    assert edge_label(3, 1) == "1→3"
    assert edge_label(3, 1, "reduce") == "reduce 1→3"
