"""Figures: one definition for page and paper, drawn from numbers that count, readable by everyone."""

import io
import itertools
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import altair as alt
import numpy as np
import pytest
import synthetic_results
import vl_convert
from PIL import Image, ImageFont
from synthetic_results import NASTY, Latent, make

from harness.figures import HIDDEN, Deck, charts, grid
from harness.figures.lettering import face, folder, outlined
from harness.figures.paper import chart_svg, filled, png
from harness.figures.style import FAMILIES, SPARE, family_look
from harness.results.gallery import adversarial, strips

CHARTS = [chart.name for chart in charts()]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def deck():
    """Every kind of chart, with a void number and a failed job."""
    models = [one for one in synthetic_results.study() if one.name in ("baseline", "FGSM 0.3", "MixUp 1", "MixUp then PGD")]  # fmt: skip
    return Deck(make(models=models, n=120, attacked=80))


def chart(name):
    return next(one for one in charts() if one.name == name)


def drawn(name, deck, hidden=()):
    """SVG of a chart, with its accessible labels, which say what every mark stands for."""
    spec = chart(name).spec(deck)
    spec["config"]["aria"] = True
    for param in spec["params"]:
        if param["name"] == HIDDEN:
            param["value"] = list(hidden)
    return vl_convert.vegalite_to_svg(filled(spec, deck.datasets), show_warnings=False)


def marks(svg, role):
    return re.findall(rf'aria-roledescription="{role}" aria-label="([^"]*)"|aria-label="([^"]*)"[^>]*aria-roledescription="{role}"', svg)  # fmt: skip


# ---------------------------------------------------------------- every chart


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_valid_vega_lite(name, deck):
    """Catches a channel or option that Vega-Lite would silently ignore."""
    spec = chart(name).spec(deck)
    alt.Chart.from_dict(spec, validate=True)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_holds_no_data_of_its_own(name, deck):
    """Catches rows that would stand in the page once a chart."""
    inline = json.dumps(chart(name).spec(deck).get("datasets", {}))
    assert len(inline) < 200
    assert "baseline" not in inline


@pytest.mark.parametrize(
    "name", [name for name in CHARTS if name not in ("findings", "ledger", "ood-scores")]
)
def test_a_model_can_be_switched_off(name, deck):
    """Catches a layer that forgets the switch: no mark of a hidden model may stay."""
    model = "MixUp then PGD" if name == "training" else "MixUp 1"
    before, after = drawn(name, deck), drawn(name, deck, hidden=[model])
    assert model in before
    assert model not in re.sub(r"<title>.*?</title>", "", after)


@pytest.mark.parametrize("name", CHARTS)
def test_nasty_names_are_text(name):
    """Catches a name that becomes markup, or that ends a Vega expression."""
    models = [
        Latent('it\'s "quoted" \\', "baseline"),
        Latent("x", "FGSM training", eps=0.1, attack="fgsm"),
    ]
    nasty = Deck(make(models=models, n=60, attacked=40, nasty=True))
    svg = chart_svg(filled(chart(name).spec(nasty), nasty.datasets), "a < b", "c & d")
    root = ET.fromstring(svg)
    assert not [
        element for element in root.iter() if element.tag in (f"{SVG}img", "img", f"{SVG}script")
    ]


def test_a_chart_without_its_data_is_left_out():
    bare = Deck(make(models=[Latent("only", "baseline")], n=30, attacked=20, ood=(), faults=False))
    possible = {one.name for one in charts() if one.possible(bare)}
    assert not possible & {"auroc-by-family", "roc", "ood-scores", "training"}
    assert {"overview", "security-curves", "corruption-map", "reliability"} <= possible


# ---------------------------------------------------------------- what is drawn


def test_a_void_number_is_not_drawn(deck):
    """Catches a robustness headline that a check voids standing in a figure like any other."""
    void = {row.case for row in deck.results.rows if row.status == "void"}
    assert void
    worst = [r for r in deck.datasets["robust"] if r["panel"].startswith("worst") and r["eps"] > 0]
    assert "FGSM 0.3" not in {record["model"] for record in worst}
    assert "baseline" in {record["model"] for record in worst}
    assert "FGSM 0.3" not in {
        r["model"] for r in deck.datasets["summary"] if r["column"] == "robust"
    }


def test_percentages_are_scaled_once(deck):
    for record in deck.datasets["shift"]:
        row = next(r for r in deck.results.rows if r.axis == "shift" and r.metric == "accuracy" and r.model == record["model"] and r.case.endswith("=" + record["corruption"].replace(" ", "_")))  # fmt: skip
        assert record["value"] == pytest.approx(100 * row.value, rel=1e-5)
        assert record["low"] <= record["value"] <= record["high"]


