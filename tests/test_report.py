"""Reports: right, escaped, complete about what is missing, and the same bytes again."""

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import synthetic_results
from markdown_it import MarkdownIt
from rich.console import Console
from synthetic_results import NASTY, NASTY_CLASSES, Latent, make

from harness.core.errors import InputError, UnknownName
from harness.core.types import Row
from harness.figures import charts
from harness.metrics import METRICS
from harness.ranking import ranked
from harness.report import FORMATS, render, show, tables, text
from harness.report.dictionary import dictionary
from harness.report.markdown import document, fenced
from harness.report.page import embedded, packed, page
from harness.results import Results, outcomes
from harness.sections import Story, told
from harness.sections.blocks import Detail, Number, Table
from harness.sections.summary import table as summary_table

FEW = ("baseline", "ensemble 3", "FGSM 0.3", "MixUp then PGD", "PGD then MixUp")
BACK = "harness report"


def few(**options):
    models = [one for one in synthetic_results.study() if one.name in FEW]
    return ranked(make(models=models, n=150, attacked=100, **options))


@pytest.fixture(scope="module")
def results():
    return few(nasty=True)


@pytest.fixture(scope="module")
def story(results):
    return Story(results)


def markdown_of(results):
    story = Story(results)
    captions = {chart.name: chart.title for chart in charts()}
    captions |= {gallery.name: gallery.title for gallery in results.galleries}
    return document("Title", "intro", told(story), captions)


def page_of(results):
    story = Story(results)
    return page("Title", "intro", story, told(story), "window.vegaEmbed = null;")


# ---------------------------------------------------------------- the whole folder


ONCE = """
import sys
from harness.cli import main
if __name__ == "__main__":
    try:
        main()
    finally:
        assert "torch" not in sys.modules, "torch was imported"
"""


