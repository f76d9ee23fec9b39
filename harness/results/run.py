"""What run.json says: how the numbers were made. Plain data, typed; every key is documented here.

Times, memory and paths of a run stand here and nowhere else, so that results.csv of two runs of
one suite are equal byte for byte.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Level = Literal["FAIL", "WARN", "INFO"]


class Training(TypedDict):
    """How one model was trained; the networks of an ensemble are summed up.

    Attributes:
        recipe: one line for people, for example "pgd linf 0.3, portion 0.5, then cutout 1 x 14".
        epochs: passes over the training split.
        seconds: wall time of the training job (of all members, for an ensemble).
        passes: forward plus backward passes per training image, attacks included; None if unknown.
        eps: training budget, or None for models not trained on attacks.
        attack: name of the training attack ("fgsm", "pgd"), or "".
        arithmetic: of the learning passes: "float32", or "bfloat16" (mixed precision).
        note: "collapsed and repeated with seed 1", "overfitted catastrophically", ... or "".
    """

    recipe: str
    epochs: int
    seconds: float
    passes: float | None
    eps: float | None
    attack: str
    arithmetic: str
    note: str


class Model(TypedDict):
    """One reported model, in the order of the report.

    Attributes:
        name: as in the rows.
        family: as in the rows.
        description: one line for people.
        parameters: trainable numbers, of all members for an ensemble.
        members: number of networks; 1 but for ensembles.
        training: None for a model that the user brought.
        weights: SHA-256 of the weights (of the first seed), or "".
    """

    name: str
    family: str
    description: str
    parameters: int
    members: int
    training: Training | None
    weights: str


class SplitFacts(TypedDict):
    """One data set as it was used.

    Attributes:
        role: "training", "validation", "test", "attacked" (the draw for attacks), "near OOD",
            "far OOD", "OOD" or "corruptions".
        name: as in the rows where it stands in a `case`.
        title: for people.
        n: number of images.
        digest: SHA-256 of images and labels.
        source: where it comes from, with licence where known; one line.
        draw: how a subset was drawn, or "" for the whole split.
    """

    role: str
    name: str
    title: str
    n: int
    digest: str
    source: str
    draw: str


class AttackFacts(TypedDict):
    """One evaluation attack with the parameters that ran (defaults filled in).

    Attributes:
        name: as in `case`.
        title: for people, a few words.
        summary: what it does, one line.
        norm: "linf", "l2" or "l1".
        params: everything it ran with; printed, never typed by hand (H63).
        budgets: budgets that it attacked, ascending.
        n: images attacked.
        knowledge: "white box" or "black box".
        goal: "untargeted" or "targeted".
        headline: whether it is one of the attacks of `attack=worst`.
    """

    name: str
    title: str
    summary: NotRequired[str]
    norm: str
    params: dict[str, Any]
    budgets: list[float]
    n: int
    knowledge: str
    goal: str
    headline: bool


class DetectorFacts(TypedDict):
    """One OOD detector: name as in `case`, title for people, what it does, parameters that ran."""

    name: str
    title: str
    summary: NotRequired[str]
    params: dict[str, Any]


class Hardware(TypedDict):
    """The machine: processor name, cores, memory in bytes, device ("cpu", "cuda: NAME")."""

    processor: str
    cores: int
    memory: int
    device: str
    system: str


class JobFacts(TypedDict):
    """Provenance of one job (H66).

    Attributes:
        title: for people.
        kind: "train", "predict", "attack", "score", ...
        status: "ok", "failed" or "skipped".
        reason: why it is not ok, or "".
        model: model that it belongs to, or "".
        seconds: wall time; 0 when it came from the store.
        cached: whether the store already had it.
        inputs: role -> digest.
        weights: SHA-256 of the weights that it rests on, its own for a training; a user's weights
            are those of the file.
        data: name of a data set -> SHA-256 of its files, its parameters and the code that reads it.
        replay: one command whose plan holds this job again; `--data-dir` and `--store` are added
            where they are not the defaults.
    """

    title: str
    kind: str
    status: str
    reason: str
    model: str
    seconds: float
    cached: bool
    inputs: dict[str, str]
    weights: list[str]
    data: dict[str, str]
    replay: str


class CheckFacts(TypedDict):
    """One named check that ran, with the paragraph that explains it.

    Attributes:
        id: for example "H44".
        title: for example "white box at least as strong as black box".
        level: the level that it raises.
        raised_if: the condition, one sentence.
        explanation: what it means.
        what_to_do: what the reader or the user should do.
        cells: number of cells that it looked at.
    """

    id: str
    title: str
    level: Level
    raised_if: str
    explanation: str
    what_to_do: str
    cells: int


class Flag(TypedDict):
    """One check raised on one cell. `model` and `case` are "" where it concerns the whole run."""

    check: str
    level: Level
    message: str
    model: str
    case: str


class Run(TypedDict):
    """run.json.

    Attributes:
        suite: name of the suite.
        title: for people.
        question: what the suite asks, one or two sentences, or "".
        dataset: short name of the data ("mnist", "digits").
        classes: names of the classes, in label order.
        limit: value of `--limit`, or None; anything but None makes the report say "for testing
            only".
        only: value of `--only`, or "".
        seeds: seeds of the run.
        baseline: name of the model that others are compared with, or "".
        headline_budgets: L-inf budgets of the headline: those that models were trained at, else the middle one.
        models: in the order of the report.
        corruptions: names as in `case`, in the order of the report (no "mean", no "identity").
        splits, attacks, detectors: what was measured, and with what.
        headline_detector: detector whose AUROC stands in the summary ("msp").
        hardware, versions: the machine; distribution or tool -> version.
        revision: revision of the code, or "".
        command: one command that makes this report again.
        started: ISO 8601, UTC. seconds: wall time of the run. workers: processes used.
        memory: peak resident bytes of one worker, or 0 if unknown.
        times: kind of job -> core-seconds spent in it in this run.
        jobs: digest -> provenance; the `job` column of the rows points here.
        checks: every check that ran, raised or not.
        flags: every check that was raised.
        missing: sentences that say what the run does not hold beyond failed jobs ("Foolbox is not
            installed: its attacks are not in the ledger.").
        resolved: the suite with all defaults filled in, as plain data.
    """

    suite: str
    title: str
    question: str
    dataset: str
    classes: list[str]
    limit: int | None
    only: str
    seeds: list[int]
    baseline: str
    headline_budgets: list[float]
    models: list[Model]
    corruptions: list[str]
    splits: list[SplitFacts]
    attacks: list[AttackFacts]
    detectors: list[DetectorFacts]
    headline_detector: str
    hardware: Hardware
    versions: dict[str, str]
    revision: NotRequired[str]
    command: str
    started: str
    seconds: float
    workers: int
    memory: int
    times: dict[str, float]
    jobs: dict[str, JobFacts]
    checks: list[CheckFacts]
    flags: list[Flag]
    missing: list[str]
    resolved: dict[str, Any]
