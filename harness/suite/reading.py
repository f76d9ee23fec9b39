"""Files to plain data, with the line of every key and item."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

from harness.core.errors import SuiteError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Place = tuple[str | int, ...]
Lines = dict[Place, int]


@dataclass(frozen=True)
class Source:
    """A suite file as plain data, and the line of every key and item in it."""

    path: Path
    data: dict[str, Any]
    lines: Lines = field(default_factory=dict[Place, int])

    def error(self, message: str, at: Place = ()) -> SuiteError:
        """A SuiteError at the line of `at`, or of its nearest parent that has one."""
        while at and at not in self.lines:
            at = at[:-1]
        return SuiteError(message, str(self.path), self.lines.get(at))


def read(path: Path) -> Source:
    """A suite file, parsed.

    Raises:
        SuiteError: no such file, not YAML, or not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if not path.is_file():
        raise SuiteError(f"no such file. {_near_files(path)}", str(path))
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.context_mark or error.problem_mark
        raise SuiteError(f"not YAML: {error.problem}", str(path), mark and mark.line + 1) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"not YAML: {error}", str(path)) from None
    if not isinstance(tree, dict):
        raise SuiteError("a suite is a mapping of keys to values", str(path))
    lines: Lines = {}
    source = Source(path, _plain(tree, (), lines), lines)
    tagged = next(_tagged(tree, ()), None)
    if tagged is not None:
        raise source.error("a suite is plain data: tags such as !!python are refused", tagged)
    return source


def _tagged(node: Any, at: Place) -> Iterator[Place]:  # noqa: ANN401 -- a YAML tree
    """Where the file gives a value a type of its own."""
    if isinstance(node, CommentedMap | CommentedSeq):
        if node.tag.value is not None:
            yield at
        items = node.items() if isinstance(node, CommentedMap) else enumerate(node)
        for key, item in items:
            yield from _tagged(item, (*at, key))
    elif isinstance(node, TaggedScalar):
        yield at


def _near_files(path: Path) -> str:
    folder = path.parent
    found = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    return suggest(path.name, found) if found else f"{folder} has no suites."


def _plain(node: Any, at: Place, lines: Lines) -> Any:  # noqa: ANN401 -- a YAML tree
    """The tree without ruamel's types; the line of every place goes into `lines`."""
    if isinstance(node, CommentedMap):
        for key in node if node.lc.data else ():  # keys merged from elsewhere have no line here
            line = node.lc.key(key)[0] if key in node.lc.data else node.lc.line
            lines[(*at, str(key))] = line + 1
        return {str(key): _plain(value, (*at, str(key)), lines) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)) if node.lc.data else ():
            lines[(*at, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*at, index), lines) for index, value in enumerate(node)]
    return _scalar(node)


def _scalar(value: Any) -> Any:  # noqa: ANN401 -- a YAML scalar
    """A scalar as a plain Python type (ruamel subclasses bool, int, float and str)."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def include(source: Source) -> Source:
    """The source on top of the suite that it includes, if it does."""
    name = source.data.pop("include", None)
    if name is None:
        return source
    if not isinstance(name, str):
        raise source.error("`include` takes one file name", ("include",))
    path = source.path.parent / name
    if path.resolve() == source.path.resolve():
        raise source.error(f"{name} includes itself: a cycle", ("include",))
    below = read(path)
    if "include" in below.data:
        again = (path.parent / str(below.data["include"])).resolve() == source.path.resolve()
        why = "a cycle" if again else "one level of sharing is allowed"
        raise source.error(f"{name} includes another suite itself: {why}", ("include",))
    return _merge(below, source)


def _merge(below: Source, above: Source) -> Source:
    data, lines = copy.deepcopy(below.data), dict(below.lines)
    for key, value in above.data.items():
        both = isinstance(value, dict) and isinstance(data.get(key), dict)
        if both and key in ("models", "attacks"):
            data[key] |= value
        else:
            data[key] = value
    return Source(above.path, data, lines | above.lines)