def test_security_curves_have_a_line_a_model_and_attack(deck):
    """Catches lines that join two models, and a panel for Square, which has a single budget."""
    panels = {record["panel"] for record in deck.datasets["robust"]}
    assert panels == {
        "worst of the attacks, L-inf",
        "FGSM, L-inf",
        "PGD, L-inf",
        "margin-loss PGD, L-inf",
        "PGD, L2",
    }
    root = ET.fromstring(drawn("security-curves", deck))
    lines = [g for g in root.iter(f"{SVG}g") if g.get("class", "").startswith("mark-line") and g.get("aria-roledescription") == "line mark container"]  # fmt: skip
    assert (
        sum(len(list(group)) for group in lines) == 4 * 4 + 3
    )  # the void model has no worst curve


def test_a_single_seed_of_several_is_not_drawn_as_all():
    from harness.ranking import over_seeds

    made = make(models=synthetic_results.study()[:2], n=60, attacked=40, seeds=3, faults=False)
    made = replace(made, rows=(*made.rows, *over_seeds(made.rows)))
    clean = [record for record in Deck(made).datasets["summary"] if record["column"] == "clean"]
    assert len(clean) == 2
    for record in clean:
        singles = [
            r.value
            for r in made.rows
            if (r.model, r.axis, r.case) == (record["model"], "clean", "") and r.seed >= 0
        ]
        assert record["value"] == pytest.approx(100 * np.mean(singles), rel=1e-5)


def test_roc_points_are_those_of_the_run(deck):
    one = deck.results.exhibits["roc"][0]
    found = [(r["fpr"], r["tpr"]) for r in deck.datasets["roc"] if r["model"] == one["model"] and r["detector"] == one["detector"] and r["set"] == deck.title(one["set"])]  # fmt: skip
    assert found == list(zip(one["fpr"], one["tpr"], strict=True))


def test_histograms_are_shares_of_each_set(deck):
    total = {}
    for record in deck.datasets["histograms"]:
        key = record["model"], record["detector"], record["set"]
        total[key] = total.get(key, 0) + record["share"]
    assert total
    assert all(value == pytest.approx(100, rel=1e-4) for value in total.values())


# ---------------------------------------------------------------- colours and shapes


def test_families_differ_in_shape_and_colour():
    shapes = [shape for _, shape in FAMILIES.values()]
    colours = [colour for colour, _ in FAMILIES.values()]
    assert len(set(shapes)) == len(shapes)
    assert len(set(colours)) == len(colours)


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(linear):
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    ratio = to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", [None, *BLIND])
def test_families_can_be_told_apart_by_the_colour_blind(kind):
    """Catches two colours that look the same: CIE76 distance of at least 10 (2.3 is just visible)."""
    seen = {}
    for family, (colour, _) in FAMILIES.items():
        rgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen[family] = lab(linear if kind is None else np.array(BLIND[kind]) @ linear)
    for (a, one), (b, other) in itertools.combinations(seen.items(), 2):
        assert np.linalg.norm(one - other) > 10, (kind, a, b)


def test_unknown_families_get_looks_of_their_own():
    names, colours, shapes = family_look(["Baseline", "mine", "yours", "mine"])
    assert names == ["Baseline", "mine", "yours"]
    assert len(set(zip(colours, shapes, strict=True))) == 3
    assert (colours[1], shapes[1]) == SPARE[0]


# ---------------------------------------------------------------- lettering


def text_svg(text, anchor="start", weight="normal", size=20):
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="60" viewBox="0 0 300 60"><rect width="300" height="60" fill="white"/>'
        f'<text text-anchor="{anchor}" transform="translate(150,35)" font-family="DejaVu Sans" font-size="{size}px" font-weight="{weight}" fill="#000">{text}</text></svg>'
    )


def raster(svg):
    vl_convert.register_font_directory(str(folder()))
    return np.asarray(
        Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=2))).convert("L"), float
    )


@pytest.mark.parametrize("anchor", ["start", "middle", "end"])
@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_outlined_text_looks_like_text(anchor, weight):
    """Against the rasteriser's own text: catches mirrored glyphs, wrong anchors, wrong advances."""
    svg = text_svg("eps 0.25, fog", anchor, weight)
    plain, ours = raster(svg), raster(outlined(svg))
    assert plain.min() < 50
    assert np.abs(plain - ours).mean() < 1.0  # the same without hinting; another anchor gives > 10


