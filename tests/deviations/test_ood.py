"""Each test shows one mechanism of deviations/ood.yaml; a mended library fails its test."""

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def detector():
    return pytest.importorskip("pytorch_ood.detector")


@pytest.fixture(scope="module")
def functional():
    return pytest.importorskip("pytorch_ood.metrics").functional


@pytest.fixture(scope="module")
def torchmetrics():
    return pytest.importorskip("torchmetrics.functional.classification")


@pytest.fixture
def draw():
    """Tensors of standard normal numbers, from a stream of the test's own."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


def _linear(*sizes):
    return torch.nn.utils.skip_init(torch.nn.Linear, *sizes)


@pytest.fixture
def network(draw):
    """A linear network with batch normalisation, on four inputs and three classes."""
    nn = torch.nn
    network = nn.Sequential(_linear(4, 8), nn.BatchNorm1d(8), _linear(8, 3))
    for parameter in network.parameters():
        parameter.data = draw(*parameter.shape)
    return network


ID, OOD = [0.0] * 60, [0.0] * 40


def _labelled(inside, outside):
    """Scores and labels in pytorch-ood's convention, and the same in scikit-learn's."""
    scores = torch.tensor([*inside, *outside], dtype=torch.float64)
    positive = np.repeat([0, 1], [len(inside), len(outside)])
    return scores, -torch.from_numpy(positive), positive


# ------------------------------------------------------------ O1: pytorch-ood's labels


def test_pytorch_ood_labels_below_zero_are_ood_and_positive(functional):
    scores = torch.tensor([0.1, 0.2, 0.8, 0.9])
    assert functional.auroc(scores, torch.tensor([3, 0, -1, -7])) == 1
    with pytest.raises(ValueError, match="label < 0"):
        functional.auroc(scores, torch.tensor([0, 0, 1, 1]))


def test_pytorch_ood_metrics_take_tensors_only(functional):
    metrics = pytest.importorskip("pytorch_ood.metrics")
    with pytest.raises(TypeError, match="must be a tensor"):
        metrics.OODMetrics().update(np.zeros(3), np.zeros(3))
    with pytest.raises(AttributeError):
        functional.auroc(np.zeros(3), np.zeros(3))


def test_pytorch_ood_refuses_nan_but_not_infinity(functional):
    with pytest.raises(ValueError, match="NaN"):
        functional.auroc(torch.tensor([np.nan, 1.0]), torch.tensor([0, -1]))
    assert functional.auroc(torch.tensor([1.0, np.inf]), torch.tensor([0, -1])) == 1


# ------------------------------------------------------------ O2: areas and rates


@pytest.mark.parametrize(
    ("inside", "outside", "trapezoid", "average"),
    [(ID, OOD, 0.7, 0.4), ([0, 0, 1], [1, 1], 5 / 6, 2 / 3)],
    ids=["constant", "tied"],
)
def test_pytorch_ood_aupr_is_a_trapezoid(functional, inside, outside, trapezoid, average):
    """Constant scores of 60 ID and 40 OOD: the average precision is the prevalence, 0.4."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    scores, labels, positive = _labelled(inside, outside)
    precision, recall, _ = precision_recall_curve(positive, scores.numpy())
    area = functional.aupr(scores, labels).item()
    assert area == pytest.approx(trapezoid)
    assert area == pytest.approx(-np.trapezoid(precision, recall))
    assert average_precision_score(positive, scores.numpy()) == pytest.approx(average)


def test_pytorch_ood_fpr_takes_ood_for_positive_and_does_not_interpolate(functional):
    """At 0.5, 19 of 20 OOD are caught and 1 of 4 ID is flagged; to keep all ID lets all OOD in."""
    scores, labels, _ = _labelled([0.1, 0.2, 0.3, 0.9], [0.0, *[0.5] * 19])
    assert functional.fpr_at_tpr(scores, labels).item() == 0.25
    assert functional.fpr_at_tpr(-scores, -1 - labels).item() == 1


