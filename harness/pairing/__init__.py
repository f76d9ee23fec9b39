"""Models held against one another on the same images, from the per-sample outcomes of runs.

    columns = Columns(Samples({"": outcomes}), ["Baseline", "Large"], seeds=[0])
    columns.shift(["fog", "stripe"]).gap({"Large": 1, "Baseline": -1})     # Gap(value, low, high, p)

Everything random is drawn once for all models (harness.pairing.spread), so that hundreds of
comparisons cost hardly more than one.
"""

from harness.pairing.columns import Columns, Samples
from harness.pairing.number import Key, Number
from harness.pairing.spread import Gap, on_logits

__all__ = ["Columns", "Gap", "Key", "Number", "Samples", "on_logits"]
