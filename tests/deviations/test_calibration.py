"""Each test shows one mechanism of deviations/calibration.yaml; a mended library fails its test."""

import importlib.metadata
import warnings

import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, softmax

NETCAL_LOSES = {
    10: [7, 9],
    15: [],
    20: [7, 9, 13, 14, 18, 19],
    25: [1, 2, 3, 4, 6, 8, 11, 12, 13, 16, 19, 21, 22, 24],
}


@pytest.fixture(scope="module")
def netcal():
    return pytest.importorskip("netcal.metrics")


@pytest.fixture(scope="module")
def torchmetrics():
    return pytest.importorskip("torchmetrics.functional.classification")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def guesses():
    """(500, 10) probabilities and labels drawn from them: calibrated by construction."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(10, 0.3), 500)
    return probs, np.array([rng.choice(10, p=p) for p in probs])


# ------------------------------------------------------------ C1: netcal and the edges of bins


@pytest.mark.parametrize("bins", NETCAL_LOSES)
def test_netcal_loses_float32_confidences_on_an_edge(netcal, bins):
    """All wrong at confidence k/bins: the error is k/bins, and netcal says 0."""

    def lost(dtype):
        found = []
        for k in range(1, bins):
            conf = np.full(10, k / bins, dtype)
            error = netcal.ECE(bins).measure(conf, np.zeros(10))
            if error == 0:
                found.append(k)
            else:
                assert error == pytest.approx(k / bins, abs=1e-6)
        return found

    assert lost(np.float32) == NETCAL_LOSES[bins]
    assert lost(np.float64) == []


def test_netcal_counts_and_averages_with_different_binnings(netcal):
    """The mechanism: the count lies in one bin and the mean confidence in the next."""
    from scipy.stats import binned_statistic_dd

    conf, edges = np.full((10, 1), np.float32(0.7)), [np.linspace(0, 1, 11)]
    counts = np.histogramdd(conf, bins=edges)[0]
    means = binned_statistic_dd(conf, conf[:, 0], statistic="mean", bins=edges)[0]
    assert np.flatnonzero(counts) != np.flatnonzero(np.nan_to_num(means))


@pytest.mark.parametrize(("dtype", "expected"), [(np.float64, 0.225), (np.float32, 0.525)])
def test_netcal_puts_an_edge_into_another_bin_in_float32(netcal, dtype, expected):
    """0.3 < the float64 edge 0.30000000000000004 <= float32(0.3): with 0.25, or alone."""
    error = netcal.ECE(10).measure(np.array([0.3, 0.25], dtype), np.array([0, 1]))
    assert error == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("dtype", "expected"), [(np.float64, 0.225), (np.float32, 0.525)])
def test_torchmetrics_puts_an_edge_into_another_bin_in_float32(
    torchmetrics, torch, dtype, expected
):
    conf = torch.from_numpy(np.array([0.3, 0.25], dtype))
    error = torchmetrics.binary_calibration_error(conf, torch.tensor([0, 1]), n_bins=10)
    assert error.item() == pytest.approx(expected, abs=1e-6)


# ------------------------------------------------------------ C2 to C4: torchmetrics


@pytest.mark.parametrize(
    ("norm", "textbook", "extra_bin"),
    [("l1", 0.075, 0.125), ("max", 0.075, 0.2), ("l2", 0.075, 0.1457737974)],
)
def test_torchmetrics_gives_a_confidence_of_one_a_bin_of_its_own(
    torchmetrics, torch, norm, textbook, extra_bin
):
    """50 confidences of 1 (80 % right) and 50 of 0.95 (all right) share the last of ten bins."""
    conf = torch.tensor([1.0] * 50 + [0.95] * 50, dtype=torch.float64)
    right = torch.tensor([1] * 40 + [0] * 10 + [1] * 50)

    def error(conf):
        return torchmetrics.binary_calibration_error(conf, right, n_bins=10, norm=norm).item()

    assert error(conf) == pytest.approx(extra_bin, abs=1e-9)
    assert error(conf.clamp(max=np.nextafter(1, 0))) == pytest.approx(textbook, abs=1e-9)


def test_torchmetrics_softmaxes_everything_if_one_value_exceeds_one(torchmetrics, torch, guesses):
    """One probability of 1.0000001 in 5,000 turns an error of 0.05 into 0.29."""
    probs, labels = (torch.from_numpy(array) for array in guesses)
    over = probs.clone()
    over[0] = 0
    over[0, 3] = 1.0000001

    def error(probs):
        return torchmetrics.multiclass_calibration_error(probs, labels, 10).item()

    assert error(probs) < 0.05
    assert error(over) == pytest.approx(error(over.softmax(1)), abs=1e-7)
    assert error(over) > 0.25


def test_torchmetrics_takes_logits_within_0_and_1_for_probabilities(torchmetrics, torch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(200, 10, generator=generator)
    labels = torch.randint(0, 10, (200,), generator=generator)
    taken = torchmetrics.multiclass_calibration_error(logits, labels, 10).item()
    meant = torchmetrics.multiclass_calibration_error(logits.softmax(1), labels, 10).item()
    assert taken > 0.7
    assert meant < 0.2


def test_torchmetrics_casts_multiclass_input_to_float32(torchmetrics, torch):
    probs = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    conf, label = torch.tensor([0.7], dtype=torch.float64), torch.tensor([1])
    multiclass = torchmetrics.multiclass_calibration_error(probs, label, 2)
    assert multiclass.dtype == torch.float32
    assert torchmetrics.binary_calibration_error(conf, label).dtype == torch.float64


def test_torchmetrics_loses_digits_summing_many_float32_confidences(torchmetrics, torch):
    """3,000,000 confidences of 0.9, all right: 0.1 in truth, 0.0934 as summed."""
    conf, right = torch.full((3_000_000,), 0.9), torch.ones(3_000_000, dtype=torch.int64)
    in_32 = torchmetrics.binary_calibration_error(conf, right).item()
    in_64 = torchmetrics.binary_calibration_error(conf.double(), right).item()
    assert in_64 == pytest.approx(0.1, abs=1e-6)
    assert abs(in_32 - 0.1) > 0.005


def test_torchmetrics_returns_an_integer_zero(torchmetrics, torch):
    conf = torch.tensor([0.5, 0.5], dtype=torch.float64)
    error = torchmetrics.binary_calibration_error(conf, torch.tensor([1, 0]), norm="l2")
    assert error.dtype == torch.int64


def test_torchmetrics_makes_a_number_of_nan(torchmetrics, torch):
    conf = torch.tensor([float("nan"), 0.5], dtype=torch.float64)
    error = torchmetrics.binary_calibration_error(conf, torch.tensor([1, 0]))
    assert torch.isfinite(error)


# ------------------------------------------------------------ C5: what netcal takes


@pytest.mark.parametrize(
    ("conf", "bins", "error"),
    [
        ([0.1, 0.2], 10, AssertionError),
        (np.ones(2, dtype=np.int64), 10, ValueError),
        (np.array([0.1, 0.2]), np.int64(10), AssertionError),
    ],
    ids=["a list", "integers", "a NumPy integer as bins"],
)
def test_netcal_takes_only_float_arrays_and_python_integers(netcal, conf, bins, error):
    with pytest.raises(error):
        netcal.ECE(bins).measure(conf, np.ones(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_netcal_clips_confidences_at_the_machine_epsilon(netcal, dtype):
    """Certain and right is an error of exactly 0; netcal never returns it."""
    error = netcal.ECE(10).measure(np.ones(3, dtype), np.ones(3))
    assert 0 < error <= 2 * np.finfo(dtype).eps


@pytest.mark.parametrize(
    ("conf", "expected"),
    [([1.5, 0.2, 0.4], 0.8 / 3), ([np.nan, 0.2, 0.4], 0.4)],
    ids=["above 1", "NaN"],
)
def test_netcal_makes_a_number_of_what_is_no_confidence(netcal, conf, expected):
    error = netcal.ECE(10).measure(np.array(conf), np.array([1, 0, 1]))
    assert error == pytest.approx(expected, abs=1e-9)


def test_netcal_makes_a_number_of_logits(netcal, guesses):
    probs, labels = guesses
    with np.errstate(divide="ignore"):
        assert netcal.ECE(10).measure(5 + np.log(probs.clip(1e-6)), labels) > 0.2


def test_netcal_takes_two_labels_for_a_binary_problem(netcal, guesses):
    """A batch of ten-class probabilities in which only two labels occur crashes; three do not."""
    probs, _ = guesses
    with pytest.raises(RuntimeError, match="binary classification"):
        netcal.ECE(10).measure(probs[:20], np.array([0, 1] * 10))
    assert netcal.ECE(10).measure(probs[:21], np.array([0, 1, 2] * 7)) > 0


def test_netcal_cannot_make_quantile_bins_of_many_equal_confidences(netcal):
    conf = np.array([1.0] * 50 + [0.1, 0.2])
    with pytest.raises(ValueError, match="edge difference is numerically 0"):
        netcal.ECE(10, equal_intervals=False).measure(conf, np.ones(52))


def test_netcal_ace_is_the_unweighted_mean_over_bins(netcal):
    """Nine samples 0.95 off and one 0.05 off: the average over two bins is 0.5 for any counts.

    With equal-mass bins, as in the adaptive error of the same name, it would be 0.86.
    """
    conf = np.array([0.05] * 9 + [0.95])
    assert netcal.ACE(10).measure(conf, np.ones(10)) == pytest.approx(0.5)
    assert netcal.ECE(10).measure(conf, np.ones(10)) == pytest.approx((9 * 0.95 + 0.05) / 10)


# ------------------------------------------------------------ C6: temperatures


def _problem(scale):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2000, 10))
    labels = np.array([rng.choice(10, p=p) for p in softmax(logits, axis=1)])
    return scale * logits, labels


def _temperature(logits, labels):
    """The minimum found by SciPy on the log-softmax, over 1e-3 to 1e3."""

    def loss(log_t):
        logs = log_softmax(logits / np.exp(log_t), axis=1)
        return -logs[np.arange(len(labels)), labels].mean()

    bounds = (-np.log(1e3), np.log(1e3))
    found = scipy.optimize.minimize_scalar(loss, bounds=bounds, options={"xatol": 1e-9})
    return float(np.exp(found.x))


def _netcal_scaling(probs, labels):
    scaling = pytest.importorskip("netcal.scaling").TemperatureScaling()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "independent is deprecated", DeprecationWarning)
        scaling.fit(probs, labels)
    return float(np.asarray(scaling.temperature).item())


@pytest.mark.parametrize("scale", [3.0, 0.3])
def test_netcal_temperature_scaling_does_nothing_in_float32(scale):
    """SciPy's step of 1.5e-8 changes no float32 loss, so it 'converges' at the start."""
    logits, labels = _problem(scale)
    probs = softmax(logits, axis=1)
    assert _netcal_scaling(probs.astype(np.float32), labels) == 1
    assert _netcal_scaling(probs, labels) == pytest.approx(
        1 / _temperature(logits, labels), rel=1e-4
    )


