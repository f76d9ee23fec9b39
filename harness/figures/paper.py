"""Figures as files: SVG with outlined text, PNG made from it, PDF on request."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from harness.figures.lettering import folder, outlined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.figures.deck import Record

SCRIPT = "window.vegaEmbed = vegaEmbed;"
SCALE = 2  # 190 dots an inch at a full text width of 7 inches


def filled(spec: dict[str, Any], datasets: dict[str, list[Record]]) -> dict[str, Any]:
    """`spec` with the tables that it names put in, so that it stands alone."""
    text = json.dumps(spec)
    used = {name: rows for name, rows in datasets.items() if json.dumps({"name": name}) in text}
    return {**spec, "datasets": {**spec.get("datasets", {}), **used}}


def chart_svg(spec: dict[str, Any], title: str, description: str) -> str:
    """SVG of a chart that stands alone.

    Args:
        spec: Vega-Lite, with its data.
        title: short name, for screen readers.
        description: what is to be seen, for screen readers.
    """
    import vl_convert

    _fonts()
    made = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return outlined(made, title, description)


def png(svg: str) -> bytes:
    """PNG of an SVG at twice its size.

    Encoded again: the converter's own encoder leaves files four times as large.
    """
    import vl_convert
    from PIL import Image

    _fonts()
    out = io.BytesIO()
    drawn = Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=SCALE)))
    drawn.convert("RGB").save(out, "PNG")
    return out.getvalue()


def pdf(svg: str) -> bytes:
    """PDF of an SVG; its bytes differ from run to run."""
    import vl_convert

    _fonts()
    return vl_convert.svg_to_pdf(svg)


def write(
    folder: Path,
    name: str,
    drawing: dict[str, Any] | str,
    title: str,
    description: str,
    kinds: Sequence[str],
) -> list[Path]:
    """Write one figure to `folder`; a function of its arguments alone, for a worker process.

    Args:
        folder: where to.
        name: file name without suffix.
        drawing: a chart with its data, or an SVG with text.
        title: short name.
        description: what is to be seen.
        kinds: "svg", "png", "pdf".
    """
    svg = (
        outlined(drawing, title, description)
        if isinstance(drawing, str)
        else chart_svg(drawing, title, description)
    )
    makers = {"svg": str.encode, "png": png, "pdf": pdf}
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    for kind, path in zip(kinds, paths, strict=True):
        path.write_bytes(makers[kind](svg))
    return paths


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, for a page without a network."""
    import vl_convert

    return vl_convert.javascript_bundle(SCRIPT).replace("</script", r"<\/script")


_registered: list[bool] = []


def _fonts() -> None:
    """Tell the converter where the font lies, once: text is then measured as it is drawn."""
    import vl_convert

    if not _registered:
        vl_convert.register_font_directory(str(folder()))
        _registered.append(True)