def test_text_is_as_wide_as_freetype_says():
    font = ImageFont.truetype(
        str(folder() / "DejaVuSans.ttf"), 2048, layout_engine=ImageFont.Layout.BASIC
    )
    for text in ("baseline", "FGSM 0.3", "iii"):
        assert face("normal").width(text) == pytest.approx(font.getlength(text), rel=2e-3)


def test_lines_of_a_title_stand_below_one_another():
    svg = text_svg('<tspan>one</tspan><tspan x="0" dy="14">two</tspan>')
    down = [float(re.search(r"translate\(-?[\d.]+,([\d.]+)\) scale", g.get("transform")).group(1)) for g in ET.fromstring(outlined(svg)).iter(f"{SVG}g") if g.get("transform")]  # fmt: skip
    assert down == [0.0, 14.0]


def test_no_font_is_needed_but_for_what_it_lacks():
    """Catches text that another machine would set in another font; Chinese stays for the viewer's."""
    assert "<text" not in outlined(text_svg("latin"))
    assert "font-family" not in outlined(text_svg("latin"))
    assert "汉字" in outlined(text_svg("汉字"))


def test_title_and_description_are_for_screen_readers():
    root = ET.fromstring(outlined(text_svg("x"), "a < b", "c & d"))
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert (root[0].text, root[1].text) == ("a < b", "c & d")


# ---------------------------------------------------------------- files


def test_figures_are_byte_identical(deck):
    """Catches ids, dates and orders that change from run to run."""
    spec = filled(chart("overview").spec(deck), deck.datasets)
    first, second = (chart_svg(spec, "t", "d") for _ in range(2))
    assert first == second
    assert png(first) == png(second)
    assert chart("overview").spec(deck) == chart("overview").spec(Deck(deck.results))


def test_png_is_twice_the_size():
    image = Image.open(io.BytesIO(png(text_svg("x"))))
    assert image.size == (600, 120)


# ---------------------------------------------------------------- galleries


def test_perturbations_are_white_at_zero_and_differ_by_sign():
    clean = np.full((1, 1, 1, 3), 0.5)
    result = clean + np.array([-0.2, 0.0, 0.2])
    made = adversarial("a", "a", clean=clean, result=result, labels=["1"], predictions=["2"])
    below, zero, above = grid.pixels(made, 1, 0)[0].astype(int)
    assert tuple(zero) == (255, 255, 255)
    assert below[2] > below[0]  # blue
    assert above[0] > above[2]  # orange
    assert grid.pixels(made, 0, 0)[0, 0].tolist() == [128, 128, 128]


def test_colour_images_keep_their_channels():
    red = np.zeros((1, 3, 2, 2), np.float32)
    red[:, 0] = 1
    made = strips("s", "s", [("row", red, ["x"])])
    assert grid.pixels(made, 0, 0)[0, 0].tolist() == [255, 0, 0]


def test_a_gallery_shows_every_tile_with_its_caption():
    made = strips(
        "s", "s", [("<row>", np.random.default_rng(0).random((3, 1, 8, 8)), ["a&b", "c", NASTY])]
    )
    root = ET.fromstring(grid.svg(made))
    assert len(list(root.iter(f"{SVG}image"))) == 3
    assert {"<row>", "a&b", "c"} <= {element.text for element in root.iter(f"{SVG}text")}


def test_a_comparison_that_shows_nothing_has_no_line(deck):
    """Catches a figure of fifty dots on zero, and one that drops a wide interval round zero."""
    row = next(r for r in deck.results.ledger if r.verdict == "equivalent" and r.low is not None)
    tiny = replace(row, what="tiny", difference=1e-9, low=-1e-9, high=1e-9)
    wide = replace(row, what="PGD linf wide", difference=0.0, low=-0.05, high=0.05)
    held = Deck(replace(deck.results, ledger=(tiny, wide))).datasets["ledger"]
    assert [record["row"].partition(" · ")[0] for record in held] == ["PGD L-inf wide"]


def test_claims_of_several_lines_stand_beside_their_bars(deck):
    """Catches second lines that hang down to the next finding: each label is lifted by its lines."""
    long = replace(deck.results.findings[0], claim="word " * 30)
    three = Deck(replace(deck.results, findings=(long,)))
    axis = chart("findings").spec(three)["encoding"]["y"]["axis"]
    lifts = {one["test"][-1]: one["value"] for one in axis["labelOffset"]["condition"]}
    height = axis["labelLineHeight"]
    assert lifts == {"2": -height / 2, "3": -height}
