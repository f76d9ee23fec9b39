"""Adversarial-library integration harness: what `import harness` hands on, each at first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Options, crosscheck, load, report, run
    from harness.attacks.curve import SecurityCurve, security_curve

_HOMES = {
    "Options": "harness.api",
    "SecurityCurve": "harness.attacks.curve",
    "crosscheck": "harness.api",
    "load": "harness.api",
    "report": "harness.api",
    "run": "harness.api",
    "security_curve": "harness.attacks.curve",
}

__all__ = ["Options", "SecurityCurve", "crosscheck", "load", "report", "run", "security_curve"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- whatever the room holds
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
