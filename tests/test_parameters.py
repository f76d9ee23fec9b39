"""Types and ranges of a plug's parameters."""

from typing import Literal

import numpy as np
import pytest

from harness.core.errors import InputError
from harness.core.parameters import POSITIVE, SHARE, Bound, Parameter, parameters
from harness.core.registry import Plug, Registry, registry

Way = Literal["up", "down"]


@pytest.mark.parametrize(
    ("annotation", "fits", "fails"),
    [
        ("int", [0, -3, np.int64(2)], [1.0, "1", True, None, [1]]),
        ("float", [0, 1.5, np.float32(2)], ["1", False, None]),
        ("bool", [True], [1, 0.0, "true"]),
        ("str | None", ["", None], [0, ["a"]]),
        ("Literal['a', 'b']", ["a"], ["c", 0, None]),
        ("Literal[0, 1]", [0, 1], [2, True, 1.0, "0"]),
        ("list[int]", [[], [1, 2], (3,)], [1, [1, 2.5], [[1]], ["1"], None]),
        ("list[list[int]] | None", [[[1], []], None], [[1], [[None]]]),
        ("list[Literal['a', 'b']]", [["b", "a"]], [["c"], "a"]),
        ("tuple[int, float]", [[1, 2.0], (1, 2)], [[1], [1, 2, 3], [1.0, 2], 1]),
        ("dict[str, Any] | None", [{}, {"a": 1}, None], [[], "a"]),
        ("Anything", [0, "a", None], []),
    ],
)
def test_a_value_fits_its_annotation(annotation, fits, fails):
    """Catches types of which only the outer one is looked at, and True that passes for 1."""
    parameter = Parameter("p", annotation)
    assert [parameter.complaint(value) for value in fits] == [""] * len(fits)
    for value in fails:
        assert parameter.complaint(value).startswith(f"p is {annotation}, got"), value


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "said"),
    [
        (Bound(1), [1, 2.5, 1e9], [0, 0.999, -1, float("nan")], "at least 1"),
        (POSITIVE, [1e-9, 3], [0, -1, float("inf"), float("nan")], "above 0"),
        (SHARE, [0, 1, 0.5], [-0.1, 1.1], r"in \[0, 1\]"),
        (Bound(0, 0.5, open=True), [0.1], [0, 0.5], r"in \(0, 0.5\)"),
    ],
)
def test_a_number_lies_in_its_range(bound, inside, outside, said):
    """Catches an end that is forgotten, and NaN, which is smaller than nothing."""
    parameter = Parameter("p", "float | list[float] | None", bound=bound)
    assert not any(parameter.complaint(value) for value in [*inside, inside, None])
    for value in outside:
        for given in (value, [inside[0], value]):
            with pytest.raises(InputError, match=f"p must be {said}, got"):
                plug(parameter).complete({"p": given})


def plug(parameter):
    return Plug("attack", "test", print, None, (parameter,))


def test_a_choice_with_a_name_is_spelled_out_and_bounds_are_the_plugs_own():
    """Catches an alias that nobody can check, and a bound of a parameter that is not there."""
    mine = Registry()

    @mine.register("metric", "test", bounds={"bins": Bound(2)})
    def metric(probs, *, way: "Way" = "up", bins: "int" = 2, steps: "int" = 1, rng):
        return probs, way, bins, steps, rng

    found = {p.name: p for p in parameters(metric, ("rng",), {"bins": Bound(2)})}
    assert found["way"].annotation == "Literal['up', 'down']"
    assert (found["bins"].bound, found["steps"].bound) == (Bound(2), Bound(1))
    with pytest.raises(ValueError, match="metric has no bnis"):
        mine.register("metric", "other", bounds={"bnis": Bound(2)})(metric)


KINDS = ("attack", "detector", "metric", "corruption", "recipe", "network", "data")


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_keep_their_own_law(kind):
    """Over the registry: catches a range that the default of a plug lies outside of."""
    for each in registry.plugs(kind):
        for parameter in each.parameters:
            if not parameter.required:
                assert parameter.complaint(parameter.default) == "", (each.name, parameter)


@pytest.mark.parametrize(
    ("kind", "name", "given"),
    [
        ("attack", "pgd", {"steps": 0}),
        ("attack", "pgd", {"step_size": 0.0}),
        ("attack", "apgd", {"restarts": 0}),
        ("attack", "torchattacks/apgd", {"restarts": 0}),
        ("attack", "art/square", {"restarts": 0}),
        ("attack", "autoattack/square", {"restarts": 0}),
        ("attack", "art/pgd", {"reduction": "median"}),
        ("attack", "autoattack/autoattack", {"attacks": ["apgd"]}),
        ("recipe", "cutout", {"size": -1}),
        ("recipe", "mixup", {"alpha": 0.0}),
        ("recipe", "pgd", {"portion": 1.5}),
        ("network", "lenet5", {"channels": [16]}),
        ("network", "lenet5", {"channels": [16, 0]}),
        ("corruption", "fog", {"severity": 6}),
    ],
)
def test_what_no_job_could_do_is_refused_by_the_plug(kind, name, given):
    (parameter,) = given
    with pytest.raises(InputError, match=f"{kind} '{name}': {parameter} (is|must be) "):
        registry.get(kind, name).complete(given)
