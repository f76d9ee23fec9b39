"""Text of an SVG turned into outlines, so that it looks the same where the font is missing.

The font is DejaVu Sans, which comes with matplotlib (itself not imported). A character that it
lacks (Chinese, for example) keeps its line as text, for the viewer's own fonts to show.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SVG = "http://www.w3.org/2000/svg"
FACES = {"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
SHIFT = {"start": 0.0, "middle": 0.5, "end": 1.0}
MOVED = ("text-anchor", "font-family", "font-size", "font-weight", "transform")


@cache
def folder() -> Path:
    """Where the font files lie."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None, "matplotlib is a dependency"
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


class Face:
    """One weight of the font: outlines and widths by character, in font units."""

    def __init__(self, weight: str) -> None:
        from fontTools.ttLib import TTFont

        self.weight = weight
        font: Any = TTFont(folder() / FACES[weight], lazy=True)
        self.names: dict[int, str] = font.getBestCmap()
        self.units: int = font["head"].unitsPerEm
        self._glyphs = font.getGlyphSet()
        self._outlines: dict[str, str] = {}

    def covers(self, text: str) -> bool:
        """Whether every character of `text` has a glyph."""
        return all(ord(character) in self.names for character in text)

    def width(self, text: str) -> float:
        """Advance width of `text` in font units."""
        return sum(self._glyphs[self.names[ord(c)]].width for c in text)

    def outline(self, character: str) -> str:
        """SVG path data of one character."""
        from fontTools.pens.svgPathPen import SVGPathPen

        if character not in self._outlines:
            pen = SVGPathPen(self._glyphs)
            self._glyphs[self.names[ord(character)]].draw(pen)
            self._outlines[character] = pen.getCommands()
        return self._outlines[character]


@cache
def face(weight: str) -> Face:
    """The face of a weight ("normal" or "bold"), read once."""
    return Face(weight)


def outlined(svg: str, title: str = "", description: str = "") -> str:
    """`svg` with its text as outlines and, if given, a title and description for screen readers.

    Args:
        svg: an SVG as vl-convert makes it: text with its own transform, lines as <tspan>.
        title: short name.
        description: what is to be seen.
    """
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)
    used: dict[str, str] = {}
    for parent in list(root.iter()):
        for place, child in enumerate(list(parent)):
            if child.tag == f"{{{SVG}}}text":
                parent[place] = _drawn(child, used) if _drawable(child) else child
    _name(root, title, description)
    defs = ET.SubElement(root, f"{{{SVG}}}defs")
    for name, path in sorted(used.items()):
        ET.SubElement(defs, f"{{{SVG}}}path", {"id": name, "d": path})
    return ET.tostring(root, encoding="unicode")


def _name(root: ET.Element, title: str, description: str) -> None:
    for tag, text in (("desc", description), ("title", title)):
        if text:
            element = ET.Element(f"{{{SVG}}}{tag}")
            element.text = text
            root.insert(0, element)
    root.set("role", "img")


def _lines(text: ET.Element) -> Iterator[tuple[str, float]]:
    """Each line of a text with its offset downwards in pixels."""
    if text.text:
        yield text.text, 0.0
    down = 0.0
    for span in text:
        down += float(span.get("dy", "0"))
        yield span.text or "", down


def _weight(text: ET.Element) -> str:
    return "bold" if text.get("font-weight") in ("bold", "700", "600") else "normal"


def _drawable(text: ET.Element) -> bool:
    return all(face(_weight(text)).covers(line) for line, _ in _lines(text))


def _drawn(text: ET.Element, used: dict[str, str]) -> ET.Element:
    kept = {name: value for name, value in text.attrib.items() if name not in MOVED}
    group = ET.Element(f"{{{SVG}}}g", kept)
    font = face(_weight(text))
    size = float((text.get("font-size") or "10px").removesuffix("px")) / font.units
    for line, down in _lines(text):
        left = -SHIFT[text.get("text-anchor") or "start"] * font.width(line) * size
        place = f"{text.get('transform', '')} translate({left:.2f},{down:g}) scale({size:.6f},{-size:.6f})"
        part = ET.SubElement(group, f"{{{SVG}}}g", {"transform": place.strip()})
        _glyphs(part, line, font, used)
    return group


def _glyphs(part: ET.Element, line: str, font: Face, used: dict[str, str]) -> None:
    along = 0.0
    for character in line:
        path = font.outline(character)
        if path:
            name = f"{font.weight[0]}{ord(character):x}"
            used[name] = path
            ET.SubElement(part, f"{{{SVG}}}use", {"href": f"#{name}", "x": f"{along:g}"})
        along += font.width(character)
