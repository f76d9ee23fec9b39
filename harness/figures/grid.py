"""A gallery as one picture: tiles with their captions, for paper."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from harness.figures.style import INK, PAPER

if TYPE_CHECKING:
    from harness.results import Gallery

TILE, GAP, LINE = 64, 10, 14  # pixels
LEFT = 110  # room for the titles of rows


def pixels(gallery: Gallery, row: int, column: int) -> np.ndarray:
    """(H, W, 3) uint8 picture of one tile; a signed tile is blue below zero and orange above."""
    tile = gallery.tiles[row, column]
    if row in gallery.signed:
        return _diverging(tile.mean(axis=0))
    tile = np.broadcast_to(tile, (3, *tile.shape[1:])) if len(tile) != 3 else tile
    return np.rint(tile.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _diverging(values: np.ndarray) -> np.ndarray:
    """White at zero, full colour at the largest magnitude of the tile."""
    scaled = values / max(float(np.abs(values).max()), 1e-12)
    ends = np.where(scaled[..., None] > 0, np.array([213, 94, 0]), np.array([0, 114, 178]))
    return np.rint(255 + np.abs(scaled)[..., None] * (ends - 255)).astype(np.uint8)


def data_url(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 -> a PNG as data URL."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def svg(gallery: Gallery) -> str:
    """The whole gallery as an SVG with real text."""
    rows, columns = gallery.tiles.shape[:2]
    left = LEFT if gallery.rows else GAP
    top = LINE + GAP if gallery.columns else GAP
    captioned = any(any(line) for line in gallery.captions)
    pitch = TILE + GAP + (LINE if captioned else 0)
    width, height = left + columns * (TILE + GAP + 14), top + rows * pitch
    parts = [f'<rect width="{width}" height="{height}" fill="{PAPER}"/>']
    for column, title in enumerate(gallery.columns):
        parts.append(
            _text(title, left + column * (TILE + GAP + 14) + TILE / 2, LINE, "middle", bold=True)
        )
    for row in range(rows):
        y = top + row * pitch
        if gallery.rows:
            parts.append(_text(_short(gallery.rows[row], 15), left - GAP, y + TILE / 2 + 4, "end"))
        for column in range(columns):
            x = left + column * (TILE + GAP + 14)
            url = data_url(_enlarged(pixels(gallery, row, column)))
            parts.append(
                f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" xlink:href="{url}"/>'
            )
            caption = _short(gallery.captions[row][column], 13)
            parts.append(_text(caption, x + TILE / 2, y + TILE + LINE - 3, "middle"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return head + "".join(parts) + "</svg>"


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """At least 112 pixels, by repetition: viewers would blur the few pixels of a digit."""
    times = max(1, -(-112 // picture.shape[0]))
    return picture.repeat(times, 0).repeat(times, 1)


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text(text: str, x: float, y: float, anchor: str, *, bold: bool = False) -> str:
    if not text:
        return ""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text text-anchor="{anchor}" transform="translate({x:g},{y:g})" font-family="DejaVu Sans" '
        f'font-size="10px"{weight} fill="{INK}">{escape(text)}</text>'
    )
