"""The steps of the training pipeline, and what the order of two of them means.

Each test says which wrong implementation it would catch.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from harness import recipes
from harness.core.errors import InputError, UnknownName
from harness.core.rng import torch_rng
from harness.core.types import Use
from harness.recipes import Batch, compose

EPS = 0.1


def batch(n=8, classes=3, attacked=0, side=8):
    rng = torch_rng(0, "batch")
    x = 0.3 + 0.4 * torch.rand(n, 1, side, side, generator=rng)
    y = torch.eye(classes)[torch.arange(n) % classes]
    return Batch(x, y, attacked)


def linear(x):
    """Three classes whose logits have a known, nowhere zero input gradient."""
    ramp = torch.linspace(0.5, 1.5, x[0].numel())
    return torch.stack([x.flatten(1) @ ramp, -(x.flatten(1) @ ramp), 0 * x.flatten(1).sum(1)], 1)


def run(uses, given, seed=0, progress=1.0, model=linear):
    recipe = compose(uses)
    rngs = [torch_rng(seed, index) for index in range(len(recipe.steps))]
    given = Batch(given.x, given.y, recipe.attacked(len(given.x)))
    return recipe(given, model=model, progress=progress, rngs=rngs)


CUTOUT = Use("cutout", {"size": 4})
MIXUP = Use("mixup", {"alpha": 0.5})
PGD = Use("pgd", {"eps": EPS, "steps": 3, "portion": 0.5})
FGSM = Use("fgsm", {"eps": EPS, "portion": 0.5})


# ---------------------------------------------------------------- CutOut


def test_cutout_zeroes_squares_of_the_given_size_and_nothing_else():
    """Catches a square of the wrong side, one per batch, and pixels changed outside."""
    given = batch(n=200, side=20)
    out = recipes.cutout(given, count=1, size=5, rng=torch_rng(1))
    hidden = out.x[:, 0] == 0
    assert torch.equal(out.x[~hidden[:, None]], given.x[~hidden[:, None]])
    assert torch.equal(out.y, given.y)
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns), "not rectangles"
    assert rows.max() == columns.max() == 5
    assert (hidden.sum((1, 2)) == 25).float().mean() > 0.5
    assert len({tuple(image.flatten().tolist()) for image in hidden}) > 100


def test_cutout_centres_are_uniform_over_the_image():
    """Catches squares kept inside the image, whose border pixels would hardly ever be hidden.

    A pixel is hidden if the centre falls within the square round it: the share is the product of
    the two interval lengths over the area (DeVries and Taylor let squares hang over the border).
    """
    given = Batch(torch.ones(20_000, 1, 6, 6), torch.zeros(20_000, 2))
    share = (recipes.cutout(given, count=1, size=3, rng=torch_rng(2)).x == 0).float().mean((0, 1))
    line = torch.tensor([2.0, 3.0, 3.0, 3.0, 3.0, 2.0]) / 6
    torch.testing.assert_close(share, line[:, None] * line[None, :], atol=0.015, rtol=0)


def test_cutout_takes_a_number_of_squares():
    """Catches one square for all counts: the expected share of zeros grows as 1 - (1 - p)^count."""
    given = Batch(torch.ones(4000, 1, 12, 12), torch.zeros(4000, 2))
    shares = [
        (recipes.cutout(given, count=count, size=4, rng=torch_rng(3)).x == 0)
        .float()[..., 6, 6]
        .mean()
        for count in (0, 1, 4)
    ]
    one = 16 / 144
    np.testing.assert_allclose(shares, [0, one, 1 - (1 - one) ** 4], atol=0.025)


# ---------------------------------------------------------------- MixUp


def test_mixup_mixes_images_and_labels_with_one_weight():
    """Catches labels mixed with another weight or partner than the images."""
    n = 64
    given = Batch(torch.eye(n).view(n, 1, 8, 8), torch.eye(n))
    out = recipes.mixup(given, alpha=1.0, rng=torch_rng(0))
    assert torch.equal(out.x.flatten(1), out.y)
    torch.testing.assert_close(out.y.sum(1), torch.ones(n))
    assert ((out.y > 0).sum(1) == 2).float().mean() > 0.9
    assert len(set(out.y.amax(1).tolist())) > n / 2, "one weight for the whole batch"


def test_mixup_weights_are_beta():
    """Catches uniform weights: alpha 0.2 and 5 differ from each other and match SciPy's Beta."""
    n = 4000
    given = Batch(torch.zeros(n, 1, 1, 1), torch.eye(2).repeat(n // 2, 1))
    for alpha in (0.2, 5.0):
        out = recipes.mixup(given, alpha=alpha, rng=torch_rng(1)).y
        mixed = out[(out > 0).all(1)]
        own = given.y[(out > 0).all(1)].bool()
        assert stats.kstest(mixed[own].numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("attacked", [0, 3, 8])
def test_mixup_partners_come_from_the_same_part(attacked):
    """Catches a permutation over the whole batch: attacked and other images would mix."""
    part = torch.zeros(8)
    part[:attacked] = 1
    for seed in range(20):
        given = Batch(part.view(8, 1, 1, 1), torch.eye(8), attacked)
        out = recipes.mixup(given, alpha=1.0, rng=torch_rng(seed))
        assert torch.equal(out.x.flatten(), part)
        assert not out.y[:attacked, attacked:].any()
        assert not out.y[attacked:, :attacked].any()


# ---------------------------------------------------------------- attacks


def test_fgsm_takes_one_step_of_the_budget_along_the_sign():
    """Catches a wrong sign, a step that is not eps, and a start that is not x."""
    given = batch(n=3, attacked=3)
    out = run([Use("fgsm", {"eps": EPS})], given)
    # The loss of class 0 falls with x along the ramp, that of class 1 rises.
    expected = given.x + EPS * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(out.x[:2], expected[:2])


def test_pgd_reaches_the_best_corner_of_the_ball_from_a_random_start():
    """Catches a projection left out or round the wrong point: 2.5 eps of steps end at the corner."""
    given = batch(n=2)
    out = run([Use("pgd", {"eps": EPS, "steps": 7})], given)
    expected = given.x + EPS * torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(out.x, expected)


def test_pgd_starts_at_random_and_fgsm_at_the_image():
    given = batch(n=6)
    starts = []

    def model(x):
        starts.append(x.detach().clone())
        return linear(x)

    run([Use("fgsm", {"eps": EPS})], given, model=model)
    run([Use("fgsm", {"eps": EPS, "restarts": 1})], given, model=model)
    run([Use("pgd", {"eps": EPS, "steps": 1})], given, model=model)
    run([Use("pgd", {"eps": EPS, "steps": 1, "restarts": 0})], given, model=model)
    assert [torch.equal(start, given.x) for start in starts] == [True, False, False, True]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_attacks_stay_in_ball_and_box(norm):
    """Catches a missing projection in any norm, and images that leave [0, 1]."""
    given = Batch(torch.rand(16, 1, 6, 6, generator=torch_rng(0)).round(), batch(16).y)
    eps = {"linf": 0.3, "l2": 1.0, "l1": 4.0}[norm]
    for name in ("fgsm", "pgd"):
        out = run([Use(name, {"eps": eps, "norm": norm})], given).x
        order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
        distance = torch.linalg.vector_norm((out - given.x).double().flatten(1), ord=order, dim=1)
        assert distance.max() <= eps * (1 + 1e-5)
        assert distance.max() > 0.2 * eps
        assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("use", [FGSM, PGD])
@pytest.mark.parametrize(("portion", "count"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_named_portion_of_the_batch_is_attacked(use, portion, count):
    """Catches a portion applied as a probability, to the rest, or not at all."""
    given = batch()
    out = run([Use(use.name, {**use.params, "portion": portion})], given)
    changed = (out.x != given.x).flatten(1).any(1)
    assert changed[:count].all()
    assert not changed[count:].any()


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_the_budget_grows_over_the_ramp(name):
    """Catches a ramp that is ignored, or that never ends."""
    given = batch(n=4)

    def reach(progress):
        out = run([Use(name, {"eps": EPS, "ramp": 0.5})], given, progress=progress)
        return float((out.x - given.x).abs().max())

    assert [round(reach(p), 5) for p in (0.0, 0.25, 0.5, 1.0)] == [0, 0.05, 0.1, 0.1]
    out = run([Use(name, {"eps": EPS, "ramp": 0})], given, progress=0.0)
    assert float((out.x - given.x).abs().max()) == pytest.approx(EPS, rel=1e-5)


def test_a_given_step_size_is_that_at_the_full_budget():
    """Catches a step size in units of eps."""
    given = batch(n=2)
    use = Use("pgd", {"eps": EPS, "steps": 1, "step_size": 0.02, "restarts": 0, "ramp": 0.5})
    for progress, size in ((1.0, 0.02), (0.25, 0.01)):
        out = run([use], given, progress=progress)
        assert float((out.x - given.x).abs().max()) == pytest.approx(size, rel=1e-4)


def test_attacks_climb_the_loss_on_soft_labels():
    """Catches the attack on hardened labels: at 45 : 55 of classes 0 and 1 the gradient flips."""
    x = torch.full((2, 1, 2, 2), 0.5)
    y = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])

    def even(images):
        s = images.flatten(1).sum(1) - 2.0  # zero at x: softmax is uniform there
        return torch.stack([s, -s, 0 * s], 1)

    out = run([Use("fgsm", {"eps": EPS})], Batch(x, y), model=even).x
    assert torch.equal((out - x).sign()[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))
    close = Batch(x, torch.tensor([[0.4, 0.35, 0.25], [0.35, 0.4, 0.25]]))
    out = run([Use("fgsm", {"eps": EPS})], close, model=even).x
    assert torch.equal((out - x).sign()[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))


# ---------------------------------------------------------------- orders


def squares(seed, index, given):
    """Where cutout, at place `index` of a recipe run with `seed`, puts its squares."""
    ones = Batch(torch.ones_like(given.x), given.y)
    return recipes.cutout(ones, count=1, size=4, rng=torch_rng(seed, index)).x == 0


@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_attack_then_cutout_leaves_the_squares_at_zero(attack):
    """Catches the orders swapped: after the augmentation nobody touches the squares."""
    given = batch()
    out = run([attack, CUTOUT], given)
    hidden = squares(0, 1, given)
    assert hidden.any()
    assert not out.x[hidden].any()
    assert (out.x != given.x)[:4][~hidden[:4]].any(), "nothing was attacked"


@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_cutout_then_attack_may_fill_the_squares_and_stays_round_the_augmented_image(attack):
    """Catches the ball laid round the original image: its pixels in a square lie beyond eps of 0."""
    given = batch()
    out = run([CUTOUT, attack], given)
    hidden = squares(0, 0, given)
    augmented = given.x.masked_fill(hidden, 0)
    assert (out.x - augmented).abs().max() <= EPS + 1e-6
    assert out.x[:4][hidden[:4]].any(), "no square was filled again"
    assert torch.equal(out.x[4:], augmented[4:]), "the rest is only augmented"


def test_attack_then_mixup_mixes_attacked_images():
    """Catches the attack on mixed images: mixtures of the attacked corners are to come out."""
    given = batch()
    attacked = run([PGD], given)
    out = run([PGD, MIXUP], given)
    again = recipes.mixup(Batch(attacked.x, given.y, 4), alpha=0.5, rng=torch_rng(0, 1))
    assert torch.equal(out.x, again.x)
    assert torch.equal(out.y, again.y)


def test_mixup_then_attack_searches_round_the_mixture_with_its_labels():
    """Catches partners drawn over the whole batch before the attack, and hard labels."""
    given = batch()
    seen = []

    def model(x):
        seen.append(len(x))
        return linear(x)

    out = run([MIXUP, PGD], given, model=model)
    mixed = recipes.mixup(Batch(given.x, given.y, 4), alpha=0.5, rng=torch_rng(0, 0))
    assert torch.equal(out.y, mixed.y)
    assert torch.equal(out.x[4:], mixed.x[4:])
    assert (out.x - mixed.x)[:4].abs().max() == pytest.approx(EPS, rel=1e-4)
    assert seen == [4, 4, 4], "only the portion costs gradients"


def test_a_step_put_before_another_does_not_shift_its_numbers():
    """Catches one generator for all steps."""
    recipe = compose([CUTOUT, MIXUP])
    given = batch()
    rngs = [torch_rng(0, "a"), torch_rng(0, "b")]
    both = recipe(given, model=linear, progress=1.0, rngs=rngs)
    alone = compose([MIXUP])(given, model=linear, progress=1.0, rngs=[torch_rng(0, "b")])
    assert torch.equal(both.y, alone.y)


def test_steps_leave_the_batch_they_were_given_alone():
    """Catches augmentation in place: the training images themselves would fill with squares."""
    given = batch()
    x, y = given.x.clone(), given.y.clone()
    for uses in ([CUTOUT, PGD], [FGSM, MIXUP]):
        run(uses, given)
    assert torch.equal(given.x, x)
    assert torch.equal(given.y, y)


# ---------------------------------------------------------------- the list of steps


def test_no_steps_leave_the_batch_as_it_is():
    given = batch()
    out = run([], given)
    assert out.x is given.x
    assert compose([]).threat is None


def test_a_recipe_knows_its_threat():
    recipe = compose([CUTOUT, Use("pgd", {"eps": 0.2, "norm": "l2", "ramp": 0.5})])
    assert (recipe.threat.norm, recipe.threat.eps, recipe.ramp) == ("l2", 0.2, 0.5)


@pytest.mark.parametrize(
    ("uses", "says"),
    [
        ([PGD, FGSM], "one attack"),
        ([Use("pgd", {"portion": 1.5})], "portion"),
        ([Use("fgsm", {"ramp": -0.1})], "ramp"),
        ([Use("pgd", {"eps": -1})], "eps"),
        ([Use("pgd", {"step": 3})], "steps"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(uses, says):
    with pytest.raises(InputError, match=says):
        compose(uses)


def test_an_unknown_step_names_the_nearest():
    with pytest.raises(UnknownName, match="cutout"):
        compose([Use("cut-out")])


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (Use("cutout", {"size": -1}), "cutout"),
        (Use("mixup", {"alpha": 0}), "alpha"),
        (Use("pgd", {"steps": 0}), "step"),
    ],
)
def test_parameters_that_cannot_be_are_refused(use, says):
    with pytest.raises(InputError, match=says):
        run([use], batch())
