"""Every registered detector: its contract, its direction, and its formula in NumPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.metrics import roc_auc_score

from harness import models
from harness.core.errors import ContractViolation, InputError, ModelError
from harness.core.registry import registry
from harness.core.types import Evidence

PLUGS = [
    plug for plug in registry.plugs("detector") if plug.implementation in ("harness", "pytorch_ood")
]
ON_FEATURES = [plug for plug in PLUGS if plug.meta["needs"] == "features"]
CLASSES, PIXELS = 3, 12


def _name(plug):
    return plug.name


def _linear(weight, bias):
    layer = torch.nn.utils.skip_init(torch.nn.Linear, *reversed(weight.shape))
    layer.weight.data, layer.bias.data = torch.tensor(weight).float(), torch.tensor(bias).float()
    return layer


@pytest.fixture(scope="module")
def model():
    """Twelve pixels, four for each of three classes; a hidden unit for each; the rest is noise."""
    rng = np.random.default_rng(0)
    hidden = 4 * np.eye(PIXELS) + rng.normal(0, 0.05, (PIXELS, PIXELS))
    head = np.kron(np.eye(CLASSES), np.ones(4)) * 1.3 - 0.3 + rng.normal(0, 0.05, (CLASSES, PIXELS))
    parts = _linear(hidden, np.full(PIXELS, 0.1)), torch.nn.ReLU(), _linear(head, np.zeros(CLASSES))
    network = torch.nn.Sequential(torch.nn.Flatten(), *parts)
    return models.freeze(network, in_shape=(1, 3, 4))


def _view(model, x, y=None):
    with torch.no_grad():
        logits, features = model(torch.tensor(x)), model.features(torch.tensor(x))
    return Evidence(logits.numpy(), features.numpy(), x, y)


def _inside(model, n, seed):
    """Four bright pixels; each pixel with noise of its own size, so that no two eigenvalues meet."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    bright = 0.6 * np.kron(np.eye(CLASSES), np.ones(4))[y]
    x = bright + np.linspace(0.05, 0.3, PIXELS) * rng.random((n, PIXELS))
    return _view(model, x.astype(np.float32).reshape(n, 1, 3, 4), y)


def _outside(model, n):
    """One bright pixel in place of four, and not one of the noisiest."""
    x = 0.05 * np.random.default_rng(9).random((n, PIXELS)) + 0.6 * np.eye(PIXELS)[np.arange(n) % 8]
    return _view(model, x.astype(np.float32).reshape(n, 1, 3, 4))


@pytest.fixture(scope="module")
def fit(model):
    return _inside(model, 300, seed=1)


@pytest.fixture(scope="module")
def inside(model):
    return _inside(model, 90, seed=2)


@pytest.fixture(scope="module")
def outside(model):
    return _outside(model, 60)


def _part(seen, rows):
    return Evidence(seen.logits[rows], seen.features[rows], seen.x[rows])


def _scorer(plug, fit, model, **params):
    return plug.require().function(fit, model=model, **params, rng=None)


