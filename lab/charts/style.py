"""Colour, dash and label of everything that a chart tells apart, so that colour is never the only sign.

Every colour has a contrast of at least 3 to 1 with a white page and with a near-black page (WCAG 2.1, 1.4.11), so one
figure serves both themes. Text is dark (`INK`); a dark page sets it to a light colour.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

BLUE = "#2f7ef0"
INDIGO = "#7268f2"
TEAL = "#0d9488"
GREEN = "#1f9d4d"
ORANGE = "#d9720a"
RED = "#e5484d"
PINK = "#d6409f"
GREY = "#7f8896"
BROWN = "#a8763e"
OLIVE = "#85861a"

COLORS: tuple[str, ...] = (BLUE, ORANGE, TEAL, PINK, INDIGO, GREEN, RED, BROWN, GREY)
"""Order in which series without a colour of their own take one."""

DASHES: tuple[str, ...] = ("solid", "longdash", "dash", "dashdot", "dot", "longdashdot", "10px 3px 3px 3px 3px 3px")
"""Order in which series and primitives without a dash of their own take one."""

INK = "#1f2937"
"""Colour of text, for a light page."""


@dataclass(frozen=True, kw_only=True)
class LineStyle:
    """How one kind of line looks: three signs, each enough to tell it from the others of its family."""

    label: str
    color: str
    dash: str


PRIMITIVE_STYLES: Mapping[str, LineStyle] = MappingProxyType(
    {
        "none": LineStyle(label="none", color=GREY, dash="dot"),
        "skip_connect": LineStyle(label="skip", color=ORANGE, dash="dash"),
        "nor_conv_1x1": LineStyle(label="conv 1×1", color=INDIGO, dash="longdash"),
        "nor_conv_3x3": LineStyle(label="conv 3×3", color=BLUE, dash="solid"),
        "avg_pool_3x3": LineStyle(label="avg pool 3×3", color=GREEN, dash="dashdot"),
        "max_pool_3x3": LineStyle(label="max pool 3×3", color=TEAL, dash="longdashdot"),
        "sep_conv_3x3": LineStyle(label="sep conv 3×3", color=BLUE, dash="solid"),
        "sep_conv_5x5": LineStyle(label="sep conv 5×5", color=INDIGO, dash="longdash"),
        "sep_conv_7x7": LineStyle(label="sep conv 7×7", color=PINK, dash="10px 3px 3px 3px 3px 3px"),
        "dil_conv_3x3": LineStyle(label="dil conv 3×3", color=RED, dash="dash"),
        "dil_conv_5x5": LineStyle(label="dil conv 5×5", color=BROWN, dash="dashdot"),
        "conv_7x1_1x7": LineStyle(label="conv 7×1, 1×7", color=OLIVE, dash="dot"),
    }
)
"""Styles of the primitives of every space; within one space no two share a colour or a label."""

PHASE_STYLES: Mapping[str, LineStyle] = MappingProxyType(
    {
        "warmup": LineStyle(label="warm-up", color=GREY, dash="dot"),
        "arch_training": LineStyle(label="architecture", color=INDIGO, dash="dash"),
        "mutation": LineStyle(label="mutation", color=PINK, dash="solid"),
        "weight_retraining": LineStyle(label="retraining", color=BLUE, dash="solid"),
        "finished": LineStyle(label="finished", color=GREEN, dash="solid"),
    }
)

STATUS_SIGNS: Mapping[str, str] = MappingProxyType({"applied": "●", "accepted": "✔", "rejected": "✘", "refused": "⊘"})
"""Sign of each status of a mutation; the word stands beside it in text."""

STATUS_COLORS: Mapping[str, str] = MappingProxyType(
    {"applied": ORANGE, "accepted": GREEN, "rejected": RED, "refused": GREY}
)


def primitive_style(primitive: str) -> LineStyle:
    """Style of a primitive; one without an entry in the table gets a colour and dash derived from its name.

    The label is the name itself then, so two such primitives differ in text even where colour and dash agree.
    """
    if primitive in PRIMITIVE_STYLES:
        return PRIMITIVE_STYLES[primitive]
    # Not by hash(), which is another in each process.
    number = int.from_bytes(hashlib.sha256(primitive.encode()).digest()[:4], "big")
    dash = DASHES[number // len(COLORS) % len(DASHES)]
    return LineStyle(label=primitive.replace("_", " "), color=COLORS[number % len(COLORS)], dash=dash)


def short_label(primitive: str) -> str:
    """Label of a primitive without what tells it from no other one of its space: `sep 3×3` of `sep conv 3×3`."""
    label = primitive_style(primitive).label
    if primitive == "conv_7x1_1x7":
        return "7×1 1×7"
    first, middle, last = (*label.split(" "), "", "")[:3]
    return f"{first} {last}" if middle in ("conv", "pool") and last else label


def phase_style(phase: str) -> LineStyle:
    """Style of a training phase; an unknown phase is drawn in pink under its own name."""
    return PHASE_STYLES.get(phase, LineStyle(label=phase.replace("_", " "), color=PINK, dash="dot"))


def series_style(name: str, index: int) -> LineStyle:
    """Style of the `index`-th series of a figure."""
    return LineStyle(label=name, color=COLORS[index % len(COLORS)], dash=DASHES[index % len(DASHES)])


def edge_label(target: int, source: int, cell: str = "cell") -> str:
    """Name of an edge as the charts write it: `0→2`, with the cell type before it where there are several."""
    return f"{source}→{target}" if cell == "cell" else f"{cell} {source}→{target}"
