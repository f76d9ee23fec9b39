"""A network trained by its recipe."""

from __future__ import annotations

WEIGHTS = "weights.safetensors"
