"""The named checks: when a number must not be believed.

A check is a function from facts to complaints, with a level and a paragraph that `harness explain`
prints. Facts are measured once (`probes`, the attack records) and stored; checks only read them, so
a changed threshold never runs a model again. A pass is no proof: the items are "neither necessary
nor sufficient" (Carlini et al. 2019, arXiv:1902.06705).
"""

from __future__ import annotations

from harness.checks.catalogue import CHECKS, Check, Complaint, Level, explain, raised

__all__ = ["CHECKS", "Check", "Complaint", "Level", "explain", "raised"]
