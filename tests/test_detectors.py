import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.core.types import Evidence
from harness.detectors import combine_members, direction, mls, msp


def _seen(logits, shape=(1, 2, 2)):
    logits = np.asarray(logits, dtype=np.float32)
    return Evidence(logits, None, np.zeros((len(logits), *shape), np.float32))


NOTHING = _seen(np.zeros((1, 2)))


def _scores(detector, logits, **params):
    return detector(NOTHING, model=None, **params)(_seen(logits))


# ------------------------------------------------------------ maximum softmax and logit


def test_msp_is_the_negated_softmax_of_the_likeliest_class():
    """Odds of 3 to 1 are a probability of 3/4. Catches a flipped sign and a missing softmax."""
    assert _scores(msp, [[np.log(3), 0]]) == pytest.approx(-0.75, abs=1e-7)


def test_msp_divides_by_the_temperature():
    """Odds of 9 to 1 at T = 2 are 3 to 1. Catches a product with T."""
    assert _scores(msp, [[np.log(9), 0]], temperature=2.0) == pytest.approx(-0.75, abs=1e-7)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_msp_refuses_a_temperature_that_is_none(temperature):
    with pytest.raises(ValueError, match="positive"):
        _scores(msp, [[1, 0]], temperature=temperature)


def test_msp_does_not_tie_where_float32_does():
    """Gaps of 20, 22, ... 34 are all exactly 1 in float32. Catches scores in float32."""
    gaps = np.arange(20, 36, 2)
    scores = _scores(msp, np.stack([gaps, np.zeros(8)], axis=1))
    assert scores.dtype == np.float64
    assert len(np.unique(scores)) == 8
    assert (np.diff(scores) < 0).all()


def test_mls_is_the_negated_largest_logit():
    """Catches the largest in size, the softmax, and a flipped sign."""
    scores = _scores(mls, [[-9.0, 2.5], [0.0, -1.0]])
    assert scores.dtype == np.float64
    assert scores.tolist() == [-2.5, 0]


def test_mls_sees_a_shift_that_msp_does_not():
    logits = np.array([[1.0, 2.0, 4.0]])
    assert _scores(msp, logits + 3) == pytest.approx(_scores(msp, logits), abs=1e-12)
    assert _scores(mls, logits + 3) == pytest.approx(_scores(mls, logits) - 3)


# ------------------------------------------------------------ ensembles


@pytest.fixture
def members():
    rng = np.random.default_rng(0)
    fitted = [rng.normal(size=200), rng.normal(5, 30, size=150), rng.gamma(2, size=90)]
    scores = [rng.normal(size=40) for _ in fitted]
    return fitted, scores


def test_a_members_scale_and_offset_do_not_matter(members):
    """Catches a plain mean of scores, in which the member with the largest logits decides."""
    fitted, scores = members
    combined = combine_members(fitted, scores)
    fitted = [7 * fitted[0] - 3, *fitted[1:]]
    scores = [7 * scores[0] - 3, *scores[1:]]
    assert combine_members(fitted, scores) == pytest.approx(combined)


def test_a_score_does_not_depend_on_the_split_it_is_in(members):
    """Catches standardising by the mean and deviation of the scored split."""
    fitted, scores = members
    some = combine_members(fitted, [member[:7] for member in scores])
    assert some == pytest.approx(combine_members(fitted, scores)[:7])


def test_members_are_standardised_each_by_its_own_training_scores(members):
    """Catches the statistics of one member, or of all pooled, used for all."""
    fitted, _ = members
    assert combine_members(fitted, [member[:90] for member in fitted]).std() < 1
    for member in fitted:
        alone = combine_members([member], [member])
        assert (alone.mean(), alone.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def test_more_ood_stays_more_ood(members):
    fitted, scores = members
    more = [member + 0.1 for member in scores]
    assert (combine_members(fitted, more) > combine_members(fitted, scores)).all()


@pytest.mark.parametrize("fitted", [[], [np.arange(3.0)] * 2])
def test_members_and_scores_must_match(fitted):
    with pytest.raises(ValueError, match="member"):
        combine_members(fitted, [np.arange(3.0)] if fitted else [])


def test_a_member_with_constant_training_scores_is_named():
    with pytest.raises(ValueError, match="member 1"):
        combine_members([np.arange(3.0), np.ones(3)], [np.arange(2.0)] * 2)


# ------------------------------------------------------------ direction


def _direction(scorer, inside, count=200):
    seen = []

    def look(x):
        seen.append(x)
        return Evidence(np.zeros((len(x), 2), np.float32), None, x)

    return direction(scorer, inside, look, rng=np.random.default_rng(0), count=count), seen[0]


def _brightness(seen):
    return seen.x.mean((1, 2, 3)).round(1).astype(np.float64)


@pytest.fixture
def inside():
    x = np.random.default_rng(1).random((50, 1, 3, 3), dtype=np.float32) ** 2
    return Evidence(np.zeros((50, 2), np.float32), None, x)


def test_direction_is_the_auroc_of_noise(inside):
    """Against scikit-learn, with ties. Catches ID as the positive class and ties that lose."""
    auroc, noise = _direction(_brightness, inside)
    scores = np.concatenate([_brightness(inside), _brightness(Evidence(noise, None, noise))])
    assert auroc == pytest.approx(roc_auc_score(np.repeat([0, 1], [50, 200]), scores))
    assert auroc > 0.7


def test_direction_of_a_flipped_score_is_the_opposite(inside):
    auroc, _ = _direction(_brightness, inside)
    flipped, _ = _direction(lambda seen: -_brightness(seen), inside)
    assert flipped == pytest.approx(1 - auroc)


def test_direction_shows_noise_that_fills_the_box(inside):
    """Catches noise of another shape or range than the images."""
    _, noise = _direction(_brightness, inside)
    assert noise.shape == (200, 1, 3, 3)
    assert noise.dtype == np.float32
    assert noise.min() >= 0
    assert 0.99 < noise.max() <= 1
    assert noise.mean() == pytest.approx(0.5, abs=0.02)
