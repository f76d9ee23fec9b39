"""Why two implementations differ, from what was measured: the probable cause, in words.

Where a pair differs and the catalogue of known deviations does not predict it, the suspect is run
once more and watched. First its images are looked at (clean ones? other rows? outside the box? on a
grid?), then what it shows to the model, and then our own implementation is run with one fault at a
time: the fault that gives the suspect's images, row by row, is named. What nothing reproduces is
described by the step at which its walk departs, or by its size, direction and place. Numbers and
scores are treated alike. Natively only outcomes can agree: there our own implementation is run with
other settings until it has the suspect's.
"""

from harness.crosscheck.diagnosis.images import cause
from harness.crosscheck.diagnosis.native import explained
from harness.crosscheck.diagnosis.numbers import calibration, ranking
from harness.crosscheck.diagnosis.scores import scores
from harness.crosscheck.diagnosis.suspects import diagnosed, lockstep_case

__all__ = [
    "calibration",
    "cause",
    "diagnosed",
    "explained",
    "lockstep_case",
    "ranking",
    "scores",
]
