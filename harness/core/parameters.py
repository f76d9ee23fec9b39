"""What a parameter of a plug may be: its annotated type, and a range where there is one.

A suite is checked with this before anything runs, so that `steps: 0` is an error of a line of a file
and not of a job.
"""

from __future__ import annotations

import ast
import inspect
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRED: Any = inspect.Parameter.empty
PLAIN: dict[str, type] = {
    "int": numbers.Integral, "float": numbers.Real, "str": str, "dict": Mapping,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """Numbers from `low` to `high`, without the ends if `open`.

    >>> print(Bound(1), Bound(0, open=True), Bound(0, 1))
    at least 1 above 0 in [0, 1]
    """

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies inside; NaN does not."""
        if self.open:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def schema(self) -> dict[str, float]:
        """The same in JSON Schema.

        >>> Bound(0, open=True).schema()
        {'exclusiveMinimum': 0}
        """
        names = ("exclusiveMinimum", "exclusiveMaximum") if self.open else ("minimum", "maximum")
        ends = zip(names, (self.low, self.high), strict=True)
        return {name: end for name, end in ends if math.isfinite(end)}

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open else f"at least {self.low:g}"
        ends = "()" if self.open else "[]"
        return f"in {ends[0]}{self.low:g}, {self.high:g}{ends[1]}"


POSITIVE = Bound(0, open=True)
SHARE = Bound(0, 1)
# Names mean the same everywhere, so they have the same range; a plug that is stricter says so with
# `bounds` where it is registered.
BOUNDS: dict[str, Bound] = {
    "batch_size": Bound(1),
    "bins": Bound(1),
    "bin_size": Bound(1),
    "candidates": Bound(2),
    "channels": Bound(1),
    "classes": Bound(2),
    "const": POSITIVE,
    "count": Bound(0),
    "decay": Bound(0),
    "deepfool_steps": Bound(1),
    "eps": Bound(0),
    "hidden": Bound(1),
    "neighbours": Bound(1),
    "overshoot": Bound(0),
    "p_init": SHARE,
    "percentile": SHARE,
    "portion": SHARE,
    "queries": Bound(1),
    "ramp": SHARE,
    "restarts": Bound(0),
    "rho": SHARE,
    "search_steps": Bound(1),
    "severity": Bound(1, 5),
    "size": Bound(0),
    "sparsity": SHARE,
    "step_size": POSITIVE,
    "steps": Bound(1),
    "temperature": POSITIVE,
    "top": Bound(1),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword-only parameter of a plug, as YAML sees it.

    Args:
        name: of the parameter.
        annotation: its type, as it is written.
        default: where it has one.
        bound: the range of its numbers, also those of a list; None for any.
    """

    name: str
    annotation: str
    default: Any = REQUIRED
    bound: Bound | None = None

    @property
    def required(self) -> bool:
        """Whether the suite must give it."""
        return self.default is REQUIRED

    def complaint(self, value: object) -> str:
        """What is wrong with a value, or "".

        >>> Parameter("steps", "int | None", bound=Bound(1)).complaint(0)
        'steps must be at least 1, got 0'
        """
        if not _fits(value, ast.parse(self.annotation, mode="eval").body):
            return f"{self.name} is {self.annotation}, got {value!r}"
        if self.bound and not all(self.bound.holds(number) for number in _numbers(value)):
            return f"{self.name} must be {self.bound}, got {value!r}"
        return ""

    def schema(self) -> dict[str, Any]:
        """JSON Schema of its values; any mapping, too, since one may depend on the data set.

        >>> Parameter("steps", "int | None", bound=Bound(1)).schema()
        {'type': ['integer', 'null', 'object'], 'minimum': 1}
        """
        kinds, choices = _json_types(ast.parse(self.annotation, mode="eval").body)
        if choices:
            return {"anyOf": [{"enum": choices}, {"type": [*kinds, "object"]}]}
        if not kinds:
            return {}
        ends = self.bound.schema() if self.bound else {}
        known: dict[str, Any] = {"type": sorted({*kinds, "object"}), **ends}
        return known | ({"items": ends} if ends and "array" in kinds else {})


def parameters(
    function: Callable[..., Any], supplied: tuple[str, ...], bounds: Mapping[str, Bound]
) -> tuple[Parameter, ...]:
    """The keyword-only parameters of a plug but those that its caller supplies.

    Args:
        function: the plug.
        supplied: names that the caller supplies.
        bounds: ranges that are not those of BOUNDS.

    Raises:
        ValueError: a range is given for a parameter that is not there.
    """
    names = inspect.unwrap(function).__globals__
    found = tuple(
        Parameter(
            p.name,
            _spelled(str(p.annotation), names),
            p.default,
            bounds.get(p.name, BOUNDS.get(p.name)),
        )
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in supplied
    )
    strangers = bounds.keys() - {parameter.name for parameter in found}
    if strangers:
        raise ValueError(f"{function.__qualname__} has no {', '.join(sorted(strangers))} to bound")
    return found


def _spelled(annotation: str, names: Mapping[str, Any]) -> str:
    """An annotation with the choices that its module has given a name to."""

    def choices(word: re.Match[str]) -> str:
        named = names.get(word[0])
        return str(named).removeprefix("typing.") if get_origin(named) is Literal else word[0]

    return re.sub(r"\b[A-Z]\w*", choices, annotation)


def _items(value: object) -> list[object] | None:
    """The items of a list, or None for what is none."""
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else None


def _numbers(value: object) -> list[float]:
    """The numbers in a value: itself, or those of a list."""
    items = _items(value)
    if items is not None:
        return [number for item in items for number in _numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _fits(value: object, kind: ast.expr) -> bool:
    """Whether a value is of a type; a type that is not plain is the plug's own to judge."""
    match kind:
        case ast.BinOp(left=left, right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id=outer), slice=inner):
            return _fits_inside(value, outer, inner)
        case ast.Name(id="bool"):
            return isinstance(value, bool)
        case ast.Name(id=name) if name in PLAIN:  # bool is an integer to Python, not to us
            return isinstance(value, PLAIN[name]) and not isinstance(value, bool)
        case _:
            return True


def _fits_inside(value: object, outer: str, inner: ast.expr) -> bool:
    """Whether a value is one of a Literal's choices, or a list of a type's items."""
    if outer == "Literal":
        return any(type(value) is type(choice) and value == choice for choice in _choices(inner))
    items = _items(value)
    if outer == "list":
        return items is not None and all(_fits(item, inner) for item in items)
    if outer == "tuple" and isinstance(inner, ast.Tuple):
        return items is not None and len(items) == len(inner.elts) and all(map(_fits, items, inner.elts))  # fmt: skip
    return isinstance(value, PLAIN.get(outer, object))


def _choices(inner: ast.expr) -> list[object]:
    """What a Literal allows."""
    return [
        ast.literal_eval(one) for one in (inner.elts if isinstance(inner, ast.Tuple) else [inner])
    ]


JSON_TYPES = {
    "int": "integer", "float": "number", "str": "string", "bool": "boolean", "dict": "object",
    "list": "array", "tuple": "array",
}  # fmt: skip


def _json_types(kind: ast.expr) -> tuple[list[str], list[object]]:
    """JSON's names of a type, and the choices of a Literal; none of what is the plug's own to judge."""
    match kind:
        case ast.BinOp(left=left, right=right):
            sides = _json_types(left), _json_types(right)
            if any(side == ([], []) for side in sides):
                return [], []
            return [*sides[0][0], *sides[1][0]], [*sides[0][1], *sides[1][1]]
        case ast.Constant(value=None):
            return ["null"], []
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return [], _choices(inner)
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name) if name in JSON_TYPES:
            return [JSON_TYPES[name]], []
        case _:
            return [], []
