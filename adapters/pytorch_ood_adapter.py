"""pytorch-ood: detectors on cached logits and features, and its ranking metrics.

The library's own `fit` and `predict` run the model in whatever mode it is, keep the autograd graph
and iterate a DataLoader, which advances torch's global generator. Here its detectors see only
tensors: logits and features that the harness has computed, and copies of the last layer's weights.
Nothing is moved, put into another mode or left with gradients. Scores keep the library's direction,
higher = more OOD, and no sign is ever flipped.

Detectors compute in float64 where the library allows it; Mahalanobis, RMD and ViM are float32 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.core.arrays import checked_scores, top_label
from harness.core.errors import ContractViolation, InputError, ModelError
from harness.core.lazy import Lazy
from harness.core.registry import Library, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.core.types import Axis, Better, Classifier, Evidence, Scorer

    Detector = Callable[..., Scorer]
    Metric = Callable[..., float]
    Needs = Literal["logits", "features", "input"]
    Score = Callable[[torch.Tensor], torch.Tensor]
    View = Callable[[Evidence], torch.Tensor]
else:
    torch = Lazy("torch")

POOD = registry.library(Library("pytorch_ood", "pytorch_ood", "pytorch-ood", "0.4.0"))
ROWS = 2048  # of cached tensors at a time: DICE makes (rows, K, D) of them
IMAGES = 256  # through the network at a time


def _detector(
    name: str, *, needs: Needs, native: Scorer | None = None
) -> Callable[[Detector], Detector]:
    return registry.register(
        "detector", f"pytorch_ood/{name}", library=POOD, supplied=("model", "rng"), needs=needs,
        native=native,
    )  # fmt: skip


def _metric(name: str, *, better: Better, axis: Axis = "ood") -> Callable[[Metric], Metric]:
    return registry.register(
        "metric", f"pytorch_ood/{name}", library=POOD, better=better, units="fraction", axis=axis
    )


# ------------------------------------------------------------ what a detector may see


def _logits(seen: Evidence) -> torch.Tensor:
    return torch.tensor(seen.logits, dtype=torch.float64)


def _features(seen: Evidence) -> torch.Tensor:
    if seen.features is None:
        raise ModelError(
            "this detector needs the input of the last linear layer, which this model does not "
            "have (for an ensemble, score each member and combine the scores)"
        )
    return torch.tensor(seen.features, dtype=torch.float64)


def _features_32(seen: Evidence) -> torch.Tensor:
    return _features(seen).float()


def _maps(seen: Evidence) -> torch.Tensor:
    """Features as maps of one pixel, for methods that are defined on maps."""
    return _features(seen)[:, :, None, None]


def _images(seen: Evidence) -> torch.Tensor:
    return torch.tensor(seen.x)


def _labels(fit: Evidence) -> torch.Tensor:
    if fit.y is None:
        raise InputError("this detector is fitted on labelled training data, which was not given")
    return torch.tensor(fit.y)


def _consecutive(fit: Evidence) -> torch.Tensor:
    """Labels renumbered 0, 1, ...: the library asserts, without a message, that all occur."""
    return torch.unique(_labels(fit), return_inverse=True)[1]


def _last_layer(model: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of the weight (K, D) and bias (K,) of the last linear layer, on the CPU in float64."""
    if model.head is None:
        raise ModelError("this detector needs the model's last linear layer, and it has none")
    weight = model.head.weight.detach().cpu().double()
    if model.head.bias is None:
        return weight, weight.new_zeros(len(weight))
    return weight, model.head.bias.detach().cpu().double()


def _head(model: Classifier) -> Score:
    weight, bias = _last_layer(model)
    return lambda z: z.flatten(1) @ weight.T + bias


def _scorer(name: str, score: Score, view: View, rows: int = ROWS) -> Scorer:
    """A scorer that runs `score` on parts of `view`, and believes only finite (N,) results."""

    def scorer(seen: Evidence) -> np.ndarray:
        with torch.no_grad():
            parts = [score(part) for part in view(seen).split(rows)]
        values = torch.cat(parts).cpu().numpy().astype(np.float64)
        if values.shape != (len(seen.logits),):
            raise ContractViolation(name, "scores must be (N,)", str(values.shape))
        if bad := int((~np.isfinite(values)).sum()):
            raise ContractViolation(name, "scores must be finite", f"{bad} of {len(values)} not")
        return values

    return scorer


# ------------------------------------------------------------ detectors on logits


def _native(detector: str) -> Scorer:
    """How the library's users call it: on the model's own float32 logits."""

    def native(seen: Evidence) -> np.ndarray:
        from pytorch_ood import detector as detectors

        return getattr(detectors, detector)(None).predict_logits(torch.tensor(seen.logits)).numpy()

    return native


