"""In-house attacks: pure functions of (model, images, labels, threat), registered as plugs.

An attack searches one batch and returns what it found; it is never trusted. `runner.run_attack`
splits batches, restores what an attack might disturb, checks ball and box and decides success.
"""

from harness.attacks import apgd, ascent, nearest, square
from harness.attacks.runner import AttackOutcome, run_attack

__all__ = ["AttackOutcome", "apgd", "ascent", "nearest", "run_attack", "square"]