def test_pytorch_ood_autc_normalises_the_scores(functional):
    scores, labels, _ = _labelled([0.1, 0.2], [0.3, 0.6])
    assert functional.autc(5 * scores + 7, labels) == pytest.approx(
        functional.autc(scores, labels).item()
    )


# ------------------------------------------------------------ O3: saturation and clipping


def test_pytorch_ood_msp_ties_in_float32(detector, draw):
    logits = 50 * draw(200, 10)
    assert len(detector.MaxSoftmax.score(logits).unique()) < 100
    assert len(detector.MaxSoftmax.score(logits.double()).unique()) > 130
    assert len(detector.MaxLogit.score(logits).unique()) == 200


def test_pytorch_ood_entropy_and_gen_clip_probabilities_at_1e_7(detector):
    """A certain prediction of ten classes has entropy 0; nine clipped terms make it 1.45e-5."""
    certain = torch.tensor([[200.0] + [0.0] * 9], dtype=torch.float64)
    assert detector.Entropy.score(certain).item() == pytest.approx(9e-7 * np.log(1e7), rel=1e-3)
    more = torch.tensor([[400.0] + [0.0] * 9], dtype=torch.float64)
    assert detector.GEN.score(certain).item() == detector.GEN.score(more).item()


# ------------------------------------------------------------ O4: Mahalanobis


def test_pytorch_ood_mahalanobis_is_the_papers_over_2n(detector, draw):
    z, labels, q = draw(1000, 8), torch.arange(1000) % 5, draw(50, 8).double()
    centres = torch.stack([z[labels == k].mean(0) for k in range(5)]).double()
    centred = z.double() - centres[labels]
    precision = torch.linalg.inv(centred.T @ centred / 1000)
    away = q[:, None] - centres
    paper = torch.einsum("nkd,de,nke->nk", away, precision, away).min(1).values
    scores = detector.Mahalanobis(None).fit_features(z, labels).predict_features(q.float())
    assert torch.allclose(paper / scores, torch.tensor(2000.0, dtype=torch.float64), rtol=1e-4)


def test_pytorch_ood_mahalanobis_weighs_a_dead_feature_with_a_million(detector, draw):
    """A feature that never moved in training: a deviation of 0.01 outweighs all others."""
    z = draw(1000, 8)
    z[:, 0] = 0
    fitted = detector.Mahalanobis(None).fit_features(z, torch.arange(1000) % 5)
    q = torch.zeros(2, 8)
    q[1, 0] = 0.01
    scores = fitted.predict_features(q)
    assert scores[0] < 1e-3
    assert scores[1] == pytest.approx(0.5 * 0.01**2 / 1e-6, rel=1e-3)


def test_pytorch_ood_mahalanobis_asserts_without_a_word_that_all_labels_occur(detector, draw):
    with pytest.raises(AssertionError, match=r"^$"):
        detector.Mahalanobis(None).fit_features(draw(100, 3), 2 * (torch.arange(100) % 2))


def test_pytorch_ood_mahalanobis_cannot_score_float64(detector, draw):
    z = draw(100, 3).double()
    fitted = detector.Mahalanobis(None).fit_features(z, torch.arange(100) % 2)
    with pytest.raises(RuntimeError, match="dtype"):
        fitted.predict_features(z)


# ------------------------------------------------------------ O5: side effects


def test_pytorch_ood_predicts_in_the_mode_the_model_is_in_and_keeps_the_graph(
    detector, network, draw
):
    before = network[1].running_mean.clone()
    scores = detector.MaxSoftmax(network.train()).predict(draw(5, 4))
    assert scores.requires_grad
    assert not torch.equal(before, network[1].running_mean)


def test_pytorch_ood_fit_draws_from_the_global_generator(detector, network, draw, caplog):
    caplog.set_level(logging.ERROR)
    data = torch.utils.data.TensorDataset(draw(50, 4), torch.arange(50) % 3)
    with torch.random.fork_rng():
        before = torch.random.get_rng_state()
        detector.Mahalanobis(network.eval()).fit(torch.utils.data.DataLoader(data, 10))
        assert not torch.equal(before, torch.random.get_rng_state())


