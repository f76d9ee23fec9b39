"""The catalogue is data; these tests keep it true to the tests and sources that it cites."""

import ast
import importlib.util
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.core.errors import UnknownName
from harness.crosscheck.catalogue import Catalogue, Deviation, Difference, load

ROOT = Path(__file__).parents[2]
ENTRIES = list(load())
PLAIN = {
    "id": "X1",
    "name": "a name",
    "library": "torchattacks",
    "versions": ["1.0"],
    "differs": "what",
    "mechanism": "why",
    "consequence": "so what",
    "upstream": "nothing to report",
    "test": "tests/deviations/test_x.py::test_x",
    "shows": [{"concepts": ["pgd"], "predicts": "weaker", "norms": ["l2"]}],
}
SEEN = Difference("pgd", "torchattacks", "art", "native", "weaker", "l2")


def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _names_in(path: Path) -> set[str]:
    names: set[str] = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + child.name)
                walk(child, prefix + child.name + ".")
            else:
                walk(child, prefix)

    walk(ast.parse(path.read_text(encoding="utf-8")), "")
    return names


def _source(place: str) -> Path:
    file = place.partition(":")[0]
    spec = importlib.util.find_spec(file.partition("/")[0])
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{file.partition('/')[0]} is not installed")
    return Path(spec.submodule_search_locations[0]).parent / file


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_entry_cites_a_test_that_exists(entry):
    path, _, name = entry.test.partition("::")
    assert name.startswith("test_")
    assert name in _tests_in(ROOT / path)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_place_in_a_library_exists(entry):
    for place in entry.where:
        name = place.partition(":")[2]
        source = _source(place)
        assert source.is_file(), place
        assert not name or name in _names_in(source), place


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_report_that_is_cited_exists(entry):
    if entry.upstream.startswith("reports/"):
        assert (ROOT / entry.upstream).is_file()


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="mechanisms"):
        Deviation.model_validate({**PLAIN, "mechanisms": "a typing mistake"})


def test_an_unknown_condition_is_refused():
    shows = [{"concepts": ["pgd"], "predicts": "weaker", "conditions": ["zero-gradients"]}]
    with pytest.raises(UnknownName, match="zero-gradient"):
        Deviation.model_validate({**PLAIN, "shows": shows})


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(UnknownName, match="X1"):
        Catalogue((Deviation.model_validate(PLAIN),)).get("X11")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"effect": "images"}, True),
        ({"effect": "stronger"}, False),
        ({"effect": "either"}, False),
        ({"norm": "linf"}, False),
        ({"concept": "fgsm"}, False),
        ({"implementation": "art", "other": "torchattacks"}, False),
    ],
)
def test_an_entry_explains_only_what_it_predicts(change, expected):
    """Catches a ledger that explains any difference of a library that has some entry."""
    seen = Difference(**{**{f: getattr(SEEN, f) for f in Difference.__slots__}, **change})
    found = Catalogue((Deviation.model_validate(PLAIN),)).explain(seen)
    assert bool(found) == expected


def test_all_conditions_must_hold():
    shows = [{**PLAIN["shows"][0], "conditions": ["zero-gradient", "odd-batch"]}]
    catalogue = Catalogue((Deviation.model_validate({**PLAIN, "shows": shows}),))

    def explained(*facts: str) -> bool:
        return bool(
            catalogue.explain(
                Difference("pgd", "torchattacks", "art", "native", "weaker", "l2", facts)
            )
        )

    assert not explained("zero-gradient")
    assert explained("zero-gradient", "odd-batch", "ties")


def test_a_struck_entry_explains_nothing_and_is_not_in_force():
    entry = Deviation.model_validate({**PLAIN, "struck": "it was not there"})
    assert not Catalogue((entry,)).explain(SEEN)
    assert not entry.in_force("1.0")


def test_an_entry_is_in_force_in_the_versions_it_was_seen_in():
    entry = Deviation.model_validate(PLAIN)
    assert entry.in_force("1.0")
    assert not entry.in_force("1.1")
