"""Adversarial-library integration harness: what `import harness` hands on, each at first use.

The rest of what the command line does (`report`, `compare`, `crosscheck`, `doctor`) is in
`harness.api`: those are names of rooms here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Options, load, run
    from harness.attacks.curve import SecurityCurve, security_curve

_HOMES = {
    "Options": "harness.api",
    "SecurityCurve": "harness.attacks.curve",
    "load": "harness.api",
    "run": "harness.api",
    "security_curve": "harness.attacks.curve",
}

__all__ = ["Options", "SecurityCurve", "load", "run", "security_curve"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- whatever the room holds
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
