"""Curves and histograms that figures draw and rows cannot hold: plain data, binned by the axes."""

from __future__ import annotations

from typing import TypedDict


class Reliability(TypedDict):
    """One reliability diagram: B equal-width bins of the confidence on [0, 1].

    Attributes:
        model, seed: whose.
        scaling: "none" or "temperature".
        temperature: the temperature used (1.0 for "none").
        confidence: B mean confidences, None for an empty bin.
        accuracy: B accuracies, None for an empty bin.
        count: B numbers of images.
    """

    model: str
    seed: int
    scaling: str
    temperature: float
    confidence: list[float | None]
    accuracy: list[float | None]
    count: list[int]


class Histogram(TypedDict):
    """Scores of one detector on one set; `set` is "id" for the in-distribution test images.

    Attributes:
        model, seed, detector, set: whose.
        edges: B + 1 ascending edges, the same for all sets of one (model, seed, detector).
        count: B numbers of images.
    """

    model: str
    seed: int
    detector: str
    set: str
    edges: list[float]
    count: list[int]


class Roc(TypedDict):
    """Points of one ROC curve, ascending; OOD is positive. At most about 60 points."""

    model: str
    seed: int
    detector: str
    set: str
    fpr: list[float]
    tpr: list[float]


class History(TypedDict):
    """What one training reported an epoch; empty lists where it was not measured.

    Attributes:
        model: reported model (an ensemble's members under their own names).
        seed: of the training.
        epoch: 1, 2, ...
        loss: mean training loss.
        accuracy: training accuracy on what the model was trained on (attacked images, if any).
        probe: accuracy under a PGD probe on validation images (catastrophic overfitting, H91).
    """

    model: str
    seed: int
    epoch: list[int]
    loss: list[float]
    accuracy: list[float]
    probe: list[float]


class Exhibits(TypedDict):
    """exhibits.json; an empty list where the run did not measure it."""

    reliability: list[Reliability]
    histograms: list[Histogram]
    roc: list[Roc]
    training: list[History]


def no_exhibits() -> Exhibits:
    """Exhibits of a run that measured none."""
    return {"reliability": [], "histograms": [], "roc": [], "training": []}