def test_pytorch_ood_mahalanobis_odin_leaves_gradients_and_odin_does_not(detector, network, draw):
    network.eval()
    detector.ODIN(network).predict(draw(5, 4))
    assert all(parameter.grad is None for parameter in network.parameters())
    fitted = detector.MahalanobisODIN(network).fit_features(draw(60, 3), torch.arange(60) % 3)
    fitted.predict(draw(5, 4))
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_pytorch_ood_odin_leaves_the_box(detector, network):
    odin = pytest.importorskip("pytorch_ood.detector.odin")
    moved = odin.odin_preprocessing(network.eval(), torch.ones(5, 4), eps=0.1)
    assert moved.max() == pytest.approx(1.1)


# ------------------------------------------------------------ O6: direction


def test_pytorch_ood_gradnorm_she_and_dice_reward_large_activations(detector, draw):
    """Features ten times as large, as noise has them, score as more ordinary, by design."""
    z, labels, weight, bias = draw(300, 8).abs(), torch.arange(300) % 3, draw(3, 8), draw(3)
    z = z + 4 * torch.nn.functional.one_hot(labels, 8)
    weight[:, :3] += 4 * torch.eye(3)
    she = detector.SHE(lambda x: x, lambda x: x @ weight.T + bias).fit_features(z, labels)
    dice = detector.DICE(None, weight, bias, 0.5).fit_features(z, labels)
    for fitted in (she, dice):
        assert (fitted.predict_features(10 * z) < fitted.predict_features(z)).float().mean() > 0.9
    linear = _linear(8, 3)
    linear.weight.data, linear.bias.data = weight, bias
    norm = detector.GradNorm(linear)
    assert (norm.predict(10 * z) < norm.predict(z)).float().mean() > 0.9


# ------------------------------------------------------------ O7: torchmetrics on scores


def test_torchmetrics_puts_scores_through_a_sigmoid(torchmetrics):
    """Scores of 40 against 35, all right: in float32 the sigmoid of both is 1, a tie."""
    scores, positive = torch.tensor([35.0] * 5 + [40.0] * 5), torch.tensor([0] * 5 + [1] * 5)
    assert torchmetrics.binary_auroc(scores, positive) == 0.5
    assert torchmetrics.binary_auroc(scores / 100, positive) == 1
    assert torchmetrics.binary_average_precision(scores, positive) == 0.5


def test_torchmetrics_curves_are_float32_for_float64_scores(torchmetrics, draw):
    scores, positive = draw(1000).sigmoid().double(), torch.arange(1000) % 2
    assert torchmetrics.binary_auroc(scores, positive).dtype == torch.float32


# ------------------------------------------------------------ O8, O9: parameters


def test_pytorch_ood_vim_of_all_dimensions_is_nan(detector, draw):
    """Nothing is left outside the principal subspace, so its scale divides by 0."""
    weight, bias, z = draw(10, 8), draw(10), draw(100, 8)
    fitted = detector.ViM(None, 8, weight, bias).fit_features(z, torch.zeros(100))
    assert fitted.predict_features(z).isnan().all()


def test_pytorch_ood_vim_halves_a_dimension_that_is_too_large(detector, draw, caplog):
    caplog.set_level(logging.ERROR)
    fitted = detector.ViM(None, 9, draw(10, 8), draw(10))
    assert fitted.fit_features(draw(100, 8), torch.zeros(100)).d == 4


def test_pytorch_ood_knn_asks_for_every_core(detector):
    assert detector.KNN(None).knn.n_jobs == -1
    with pytest.raises(TypeError, match="multiple values"):
        detector.KNN(None, n_jobs=1)


@pytest.mark.parametrize("name", ["ReAct", "ASH", "MCD"])
def test_pytorch_ood_fit_returns_the_detector(detector, name, caplog):
    """Struck out: earlier sources say `raise self`, a TypeError; 0.4.0 says `return self`."""
    caplog.set_level(logging.ERROR)
    linear = _linear(2, 2)
    parts = (linear,) if name == "MCD" else (linear, linear)
    fitted = getattr(detector, name)(*parts)
    assert fitted.fit([(torch.zeros(4, 2), torch.zeros(4))]) is fitted
