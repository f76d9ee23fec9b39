"""The folder of a finished run: what is written is what is read, byte for byte where promised."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_results
from synthetic_results import NASTY, Latent, make

from harness.core.errors import InputError
from harness.core.types import Row
from harness.results import ALL_SEEDS, Contrast, Dominance, Gallery, Results, Standing, outcomes
from harness.results.folder import rows_from, rows_text
from harness.results.gallery import adversarial, strips
from harness.results.summary import columns, headline

ROW = Row("s", "m", "f", 0, "clean", "", "accuracy", "harness", 0.5, 0.4, 0.6, 10, "higher")


@pytest.fixture(scope="module")
def results():
    made = make(models=synthetic_results.study()[:4], n=60, attacked=40, nasty=True)
    return replace(
        made,
        standings=(Standing("clean", NASTY, True, 0.0, None, None, None),),
        contrasts=(Contrast("clean", NASTY, 0.1, 0.05, 0.15, 0.01, "better"),),
        dominance=(Dominance("baseline", (NASTY,), ()),),
    )


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    results.write(folder)
    return folder


def test_everything_comes_back(results, folder):
    """Catches a part that is not written, tuples that come back as lists, names that are cut."""
    read = Results.read(folder)
    assert read.run == results.run
    assert read.exhibits == results.exhibits
    for name in ("findings", "ledger", "standings", "contrasts", "dominance"):
        assert getattr(read, name) == getattr(results, name), name
    assert {row.model for row in read.rows} == {row.model for row in results.rows}
    assert NASTY in {row.model for row in read.rows}


def test_rows_come_back_to_twelve_digits(results, folder):
    def key(row):
        return (row.model, row.axis, row.case, row.metric, row.implementation)

    ours, theirs = (sorted(one.rows, key=key) for one in (results, Results.read(folder)))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        numbers = {name: getattr(a, name) for name in ("value", "low", "high")}
        for name, number in numbers.items():
            assert getattr(b, name) == (
                None if number is None else pytest.approx(number, rel=1e-11)
            )
        assert replace(b, **numbers) == a


def test_galleries_come_back(results, folder):
    for ours, theirs in zip(results.galleries, Results.read(folder).galleries, strict=True):
        np.testing.assert_array_equal(ours.tiles, theirs.tiles)
        assert (ours.name, ours.captions, ours.rows, ours.columns, ours.signed) == (
            theirs.name, theirs.captions, theirs.rows, theirs.columns, theirs.signed,
        )  # fmt: skip


def test_outcomes_come_back_with_their_descriptions(results, folder):
    read = Results.read(folder).outcomes
    assert set(read) == set(results.outcomes) == set(outcomes.COLUMNS)
    for name, table in results.outcomes.items():
        assert read[name].equals(table)
        assert all(field.metadata[b"description"] for field in pq.read_schema(folder / "outcomes" / f"{name}.parquet"))  # fmt: skip


def test_results_csv_does_not_depend_on_order_or_times(results, folder, tmp_path):
    """Catches rows written as they come from workers, and a time that leaks into results.csv."""
    slower = {**results.run, "seconds": 1e6, "started": "2030-01-01T00:00:00Z", "memory": 1}
    replace(results, rows=results.rows[::-1], run=slower).write(tmp_path)
    assert (tmp_path / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()
    assert b"2030" not in (tmp_path / "results.csv").read_bytes()


def test_results_csv_hides_the_order_of_a_sum():
    """0.1 + 0.2 and 0.3 differ in the last bit; catches repr of the float."""
    assert rows_text([replace(ROW, value=0.1 + 0.2)]) == rows_text([replace(ROW, value=0.3)])
    assert rows_text([replace(ROW, value=0.3)]) != rows_text([replace(ROW, value=0.3 + 1e-11)])


@pytest.mark.parametrize(
    "name", [NASTY, 'quote " and , comma', "two\nlines", "return\r\nhere", "汉字", ""]
)
def test_any_name_survives_csv(name):
    """Catches unquoted separators and newline translation."""
    (back,) = rows_from(rows_text([replace(ROW, model=name, note=name, flags=("H44", "H64"))]))
    assert back == replace(ROW, model=name, note=name, flags=("H44", "H64"))


def test_missing_numbers_are_empty_not_nan():
    text = rows_text([replace(ROW, value=None, low=None, high=None, status="failed")])
    assert "nan" not in text.lower()
    assert rows_from(text)[0].value is None


def test_an_unknown_column_is_refused():
    with pytest.raises(InputError, match="columns"):
        rows_from("model,value\nm,1\n")


@pytest.mark.parametrize(
    "name", ["results.csv", "run.json", "evidence/ledger.json", "evidence/00-adversarial-fgsm.npz"]
)
def test_a_damaged_file_is_named(results, tmp_path, name):
    """Catches a traceback where one clear message is promised."""
    results.write(tmp_path)
    (tmp_path / name).write_bytes(b"{broken")
    with pytest.raises(InputError, match=name.split("/")[-1]):
        Results.read(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no results"):
        Results.read(tmp_path)


def test_a_gallery_with_a_pickle_runs_nothing(results, tmp_path):
    """Catches np.load(allow_pickle=True)."""
    results.write(tmp_path)
    np.savez(
        tmp_path / "evidence" / "00-adversarial-fgsm.npz", tiles=np.array([{"a": 1}], dtype=object)
    )
    with pytest.raises(InputError, match="allow_pickle"):
        Results.read(tmp_path)


def test_galleries_of_an_earlier_run_do_not_stay(results, tmp_path):
    results.write(tmp_path)
    replace(results, galleries=results.galleries[:1]).write(tmp_path)
    assert [one.name for one in Results.read(tmp_path).galleries] == [results.galleries[0].name]


def test_outcomes_of_an_earlier_run_do_not_stay(results, tmp_path):
    results.write(tmp_path)
    clean = {"clean": results.outcomes["clean"]}
    replace(results, outcomes=clean).write(tmp_path)
    assert set(Results.read(tmp_path).outcomes) == {"clean"}


def test_outcomes_with_other_columns_are_refused(tmp_path):
    with pytest.raises(InputError, match="columns"):
        outcomes.write(tmp_path, {"clean": pa.table({"model": ["a"]})})


def test_outcomes_refuse_a_label_that_does_not_fit():
    """Catches a silent wrap-round of int16."""
    wrong = {"model": ["a"], "seed": [0], "id": [0], "label": [70_000], "prediction": [0]}
    with pytest.raises(pa.ArrowInvalid):
        outcomes.table("clean", wrong)


def test_a_gallery_must_fit_its_captions():
    with pytest.raises(ValueError, match="captions"):
        Gallery("a", "a", np.zeros((2, 2, 1, 4, 4), np.float32), (("x", "y"),))
    with pytest.raises(ValueError, match="title per row"):
        Gallery("a", "a", np.zeros((1, 2, 1, 4, 4), np.float32), (("x", "y"),), rows=("r", "s"))


def test_adversarial_gallery_shows_what_was_added():
    """Catches clean - result, and rows in another order."""
    clean, result = np.full((1, 1, 2, 2), 0.25), np.full((1, 1, 2, 2), 0.75)
    made = adversarial("a", "a", clean=clean, result=result, labels=["3"], predictions=["8"])
    assert made.rows == ("clean", "perturbation", "result")
    np.testing.assert_allclose(made.tiles[:, 0, 0, 0, 0], [0.25, 0.5, 0.75])
    assert made.captions == (("3",), ("at most 0.5",), ("8",))
    assert made.rows[made.signed[0]] == "perturbation"


def test_strips_keep_rows_and_captions_together():
    made = strips(
        "s",
        "s",
        [("a", np.zeros((2, 1, 2, 2)), ["1", "2"]), ("b", np.ones((2, 1, 2, 2)), ["3", "4"])],
    )
    assert made.rows == ("a", "b")
    assert made.captions == (("1", "2"), ("3", "4"))
    assert made.tiles[1].min() == 1


def test_the_headline_is_over_all_seeds_where_there_are_several():
    """Catches the first seed shown as if it were the mean."""
    rows = [
        replace(ROW, seed=seed, value=value)
        for seed, value in ((1, 0.2), (ALL_SEEDS, 0.5), (0, 0.8))
    ]
    assert [row.value for row in headline(rows)] == [0.5]
    assert [row.value for row in headline([rows[0]])] == [0.2]


def test_summary_columns_are_those_that_have_numbers():
    made = make(models=[Latent("only", "baseline")], n=30, attacked=20, ood=(), faults=False)
    ids = [column.id for column in columns(made.run, made.rows)]
    assert ids == ["clean", "robust", "square", "shift", "relative", "ece", "rms", "brier"]


def test_a_difference_from_the_baseline_is_no_value_of_a_column():
    """Catches a summary that shows the paired difference under Square as the accuracy."""
    made = make(models=synthetic_results.study()[:1], n=30, attacked=20)
    (square,) = [column for column in columns(made.run, made.rows) if column.id == "square"]
    value = next(row for row in made.rows if square.matches(row))
    assert not square.matches(replace(value, case=f"{value.case} versus=baseline"))


def test_square_stands_in_the_summary_at_whatever_budget():
    made = make(models=synthetic_results.study()[:1], n=30, attacked=20)
    (square,) = [column for column in columns(made.run, made.rows) if column.id == "square"]
    assert {row.case for row in made.rows if square.matches(row)} == {
        "attack=square norm=linf eps=0.2"
    }