@_detector("msp", needs="logits", native=_native("MaxSoftmax"))
def msp(
    fit: Evidence,
    *,
    model: Classifier,
    temperature: float = 1.0,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Maximum softmax probability, negated: arXiv:1610.02136."""
    from pytorch_ood.detector import MaxSoftmax

    return _scorer("pytorch_ood/msp", MaxSoftmax(None, temperature).predict_logits, _logits)


@_detector("mls", needs="logits", native=_native("MaxLogit"))
def mls(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Maximum logit, negated: arXiv:1911.11132."""
    from pytorch_ood.detector import MaxLogit

    return _scorer("pytorch_ood/mls", MaxLogit(None).predict_logits, _logits)


@_detector("energy", needs="logits")
def energy(
    fit: Evidence,
    *,
    model: Classifier,
    temperature: float = 1.0,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Energy, the negated log-sum-exp of the logits: Liu et al. 2020."""
    from pytorch_ood.detector import EnergyBased

    return _scorer("pytorch_ood/energy", EnergyBased(None, temperature).predict_logits, _logits)


@_detector("entropy", needs="logits")
def entropy(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Entropy of the softmax in nats; the library clips probabilities at 1e-7."""
    from pytorch_ood.detector import Entropy

    return _scorer("pytorch_ood/entropy", Entropy(None).predict_logits, _logits)


@_detector("gen", needs="logits")
def gen(
    fit: Evidence,
    *,
    model: Classifier,
    gamma: float = 0.1,
    top: int | None = None,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Generalised entropy of the `top` probabilities (None: all): Liu et al., CVPR 2023."""
    from pytorch_ood.detector import GEN

    return _scorer("pytorch_ood/gen", GEN(None, gamma=gamma, M=top).predict_logits, _logits)


@_detector("kl_matching", needs="logits")
def kl_matching(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """KL divergence from the nearest mean prediction of a class: arXiv:1911.11132."""
    from pytorch_ood.detector import KLMatching

    detector = KLMatching(None).fit_logits(_logits(fit))
    return _scorer("pytorch_ood/kl_matching", detector.predict_logits, _logits)


# ------------------------------------------------------------ through the network


@_detector("odin", needs="input")
def odin(
    fit: Evidence,
    *,
    model: Classifier,
    temperature: float = 1000.0,
    step: float = 0.0014,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Maximum softmax at a high temperature after a small step towards it: arXiv:1706.02690.

    Args:
        fit: not looked at.
        model: whose gradient with respect to the input is followed, for its own prediction.
        temperature: of both softmaxes.
        step: length of the sign step in pixel units; the result may leave [0, 1] by as much.
        rng: not used.
    """
    from pytorch_ood.detector import ODIN

    detector = ODIN(model.module, eps=step, temperature=temperature)
    return _scorer("pytorch_ood/odin", detector.predict, _images, rows=IMAGES)


# ------------------------------------------------------------ detectors on features


@_detector("mahalanobis", needs="features")
def mahalanobis(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Squared Mahalanobis distance to the nearest class centre: arXiv:1807.03888.

    The library halves it and does not divide the scatter matrix by N: the score is the paper's
    over 2 N, in the same order.
    """
    from pytorch_ood.detector import Mahalanobis

    detector = Mahalanobis(None).fit_features(_features_32(fit), _consecutive(fit))
    return _scorer("pytorch_ood/mahalanobis", detector.predict_features, _features_32)


@_detector("rmd", needs="features")
def rmd(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Mahalanobis distance less that to one Gaussian of all data: arXiv:2106.09022."""
    from pytorch_ood.detector import RMD

    detector = RMD(None).fit_features(_features_32(fit), _consecutive(fit))
    return _scorer("pytorch_ood/rmd", detector.predict_features, _features_32)


@_detector("knn", needs="features")
def knn(
    fit: Evidence,
    *,
    model: Classifier,
    neighbours: int = 50,
    normalise: bool = True,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Distance to the k-th nearest training feature, of unit length by default: Sun et al. 2022."""
    from pytorch_ood.detector import KNN

    detector = KNN(None, k=neighbours, normalize=normalise)
    detector.knn.set_params(n_jobs=1)  # the library asks for all cores; a job has one
    z = _features(fit)
    detector.fit_features(z, torch.zeros(len(z), dtype=torch.int64))
    return _scorer("pytorch_ood/knn", detector.predict_features, _features, rows=8 * ROWS)


@_detector("vim", needs="features")
def vim(
    fit: Evidence,
    *,
    model: Classifier,
    dim: int | None = None,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Energy against the norm outside the principal subspace: arXiv:2203.10807.

    Args:
        fit: training data that spans the subspace.
        model: whose last layer gives the origin and the logits.
        dim: dimensions of the principal subspace, below that of the features; None: half of it.
        rng: not used.
    """
    from pytorch_ood.detector import ViM

    z, (weight, bias) = _features_32(fit), _last_layer(model)
    dim = z.shape[1] // 2 if dim is None else dim
    if not 1 <= dim < z.shape[1]:  # with dim = D the library divides by 0 and returns NaN
        raise InputError(f"dim must lie in [1, {z.shape[1]}), got {dim}")
    detector = ViM(None, dim, weight, bias).fit_features(z, torch.zeros(len(z)))
    return _scorer("pytorch_ood/vim", detector.predict_features, _features_32)


@_detector("react", needs="features")
def react(
    fit: Evidence,
    *,
    model: Classifier,
    percentile: float = 0.9,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Energy after clipping activations at a percentile of the training ones: arXiv:2111.12797."""
    from pytorch_ood.detector import ReAct

    z = _features(fit)
    detector = ReAct(lambda x: x, _head(model), percentile=percentile)
    detector.fit_feature_maps(z, torch.zeros(len(z)))
    return _scorer("pytorch_ood/react", detector.predict_feature_maps, _features)


@_detector("dice", needs="features")
def dice(
    fit: Evidence,
    *,
    model: Classifier,
    sparsity: float = 0.7,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Energy with all but the largest mean contributions cut: arXiv:2111.09805."""
    from pytorch_ood.detector import DICE

    z, (weight, bias) = _features(fit), _last_layer(model)
    detector = DICE(None, weight, bias, sparsity).fit_features(z, torch.zeros(len(z)))
    return _scorer("pytorch_ood/dice", detector.predict_features, _features)


@_detector("she", needs="features")
def she(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Negated product with the mean feature of the predicted class: Zhang et al., ICLR 2023."""
    from pytorch_ood.detector import SHE

    labels = _labels(fit)
    missing = set(range(model.num_classes)) - set(labels.tolist())
    if missing:
        raise InputError(f"SHE needs training data of every class; none of {sorted(missing)}")
    detector = SHE(lambda z: z, _head(model)).fit_features(_features(fit), labels)
    return _scorer("pytorch_ood/she", detector.predict_features, _features)


@_detector("ash", needs="features")
def ash(
    fit: Evidence,
    *,
    model: Classifier,
    variant: Literal["s", "p", "b"] = "s",
    percentile: float = 0.65,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Energy after shaping: only the largest activations stay, rescaled: Djurisic et al. 2023."""
    from pytorch_ood.detector import ASH

    detector = ASH(lambda x: x, _head(model), variant=f"ash-{variant}", percentile=percentile)
    return _scorer("pytorch_ood/ash", detector.predict_feature_maps, _maps)


# ------------------------------------------------------------ metrics


def _ranked(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and labels in the library's convention: 0 for ID, -1 for OOD, which is positive."""
    scores, outside = checked_scores(id_scores, ood_scores)
    return torch.from_numpy(scores), torch.from_numpy(-outside.astype(np.int64))


@_metric("auroc", better="higher")
def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under the ROC curve by pytorch-ood; ties count half."""
    from pytorch_ood.metrics import functional

    return float(functional.auroc(*_ranked(id_scores, ood_scores)))


@_metric("fpr95", better="lower")
def fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Fraction of ID flagged when at least 95 % of OOD is caught, by pytorch-ood."""
    from pytorch_ood.metrics import functional

    return float(functional.fpr_at_tpr(*_ranked(id_scores, ood_scores), tpr=0.95))


@_metric("aupr_out_trapezoid", better="higher")
def aupr_out_trapezoid(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Trapezoid under the precision-recall curve, OOD positive: not average precision."""
    from pytorch_ood.metrics import functional

    return float(functional.aupr(*_ranked(id_scores, ood_scores), positive="ood"))


@_metric("aupr_in_trapezoid", better="higher")
def aupr_in_trapezoid(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Trapezoid under the precision-recall curve, ID positive: not average precision."""
    from pytorch_ood.metrics import functional

    return float(functional.aupr(*_ranked(id_scores, ood_scores), positive="id"))


@_metric("rms_equal_mass", better="lower", axis="calibration")
def rms_equal_mass(probs: np.ndarray, labels: np.ndarray, *, bin_size: int = 100) -> float:
    """RMS calibration error over bins of 100 samples by pytorch-ood, which splits ties by order."""
    from pytorch_ood.metrics import functional

    confidence, correct = (torch.from_numpy(array) for array in top_label(probs, labels))
    return functional.calibration_error(confidence, correct, p="2", beta=bin_size)