def test_netcal_float32_loss_does_not_see_a_finite_difference_step():
    logits, labels = _problem(3.0)
    logs = np.log(softmax(logits.astype(np.float32), axis=1).clip(np.finfo(np.float32).eps))

    def loss(weight, dtype):
        chosen = log_softmax(logs.astype(dtype) * dtype(weight), axis=1)
        return chosen[np.arange(len(labels)), labels].mean(dtype=dtype)

    assert loss(1, np.float32) == loss(1 + 1.5e-8, np.float32)
    assert loss(1, np.float64) != loss(1 + 1.5e-8, np.float64)


def test_netcal_temperature_is_the_multiplier():
    """Logits three times too large need T = 3; the attribute `temperature` says 1/3."""
    logits, labels = _problem(3.0)
    assert _netcal_scaling(softmax(logits, axis=1), labels) == pytest.approx(1 / 3, rel=0.05)


def test_netcal_temperature_is_lost_where_softmax_is_clipped():
    logits, labels = _problem(30.0)
    found = 1 / _netcal_scaling(softmax(logits, axis=1), labels)
    assert _temperature(logits, labels) == pytest.approx(30, rel=0.05)
    assert found < 20


def test_netcal_temperature_scaling_refuses_logits():
    logits, labels = _problem(3.0)
    with pytest.raises(ValueError, match=r"range \[0, 1\]"):
        _netcal_scaling(logits, labels)


