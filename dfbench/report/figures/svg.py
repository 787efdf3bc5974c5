"""Matplotlib's SVG as a part of an HTML page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from dfbench.report.figures.style import (
    ACCENT,
    CLASS_INKS,
    FAKE,
    GRID,
    INK,
    MUTED,
    PAPER,
    REAL,
)

# What the page's style sheet may set anew, for readers who want it dark.
COLOURS = {
    REAL: "real",
    FAKE: "fake",
    CLASS_INKS[0]: "real-ink",
    CLASS_INKS[1]: "fake-ink",
    ACCENT: "curve",
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    PAPER: "paper",
}
_COLOUR = re.compile("|".join(COLOURS), re.IGNORECASE)
_LINK = re.compile(r"url\(#|^#")
_FONT = re.compile(r"font-family:[^;]*;?\s*")


def inline_svg(svg: bytes, prefix: str, label: str) -> str:
    """Return an SVG as an element of an HTML page.

    Its ids get a prefix, so that several fit into a page; its colours become variables of the
    style sheet, and its type is the page's. Text is not touched, whatever it says.

    Args:
      svg: What matplotlib wrote.
      prefix: Letters, digits and hyphens.
      label: What is to be seen, for those who cannot see it.
    """
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if _name(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _name(element.tag)
        element.attrib = {_name(k): _attribute(k, v, prefix) for k, v in element.attrib.items()}
    width, height = (
        float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height")
    )
    root.attrib.pop("version", None)
    root.attrib |= {
        "role": "img",
        "aria-label": label,
        "style": f"aspect-ratio:{width:g}/{height:g};max-width:{width / 60:.3g}in",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _name(name: str) -> str:
    return name.rpartition("}")[2]  # HTML knows SVG's names without their namespace


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "style":
        value = _FONT.sub("", value)
        value = _COLOUR.sub(lambda found: f"var(--{COLOURS[found[0].lower()]})", value)
    return _LINK.sub(lambda found: f"{found[0]}{prefix}-", value)
