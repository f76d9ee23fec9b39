"""Heavy libraries that a room names at its top and imports at first use.

`harness ls` and `harness validate` read the signatures of every plug without importing torch:

    if TYPE_CHECKING:
        import torch
    else:
        torch = Lazy("torch")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


class Lazy:
    """Stand-in for a module; the first attribute read imports it.

    >>> Lazy("math").sqrt(4.0)
    2.0
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._loaded: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the module holds
        if self._loaded is None:
            self._loaded = importlib.import_module(self._module)
        return getattr(self._loaded, name)

    def __repr__(self) -> str:
        return f"Lazy({self._module!r})"