@pytest.mark.parametrize(("scale", "found"), [(30.0, 5.0), (0.03, 0.2)])
def test_pytorch_ood_searches_temperatures_only_between_02_and_5(torch, scale, found):
    calibrate = pytest.importorskip("pytorch_ood.utils.utils").temperature_calibration
    logits, labels = _problem(scale)
    assert _temperature(logits, labels) == pytest.approx(scale, rel=0.05)
    t = calibrate(torch.from_numpy(logits).float(), torch.from_numpy(labels))
    assert t == pytest.approx(found, abs=2e-4)


# ------------------------------------------------------------ C7, C9: scikit-learn


def test_sklearn_halves_the_brier_score_of_two_classes_only(guesses):
    from sklearn.metrics import brier_score_loss

    probs, labels = guesses
    whole = ((probs - np.eye(10)[labels]) ** 2).sum(1).mean()
    assert brier_score_loss(labels, probs, labels=range(10)) == pytest.approx(whole)
    two, right = np.column_stack([1 - probs[:, 0], probs[:, 0]]), (labels == 0).astype(int)
    whole = ((two - np.eye(2)[right]) ** 2).sum(1).mean()
    assert brier_score_loss(right, two, labels=[0, 1]) == pytest.approx(whole / 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sklearn_clips_probabilities_in_the_log_loss(dtype):
    from sklearn.metrics import log_loss

    loss = log_loss([0], np.array([[0.0, 1.0]], dtype), labels=[0, 1])
    assert loss == pytest.approx(-np.log(np.finfo(dtype).eps), rel=1e-5)


# ------------------------------------------------------------ C8, C10: packaging, and one struck out


def test_netcal_installs_packages_called_docs_and_examples():
    try:
        files = importlib.metadata.files("netcal") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("netcal is not installed")
    assert {"docs", "examples"} <= {file.parts[0] for file in files}
    assert any(file.parts == ("examples", "__init__.py") for file in files)


def test_pytorch_ood_splits_ties_by_the_order_of_the_samples(torch):
    """200 confidences of 0.5, half of them right: 0 if the right ones are spread, 0.5 if they lead."""
    functional = pytest.importorskip("pytorch_ood.metrics").functional
    conf, leading = torch.full((200,), 0.5), torch.tensor([1.0] * 100 + [0.0] * 100)
    spread = torch.tensor([1.0, 0.0] * 100)
    assert functional.calibration_error(conf, leading) == pytest.approx(0.5)
    assert functional.calibration_error(conf, spread) == pytest.approx(0)


def test_pytorch_ood_calibration_error_counts_the_last_bin(torch):
    """Struck out: earlier sources drop the last bin, which in 0.4.0 is counted."""
    functional = pytest.importorskip("pytorch_ood.metrics").functional
    conf, right = torch.tensor([0.1] * 100 + [0.9] * 100), torch.zeros(200)
    assert functional.calibration_error(conf, right, p="infty") == pytest.approx(0.9, abs=1e-6)
    assert functional.calibration_error(conf[:50], right[:50]) == pytest.approx(0.1, abs=1e-6)
