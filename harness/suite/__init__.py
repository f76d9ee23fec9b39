"""YAML to a frozen Suite: plain data, unknown keys refused, file and line in every error.

Two notations keep a suite on one page. Both are data, not templates:

- `{mnist: A, digits: B}`: a mapping whose keys are all names of data sets (or `other`) stands for
  the value of the data set that the run uses.
- `{each: [A, B]}` inside a model: one model a value, named by its key and the value. Beside
  other keys, `each` takes mappings that are merged into theirs.

`include: other.yaml` (one level) starts from another suite; the including file's keys win, and
`models` and `attacks` are merged name by name.
"""

from harness.suite.loading import load
from harness.suite.types import (
    AttackSpec,
    Calibration,
    Crosscheck,
    ModelSpec,
    Ood,
    Shift,
    Suite,
    Training,
)

__all__ = [
    "AttackSpec",
    "Calibration",
    "Crosscheck",
    "ModelSpec",
    "Ood",
    "Shift",
    "Suite",
    "Training",
    "load",
]