def command(*arguments):
    """`harness ARGUMENTS` in a process of its own, where torch must not come in."""
    done = subprocess.run(
        [sys.executable, "-c", ONCE, *map(str, arguments)], check=False, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    """A report in every format, made by the command."""
    folder = tmp_path_factory.mktemp("report")
    results.write(folder)
    told = command("report", folder, "--format", ",".join(FORMATS))
    assert str(folder / "report.html") in told
    with (folder / "terminal.txt").open("w") as file:
        show(Console(file=file, width=200), folder, render(folder, FORMATS))
    return folder


def test_the_full_matrix_is_rendered_in_under_ten_seconds_on_two_cores(tmp_path):
    """Catches a figure, a table or an import that got slow; by processor time, so that others may work."""
    make(n=300, attacked=200).write(tmp_path)
    before = os.times()
    command("report", tmp_path)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system  # fmt: skip
    assert spent / 2 < 10
    assert (tmp_path / "report.html").stat().st_size < 8 << 20


def digests(folder):
    skipped = (".pdf", ".rendered.json", ".txt")
    files = (
        path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(skipped)
    )
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_report_has_every_file(folder, results):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert {"report.md", "report.html", "summary.csv", "summary.tex", "summary.json", "summary.parquet", "results.json", "results.parquet", "data-dictionary.md"} <= names  # fmt: skip
    figures = [chart.name for chart in charts()] + [gallery.name for gallery in results.galleries]
    assert {f"figures/{name}.{kind}" for name in figures for kind in ("png", "svg", "pdf")} <= names


def test_every_picture_of_the_markdown_is_there(folder):
    found = re.findall(r"\]\((figures/[^)]+)\)", (folder / "report.md").read_text())
    assert len(found) == len(set(found)) >= 15
    assert all((folder / name).is_file() for name in found)


def test_the_report_is_made_again_byte_for_byte_from_results_alone(folder, tmp_path):
    """Catches a date, a temporary name, an order of workers; `cp` of results is all that is needed."""
    for name in digests(folder):
        if name.startswith(("results.csv", "run.json", "evidence/", "outcomes/")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    render(tmp_path, tuple(name for name in FORMATS if name != "pdf"))
    assert digests(tmp_path) == digests(folder)


def test_unchanged_results_are_not_rendered_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    paths = render(folder, FORMATS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert folder / "report.html" in paths


def test_a_changed_input_or_output_is_noticed(folder, tmp_path, monkeypatch):
    """Catches a stamp that looks at dates, or at inputs alone."""
    from harness.report import rendering

    drawn = []
    monkeypatch.setattr(
        rendering,
        "_write",
        lambda results, folder, formats: drawn.append(1) or [folder / "report.md"],
    )
    for name in ("results.csv", "run.json", "report.md"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for path in (folder / "evidence").iterdir():
        (evidence / path.name).write_bytes(path.read_bytes())
    for change, expected in (
        (None, 1),
        (None, 1),
        ("report.md", 2),
        ("evidence/findings.json", 3),
        ("run.json", 4),
    ):
        if change:
            with (tmp_path / change).open("a") as file:
                file.write("\n")
        render(tmp_path)
        assert len(drawn) == expected, change


def test_an_unknown_format_is_named():
    with pytest.raises(UnknownName, match="latex"):
        render(Path("nowhere"), ["latexx"])


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no results"):
        render(tmp_path)


def test_the_terminal_shows_every_model_and_where_the_reports_lie(folder):
    shown = (folder / "terminal.txt").read_text()
    for model in FEW[2:]:
        assert model in shown
    assert str(folder / "report.html") in shown
    assert "Incomplete: 1 of" in shown
    assert "summary.tex" not in shown


def test_markup_in_names_is_text_in_the_terminal(tmp_path):
    """Catches rich's [bold] in a name."""
    made = make(models=[Latent("[bold]x[/bold]", "[red]")], n=20, attacked=10, ood=(), faults=False)
    made.write(tmp_path)
    out = io.StringIO()
    show(Console(file=out, width=200), tmp_path)
    assert "[bold]x[/bold]" in out.getvalue()


# ---------------------------------------------------------------- names that break naive renderers


def test_csv_holds_the_name_as_it_is(folder):
    for name in ("results.csv", "summary.csv"):
        with (folder / name).open(newline="") as file:
            assert NASTY in {record["model"] for record in csv.DictReader(file)}


def test_parquet_and_json_hold_the_name_as_it_is(folder):
    assert NASTY in pq.read_table(folder / "summary.parquet")["model"].to_pylist()
    assert NASTY in {
        record["model"] for record in json.loads((folder / "results.json").read_text())
    }


def test_markdown_shows_the_name_as_text(results):
    """Against markdown-it: catches markup, a cell that a pipe splits, a line that a newline breaks."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown_of(results))
    flat = [child for token in tokens for child in [token, *(token.children or [])]]
    assert not [token for token in flat if token.type in ("html_inline", "html_block")]
    sources = {token.attrs["src"] for token in flat if token.type == "image"}
    assert all(source.startswith("figures/") for source in sources)
    texts = [
        "".join(c.content for c in token.children) for token in tokens if token.type == "inline"
    ]
    assert NASTY in texts
    for row in rows_of(tokens):
        assert len(set(row)) == 1, "a row has another number of cells than its table"


def rows_of(tokens):
    """Cells a row, table by table."""
    counts, row = [], 0
    for token in tokens:
        if token.type == "table_open":
            counts.append([])
        elif token.type in ("th_open", "td_open"):
            row += 1
        elif token.type == "tr_close":
            counts[-1].append(row)
            row = 0
    return counts


@pytest.mark.parametrize(
    "name",
    [
        NASTY,
        *NASTY_CLASSES[:3],
        "a_b_c",
        "_a_",
        "**x**",
        "`x`",
        "[a](b)",
        "$x$",
        "~~x~~",
        "&amp;",
        "\\",
        "1. x",
        "# x",
        "- x",
        "a  b",
    ],
)
def test_any_text_survives_markdown(name):
    """Both in a cell and as a paragraph; white space is one blank."""
    seen = " ".join(name.split())
    md = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    in_cell = md.parse(f"| a |\n| --- |\n| {text.markdown(name)} |\n")
    inline = [token for token in in_cell if token.type == "inline"][-1]
    assert "".join(child.content for child in inline.children) == seen
    alone = [token for token in md.parse(text.markdown_start(name)) if token.type == "inline"]
    assert len(alone) == 1
    assert "".join(child.content for child in alone[0].children) == seen
    assert {child.type for child in alone[0].children} <= {"text", "text_special"}


def test_a_fence_is_longer_than_any_in_the_text():
    tokens = MarkdownIt("commonmark").parse(fenced("a\n````\nb", "sh"))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content == "a\n````\nb\n"


def test_latex_shows_the_name_as_text(story):
    made = tables.latex_text(summary_table(story, "50% & more"))
    assert r"\textless{}img src=x onerror=alert(1)\textgreater{}\textbar{}a" in made
    assert r"50\% \& more" in made
    body = made[made.index(r"\midrule") : made.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
    assert made.count("{") - made.count(r"\{") == made.count("}") - made.count(r"\}")


def test_every_special_character_of_latex_is_escaped():
    """Catches the backslash that is escaped after the braces that its own escape brings."""
    assert (
        text.latex("\\{}$&#_%~^")
        == r"\textbackslash{}\{\}\$\&\#\_\%\textasciitilde{}\textasciicircum{}"
    )


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.scripts, self._in = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        (self.scripts if self._in == "script" else self.texts).append(data)


@pytest.fixture(scope="module")
def tags(results):
    parser = Tags()
    parser.feed(page_of(results))
    return parser


def test_the_page_shows_the_name_as_text(tags, results):
    images = [attributes for tag, attributes in tags.tags if tag == "img"]
    assert len(images) == sum(
        gallery.tiles.shape[0] * gallery.tiles.shape[1] for gallery in results.galleries
    )
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert not [
        attributes
        for _, attributes in tags.tags
        if any(name.startswith("on") for name in attributes)
    ]
    assert NASTY in tags.texts
    assert {attributes["value"] for tag, attributes in tags.tags if tag == "input" and attributes.get("class") == "model"} >= {NASTY}  # fmt: skip
    assert set(NASTY_CLASSES[:3]) <= {image["alt"] for image in images}


def test_the_data_of_the_page_is_json_and_ends_no_script(tags, results):
    held = json.loads(tags.scripts[0])
    assert NASTY in held["tradeoff"]["columns"]["model"]["words"]
    assert "<" not in tags.scripts[0]
    assert json.loads(embedded({"a": "</script><!--\u2028"})) == {"a": "</script><!--\u2028"}


def test_the_page_asks_for_nothing(tags):
    """Catches a style sheet, a font or a script from elsewhere."""
    for _, attributes in tags.tags:
        for name in ("src", "href"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or "")
    policy = next(a["content"] for tag, a in tags.tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_packed_tables_unpack_to_the_same():
    rows = [
        {"a": "x", "b": 1.5, "c": None},
        {"a": "y", "b": 2.0, "c": 3.0},
        {"a": "x", "b": -1.0, "c": None},
    ]
    made = packed(rows)
    unpacked = [
        {name: column["words"][column["values"][place]] if "words" in column else column["values"][place] for name, column in made["columns"].items()}
        for place in range(made["length"])
    ]  # fmt: skip
    assert unpacked == rows


# ---------------------------------------------------------------- numbers


def test_the_summary_table_shows_the_rows(results):
    """Recomputed from results.csv: catches a shifted column, a wrong scale, a bound in the wrong place."""
    table = summary_table(Story(results), "")
    heads = [column.title for column in table.columns]
    place = heads.index("Clean, %")
    for line in table.rows:
        row = next(r for r in results.rows if r.model == line[0].text and r.axis == "clean")
        cell = line[place]
        assert text.number(cell) == f"{100 * row.value:.1f}"
        assert text.interval(cell) == f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
    auroc = heads.index("AUROC kmnist")
    row = next(
        r
        for r in results.rows
        if r.model == "baseline" and r.case == "set=kmnist detector=msp" and r.metric == "auroc"
    )
    assert text.number(table.rows[0][auroc]) == f"{row.value:.3f}"


def test_a_void_number_is_shown_as_void_not_as_a_result():
    """With Markdown, HTML, CSV and the terminal alike."""
    found = few()
    (void,) = {
        row.value for row in found.rows if row.status == "void" and row.case.endswith("eps=mean")
    }
    shown = f"{100 * void:.1f}"
    table = summary_table(Story(found), "")
    line = next(row for row in table.rows if row[0].text == "FGSM 0.3")
    cell = line[[column.title for column in table.columns].index("Robust, %")]
    assert (text.number(cell), text.interval(cell)) == ("void", "")
    made = markdown_of(found)
    in_summary = next(
        line for line in made.splitlines() if line.startswith("| FGSM 0.3 ") and "void" in line
    )
    assert shown not in in_summary.split("|")[4]
    assert "must not be believed (FGSM 0.3)" in made
    record = next(r for r in tables.summary_records(Story(found)) if r["model"] == "FGSM 0.3")
    assert (record["robust"], record["robust low"], record["robust status"]) == (None, None, "void")
    assert not [s for s in found.standings if s.column == "robust" and s.model == "FGSM 0.3"]


def test_marks_are_those_of_the_standings():
    """Catches the winner marked alone."""
    found = few()
    made = markdown_of(found)
    best = {s.model for s in found.standings if s.column == "clean" and s.best}
    assert len(best) > 1
    start = made.index("## Summary")
    for line in made[start : made.index("## Trade")].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[1] in FEW and re.search(r"\d", cells[3]):
            assert cells[3].startswith("**") == (cells[1] in best)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(99.875, 2, "99.88"), (-0.001, 2, "0.00"), (-1.25, 1, "\u22121.2"), (0.0, 1, "0.0")],
)
def test_decimals(value, digits, expected):
    assert text.decimal(value, digits) == expected


def test_csv_floats_are_plain():
    assert tables.csv_text([{"a": 0.1 + 0.2, "b": None, "c": "x\ny"}]) == 'a,b,c\n0.3,,"x\ny"\n'


# ---------------------------------------------------------------- what is missing


def everything(results):
    return markdown_of(results) + page_of(results)


def test_one_model_one_seed_no_ood_still_makes_a_report():
    alone = ranked(
        make(models=[Latent("only", "baseline")], n=40, attacked=20, ood=(), faults=False)
    )
    bare = replace(alone, ledger=(), findings=(), galleries=())
    made = markdown_of(bare)
    for sentence in (
        "One model only",
        "One seed only",
        "There is no OOD set",
        "No cross-check was run",
    ):
        assert sentence in made
    assert "## Out-of-distribution" not in made
    assert "only" in page_of(bare)


def test_nothing_measured_still_makes_a_report():
    """Catches min() of nothing and a division by no images."""
    made = make(models=[Latent("only", "baseline")], n=20, attacked=10, ood=(), faults=False)
    nothing = ranked(replace(made, rows=(), outcomes={}, exhibits={"reliability": [], "histograms": [], "roc": [], "training": []}, galleries=(), ledger=(), findings=()))  # fmt: skip
    for sentence in ("No attack was run", "No corruption was run", "Calibration was not measured"):
        assert sentence in everything(nothing)
    assert tables.csv_text(tables.summary_records(Story(nothing))).startswith("model,family")


def test_a_failed_job_is_named_with_its_reason():
    made = markdown_of(few())
    assert "Incomplete: 1 of" in made
    assert "MemoryError: 3 GiB wanted" in made
    assert "corruption=zigzag" in made


def test_several_seeds_say_so():
    found = ranked(
        make(models=synthetic_results.study()[:2], n=60, attacked=40, seeds=3, faults=False)
    )
    made = markdown_of(found)
    assert "3 seeds: values are means over seeds" in made
    assert "One seed only" not in made


def test_a_limited_run_is_for_testing_only():
    found = few()
    limited = replace(found, run={**found.run, "limit": 50})
    assert "For testing only: no more than 50 test images" in everything(limited)
    assert "For testing only" not in everything(found)


def test_every_flag_and_finding_is_explained():
    found = few()
    made = markdown_of(found)
    for check in found.run["checks"]:
        assert check["id"] in made
    for flag in found.run["flags"]:
        assert text.markdown(flag["message"]) in made
    assert all(f"### {one.id}: " in made for one in found.findings)


def test_claims_that_were_not_measured_stand_apart_with_their_reason():
    """Catches a report of two models that is a list of what it does not say."""
    found = few()
    gone = replace(found.findings[0], verdict="not measured", parts=(), note="No ensembles here.")
    some = replace(found, findings=(gone, *found.findings[1:]))
    made = markdown_of(some)
    apart = made.partition("The claims that were not measured")[2]
    assert f"| {gone.id} " in apart
    assert "No ensembles here." in apart
    assert f"### {gone.id}: " not in made
    none = markdown_of(replace(found, findings=(gone,)))
    assert "## Findings" not in none
    assert "None of the study's claims was measured." in none


def test_every_ledger_row_is_listed(story):
    ledger = next(section for section in told(story) if section.name == "ledger")
    whole = next(block for block in ledger.blocks if isinstance(block, Detail)).blocks[0]
    assert isinstance(whole, Table)
    assert len(whole.rows) == len(story.results.ledger)


def test_the_sections_stand_in_the_order_of_the_issue(story):
    names = [section.name for section in told(story)]
    wanted = [
        "verdict",
        "summary",
        "adversarial",
        "shift",
        "ood",
        "calibration",
        "findings",
        "ledger",
        "flags",
        "method",
        "reproduce",
    ]
    assert [name for name in names if name in wanted] == wanted


def test_a_table_has_as_many_cells_as_heads(story):
    def tables_in(blocks):
        for block in blocks:
            if isinstance(block, Table):
                yield block
            elif isinstance(block, Detail):
                yield from tables_in(block.blocks)

    found = [table for section in told(story) for table in tables_in(section.blocks)]
    assert len({table.name for table in found}) == len(found)
    for table in found:
        assert {len(row) for row in table.rows} <= {len(table.columns)}, table.name
        assert len(table.models) in (0, len(table.rows))


# ---------------------------------------------------------------- the dictionary


def test_the_dictionary_has_every_column(story):
    made = dictionary(story)
    from dataclasses import fields

    for name in [field.name for field in fields(Row)] + [
        column for table in outcomes.COLUMNS.values() for column in table
    ]:
        assert f"| {text.markdown(name)} " in made, name
    for metric in {row.metric for row in story.rows}:
        assert METRICS[metric].definition.split("|")[0].strip() in made.replace("\\", "")


def test_better_is_said_one_way(results):
    """Catches rows whose direction is not that of the metric dictionary."""
    for row in results.rows:
        assert row.better == METRICS[row.metric].better, row.metric


def test_numbers_without_interval_are_plain():
    assert text.plain(Number(1.0, digits=2)) == "1.00"
    assert text.plain(Number(None)) == text.NONE
    assert text.plain(Number(0.5, status="failed")) == "failed"


def test_results_are_read_without_outcomes(folder):
    """Catches a report that reads sixty megabytes of scores to draw a table."""
    read = Results.read(folder)
    assert not read.outcomes._tables  # pyright: ignore[reportAttributeAccessIssue]


def glossary(results):
    """Words that the report explains."""
    part = next(one for one in told(Story(results)) if one.name == "words")
    (listed,) = part.blocks
    return {item.lead.removesuffix(":") for item in listed.items}


def test_a_docstrings_marks_are_not_shown():
    """Catches the names of parameters between backticks, as the line of GEN had them."""
    results = few()
    results.run["detectors"][0]["summary"] = "Entropy of the `top` probabilities."
    shown = markdown_of(results)
    assert "Entropy of the top probabilities." in shown


def test_words_are_those_of_the_report():
    """Catches a glossary of families and axes that the run does not have, and one that lacks some."""
    everything = few()
    words = glossary(everything)
    assert {
        "Baseline",
        "Ensemble",
        "FGSM training",
        "Combinations",
        "eps",
        "ROC, AUROC",
        "Holm",
    } <= words
    assert not {"CutOut", "MixUp", "Large"} & words  # none of these five models is one
    clean = replace(
        everything, rows=tuple(r for r in everything.rows if r.axis == "clean"), ledger=()
    )
    assert not {"eps", "OOD", "Corruption", "Confidence", "Envelope"} & glossary(clean)
