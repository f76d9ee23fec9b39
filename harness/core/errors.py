"""The errors of the harness.

HarnessError
 |- InputError            the user can fix it: exit code 2
 |   |- SuiteError        a suite file, with file and line
 |   |- DataError         a data set is missing, or not what it says it is
 |   |- ModelError        a model does not keep the contract of a classifier
 |   `- UnknownName       no plug of that name, with the nearest
 |- MissingLibrary        an optional library is not installed, with the line that installs it
 `- ContractViolation     an attack, detector or library did not do what it must; a job fails with it
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTED = 25  # names that an error lists in full


class HarnessError(Exception):
    """Anything the harness raises on purpose."""


class InputError(HarnessError):
    """What was given cannot be used; the message says what to give instead."""


class SuiteError(InputError):
    """A suite file says something that cannot be.

    Args:
        message: what is wrong and how to mend it.
        path: the file, as the user named it.
        line: line in that file, counted from 1; None where no line is to blame.
    """

    def __init__(self, message: str, path: str | None = None, line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        place = ":".join(str(part) for part in (path, line) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)


class DataError(InputError):
    """A data set is missing, or its images or labels are not what the contract says."""


class ModelError(InputError):
    """A model file or factory cannot be used as a classifier."""


class UnknownName(InputError):
    """No such name.

    Args:
        what: the kind of thing, as the user calls it ("attack").
        name: what was given.
        known: the names that exist.
        listed: the command that lists them, where they are many.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, listed: str = "ls") -> None:
        self.what, self.name, self.known = what, name, sorted(known)
        super().__init__(f"unknown {what} {name!r}. {suggest(name, self.known, listed=listed)}")


class MissingLibrary(HarnessError):
    """An optional library is not installed.

    Args:
        library: import name of the library.
        install: the requirement that installs it, for example "foolbox==3.3.4".
    """

    def __init__(self, library: str, install: str) -> None:
        self.library, self.install = library, install
        super().__init__(f"{library} is not installed: pip install {install!r}")


class ContractViolation(HarnessError):
    """A plug returned what its contract forbids.

    Args:
        name: the plug, for example "foolbox/pgd".
        what: the rule that was broken.
        worst: the worst value seen, in the rule's own unit.
    """

    def __init__(self, name: str, what: str, worst: float | str | None = None) -> None:
        self.name, self.what, self.worst = name, what, worst
        tail = "" if worst is None else f" (worst: {worst})"
        super().__init__(f"{name}: {what}{tail}")


def suggest(name: str, known: Iterable[str], *, listed: str = "ls") -> str:
    """Name the nearest of `known`, then all of them if they are few.

    >>> suggest("pdg", ["fgsm", "pgd"])
    "Did you mean 'pgd'? Known: fgsm, pgd."
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    if len(names) > LISTED:
        return f"{meant}There are {len(names)}: `harness {listed}` lists them."
    return f"{meant}Known: {', '.join(names) if names else 'none'}."
