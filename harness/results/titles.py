"""Names of a suite as people write them."""

from __future__ import annotations

import re

SPELT = {
    "apgd": "APGD", "autoattack": "AutoAttack", "bim": "BIM", "ce": "CE", "cifar": "CIFAR", "cutout": "CutOut",
    "cw": "CW", "deepfool": "DeepFool", "dlr": "DLR", "fashion-mnist": "Fashion-MNIST", "fgsm": "FGSM",
    "gen": "GEN", "kmnist": "KMNIST", "knn": "KNN", "mahalanobis": "Mahalanobis", "mi": "MI", "mixup": "MixUp", "mls": "maximum logit",
    "mnist": "MNIST", "mnist-c": "MNIST-C", "msp": "maximum softmax", "odin": "ODIN", "pgd": "PGD",
    "react": "ReAct", "vim": "ViM",
}  # fmt: skip

NORMS = {"linf": "L-inf", "l2": "L2", "l1": "L1"}


def spelt(name: str) -> str:
    """A name for people; that of a library goes into brackets.

    >>> spelt("pgd-at-x"), spelt("fashion-mnist"), spelt("canny_edges"), spelt("art/pgd")
    ('PGD at x', 'Fashion-MNIST', 'canny edges', 'PGD (art)')
    """
    library, _, concept = name.rpartition("/")
    words = [concept] if concept.lower() in SPELT else re.split(r"[-_ ]+", concept)
    text = " ".join(SPELT.get(word.lower(), word) for word in words)
    return f"{text} ({library})" if library else text


def attack_title(name: str, plug: str) -> str:
    """An attack that a suite calls `name`, with what it is where the name does not say.

    >>> attack_title("margin", "pgd"), attack_title("pgd-at-x", "pgd"), attack_title("square", "square")
    ('margin PGD', 'PGD at x', 'square')
    """
    library, _, concept = plug.rpartition("/")
    known = concept in re.split(r"[-_/ ]+", name)
    title = spelt(name.rpartition("/")[2]) + ("" if known else f" {spelt(concept)}")
    return f"{title} ({library})" if library else title