# ------------------------------------------------------------ contract


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_ood_scores_higher(plug, fit, inside, outside, model):
    """Catches a flipped sign, and a detector fitted on something else than its evidence."""
    scorer = _scorer(plug, fit, model)
    scores = np.concatenate([scorer(inside), scorer(outside)])
    assert roc_auc_score(np.repeat([0, 1], [90, 60]), scores) > 0.99


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_a_score_depends_on_its_image_only(plug, fit, inside, model):
    """Catches scores normalised over the split, and parts put together in another order."""
    scorer = _scorer(plug, fit, model)
    scores = scorer(inside)
    assert scores.dtype == np.float64
    assert scores.shape == (90,)
    assert np.isfinite(scores).all()
    for rows in (slice(0, 1), slice(7, 31), np.arange(89, -1, -3)):
        assert scorer(_part(inside, rows)) == pytest.approx(scores[rows], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_more_images_than_a_part_holds(plug, fit, inside, model):
    many = _part(inside, np.tile(np.arange(90), 30))
    scores = _scorer(plug, fit, model)(many)
    assert scores.reshape(30, 90) == pytest.approx(
        np.tile(scores[:90], (30, 1)), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_nothing_is_changed(plug, fit, inside, model):
    """Catches weights moved, modes switched, gradients left and arrays written to.

    (That no generator is drawn from, a fixture of all tests sees.)
    """
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    arrays = [
        (array, array.copy())
        for seen in (fit, inside)
        for array in (seen.logits, seen.features, seen.x)
    ]
    first = _scorer(plug, fit, model)(inside)
    assert np.array_equal(_scorer(plug, fit, model)(inside), first)
    assert all(np.array_equal(array, before) for array, before in arrays)
    assert all(
        torch.equal(weights[name], value) for name, value in model.module.state_dict().items()
    )
    assert not any(part.training for part in model.module.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_evidence_may_be_read_only(plug, fit, inside, model):
    """Catches a warning or a crash on arrays from a store that are not writable."""

    def frozen(seen):
        copies = [np.array(array) for array in (seen.logits, seen.features, seen.x)]
        for array in copies:
            array.setflags(write=False)
        return Evidence(*copies, seen.y)

    assert len(_scorer(plug, frozen(fit), model)(frozen(inside))) == 90


@pytest.mark.parametrize("plug", ON_FEATURES, ids=_name)
def test_a_model_without_features_is_refused(plug, fit, model):
    """Catches features made up from the logits of an ensemble."""
    ensemble = models.Ensemble([model, model])
    bare = Evidence(fit.logits, None, fit.x, fit.y)
    with pytest.raises(ModelError, match="last linear layer"):
        _scorer(plug, bare, ensemble)(bare)


@pytest.mark.parametrize("plug", [p for p in PLUGS if p.meta["needs"] != "features"], ids=_name)
def test_a_model_without_features_will_do_for_the_others(plug, fit, model):
    ensemble = models.Ensemble([model, model])
    bare = Evidence(fit.logits, None, fit.x, fit.y)
    assert np.isfinite(_scorer(plug, bare, ensemble)(bare)).all()


def test_scores_that_are_not_finite_are_a_violation(fit, inside, model, monkeypatch):
    """Catches an adapter that believes the library."""
    from pytorch_ood.detector import MaxLogit

    monkeypatch.setattr(MaxLogit, "predict_logits", lambda self, z: z[:, 0] * float("nan"))
    with pytest.raises(ContractViolation, match="90 of 90 not"):
        _scorer(registry.get("detector", "pytorch_ood/mls"), fit, model)(inside)


def test_scores_of_another_shape_are_a_violation(fit, inside, model, monkeypatch):
    from pytorch_ood.detector import MaxLogit

    monkeypatch.setattr(MaxLogit, "predict_logits", lambda self, z: z)
    with pytest.raises(ContractViolation, match=r"\(N,\)"):
        _scorer(registry.get("detector", "pytorch_ood/mls"), fit, model)(inside)


# ------------------------------------------------------------ formulas


def _centred(fit):
    z, y = fit.features.astype(np.float64), fit.y
    centres = np.stack([z[y == k].mean(0) for k in range(CLASSES)])
    away = z - centres[y]
    return z, centres, away.T @ away


def _distance(z, centre, scatter):
    away = z - centre
    return np.einsum("nd,de,ne->n", away, np.linalg.inv(scatter), away)


def _head(model):
    head = model.head
    return head.weight.detach().numpy().astype(np.float64), head.bias.detach().numpy().astype(
        np.float64
    )


def _energy(z, model):
    weight, bias = _head(model)
    return -logsumexp(z @ weight.T + bias, axis=1)


def mahalanobis(fit, seen, model):
    _, centres, scatter = _centred(fit)
    return np.min([_distance(seen.features, centre, scatter) for centre in centres], axis=0) / 2


def rmd(fit, seen, model):
    z, centres, scatter = _centred(fit)
    away = z - z.mean(0)
    background = _distance(seen.features, z.mean(0), away.T @ away)
    return np.min([_distance(seen.features, c, scatter) for c in centres], axis=0) - background


def _unit(z):
    return z / np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)


def knn(fit, seen, model):
    return np.sort(cdist(_unit(seen.features), _unit(fit.features)), axis=1)[:, 49]


def vim(fit, seen, model):
    weight, bias = _head(model)
    origin = -np.linalg.pinv(weight) @ bias
    centred = fit.features - origin
    outside = np.linalg.eigh(centred.T @ centred)[1][:, : PIXELS - PIXELS // 2]
    scale = fit.logits.max(1).mean() / np.linalg.norm(centred @ outside, axis=1).mean()
    virtual = scale * np.linalg.norm((seen.features - origin) @ outside, axis=1)
    return virtual + _energy(seen.features, model)


def react(fit, seen, model):
    return _energy(np.minimum(seen.features, np.percentile(fit.features, 90)), model)


def dice(fit, seen, model):
    weight, bias = _head(model)
    contribution = fit.features.astype(np.float64).mean(0) * weight
    kept = np.where(contribution > np.quantile(contribution, 0.7), weight, 0)
    return -logsumexp(seen.features @ kept.T + bias, axis=1)


def she(fit, seen, model):
    right = fit.logits.argmax(1) == fit.y
    means = np.stack([fit.features[right & (fit.y == k)].mean(0) for k in range(CLASSES)])
    return -(seen.features * means[seen.logits.argmax(1)]).sum(1)


def ash(fit, seen, model):
    z = seen.features.astype(np.float64)
    largest = np.argsort(-z, axis=1)[:, : PIXELS - round(0.65 * PIXELS)]
    shaped = np.zeros_like(z)
    np.put_along_axis(shaped, largest, np.take_along_axis(z, largest, 1), 1)
    scale = np.exp(z.sum(1) / shaped.sum(1))
    return _energy(shaped * scale[:, None], model)


def kl_matching(fit, seen, model):
    p, q = softmax(fit.logits.astype(np.float64), 1), softmax(seen.logits.astype(np.float64), 1)
    means = [p[p.argmax(1) == k].mean(0) for k in range(CLASSES)]
    return np.min([(q * (np.log(q) - np.log(mean))).sum(1) for mean in means], axis=0)


def gen(fit, seen, model):
    p = softmax(seen.logits.astype(np.float64), 1).clip(1e-7, 1 - 1e-7)
    return (p**0.1 * (1 - p) ** 0.1).mean(1)


def odin(fit, seen, model):
    """The gradient of the network by hand: head, mask of the ReLU, hidden layer."""
    hidden = model.module[1].weight.detach().numpy().astype(np.float64)
    weight, bias = _head(model)
    wrong = (
        softmax(seen.logits.astype(np.float64) / 1000, 1) - np.eye(CLASSES)[seen.logits.argmax(1)]
    )
    gradient = ((wrong @ weight) * (seen.features > 0)) @ hidden
    x = seen.x.reshape(len(seen.x), -1) - 0.0014 * np.sign(gradient)
    z = np.maximum(x @ hidden.T + model.module[1].bias.detach().numpy(), 0)
    return -softmax((z @ weight.T + bias) / 1000, 1).max(1)


FLOAT32 = ("mahalanobis", "rmd", "vim")  # with a matrix inverted or decomposed in float32
FORMULAS = {
    "msp": lambda fit, seen, model: -softmax(seen.logits.astype(np.float64), 1).max(1),
    "mls": lambda fit, seen, model: -seen.logits.max(1),
    "energy": lambda fit, seen, model: _energy(seen.features, model),
    "entropy": lambda fit, seen, model: (
        -(
            softmax(seen.logits.astype(np.float64), 1)
            * log_softmax(seen.logits.astype(np.float64), 1)
        ).sum(1)
    ),
    **{
        f.__name__: f
        for f in (gen, kl_matching, odin, mahalanobis, rmd, knn, vim, react, dice, she, ash)
    },
}


@pytest.mark.parametrize("plug", PLUGS, ids=_name)
def test_scores_are_those_of_the_formula(plug, fit, inside, outside, model):
    """Catches other defaults than are named, labels mixed up, and a head that is not the model's.

    The formulas are the papers', but for what the catalogue says of the library: half the squared
    Mahalanobis distance with the scatter matrix (O4), and probabilities clipped at 1e-7 (O3b).
    """
    scorer = _scorer(plug, fit, model)
    off = 5e-4 if plug.concept in FLOAT32 else 2e-5
    for seen in (inside, outside):
        expected = FORMULAS[plug.concept](fit, seen, model)
        assert scorer(seen) == pytest.approx(expected, rel=off, abs=off)


def test_parameters_reach_the_library(fit, inside, model):
    """Catches a parameter that is accepted and left out."""
    for name, params in {
        "msp": {"temperature": 2.0},
        "energy": {"temperature": 2.0},
        "gen": {"gamma": 0.5},
        "odin": {"step": 0.1},
        "knn": {"neighbours": 3},
        "vim": {"dim": 2},
        "react": {"percentile": 0.5},
        "dice": {"sparsity": 0.3},
        "ash": {"variant": "b"},
    }.items():
        plug = registry.get("detector", f"pytorch_ood/{name}")
        assert not np.allclose(
            _scorer(plug, fit, model)(inside), _scorer(plug, fit, model, **params)(inside)
        )


@pytest.mark.parametrize(
    ("name", "params", "fault"),
    [("vim", {"dim": 12}, "dim must lie"), ("vim", {"dim": 0}, "dim must lie")],
)
def test_parameters_that_the_library_bends_are_refused(fit, model, name, params, fault):
    """O8: the library scores NaN, or takes another dimension."""
    with pytest.raises(InputError, match=fault):
        _scorer(registry.get("detector", f"pytorch_ood/{name}"), fit, model, **params)


@pytest.mark.parametrize("name", ["mahalanobis", "rmd"])
def test_labels_may_have_gaps(name, fit, inside, model):
    """O4c: the library asserts that every label occurs."""
    gaps = Evidence(fit.logits, fit.features, fit.x, 2 * fit.y)
    plug = registry.get("detector", f"pytorch_ood/{name}")
    assert np.array_equal(_scorer(plug, gaps, model)(inside), _scorer(plug, fit, model)(inside))


def test_she_names_the_classes_it_lacks(fit, model):
    rows = fit.y != 1
    part = Evidence(fit.logits[rows], fit.features[rows], fit.x[rows], fit.y[rows])
    with pytest.raises(InputError, match=r"none of \[1\]"):
        _scorer(registry.get("detector", "pytorch_ood/she"), part, model)


def test_knn_takes_one_core(fit, model, monkeypatch):
    """O9: the library asks for all of them, in every job."""
    from pytorch_ood.detector import KNN

    seen = []
    original = KNN.fit_features
    monkeypatch.setattr(
        KNN,
        "fit_features",
        lambda self, z, y: (seen.append(self.knn.n_jobs), original(self, z, y))[1],
    )
    _scorer(registry.get("detector", "pytorch_ood/knn"), fit, model)
    assert seen == [1]
