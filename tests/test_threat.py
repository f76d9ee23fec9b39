"""The perturbation set: geometry by its properties, draws by their closed-form distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.core.errors import InputError, UnknownName
from harness.core.threat import NORMS, Balls, Threat, diameter, distance, dual, steepest, unit_noise

SHAPE = (3, 4, 4)


def images(seed, rows=8, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((rows, *SHAPE), generator=generator, dtype=dtype) * scale


def middle(rows=8, dtype=torch.float64):
    """Grey images: the box is too far to matter for small radii."""
    return torch.full((rows, *SHAPE), 0.5, dtype=dtype)


def push(seed, dtype=torch.float64, rows=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((rows, *SHAPE), generator=generator, dtype=dtype)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), share=st.floats(0.0, 1.0))
def test_a_point_inside_or_on_the_ball_is_not_moved(norm, seed, share):
    """Catches a projection that always lands on the sphere."""
    x = middle()
    delta = push(seed)
    delta = delta / distance(norm, delta).view(-1, 1, 1, 1) * 0.3 * share
    assert torch.allclose(Threat(norm, 0.3).project(x, x + delta), x + delta, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), eps=st.floats(1e-3, 0.4))
def test_a_point_outside_lands_on_the_sphere_and_stays(norm, seed, eps):
    """Catches a radius off by a factor, and a projection that is not idempotent."""
    threat, x = Threat(norm, eps), middle()
    once = threat.project(x, x + 5 * push(seed))
    assert torch.allclose(threat.distance(once - x), torch.full((8,), eps, dtype=x.dtype))
    assert torch.allclose(threat.project(x, once), once, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_the_projection_is_the_nearest_point_of_the_ball(norm):
    """Catches scaling by the norm in linf or l1, where the nearest point lies elsewhere."""
    threat, x = Threat(norm, 0.3), middle()
    delta = push(5)
    mine = threat.project(x, x + delta) - x
    # Variational inequality: the step back makes an obtuse angle with every chord of the ball. The
    # chords to the steepest point decide, since that is where a linear function is largest.
    back = delta - mine
    farthest = 0.3 * steepest(norm, back)
    assert ((back * (farthest - mine)).flatten(1).sum(1) < 1e-9).all()
    assert (distance(norm, mine) > 0.3 - 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_lies_in_the_box_and_in_the_ball(norm):
    """Catches a box clip that is forgotten, or that undoes the ball."""
    threat, x = Threat(norm, 0.7), images(1)
    z = threat.project(x, x + 3 * push(2))
    assert z.min() >= 0
    assert z.max() <= 1
    assert (threat.distance(z - x) <= 0.7 + 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
def test_an_infinite_ball_is_the_box(norm):
    """Catches inf * 0 = NaN."""
    x = images(1)
    moved = x + push(2)
    assert torch.equal(Threat(norm, math.inf).project(x, moved), (x + (moved - x)).clamp(0, 1))
    drawn = Threat(norm, math.inf).sample(x, torch.Generator().manual_seed(0))
    assert drawn.isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_gives_x_itself(norm):
    x = images(1, dtype=torch.float32)
    assert torch.equal(Threat(norm, 0.0).project(x, x + push(2, torch.float32)), x)


@pytest.mark.parametrize("norm", NORMS)
def test_each_row_of_balls_has_the_bits_of_its_own_threat(norm):
    """Catches a radius that is broadcast along pixels, and another order of arithmetic."""
    x, moved = (
        images(1, 5, dtype=torch.float32),
        images(1, 5, dtype=torch.float32) + push(2, torch.float32, 5),
    )
    radii = torch.tensor([0.0, 0.1, 0.3, 1.0, 2.0])
    together = Balls(norm, radii).project(x, moved)
    for row, eps in enumerate(radii):
        alone = Threat(norm, float(eps)).project(x[row : row + 1], moved[row : row + 1])
        assert torch.equal(together[row : row + 1], alone)
    taken = Balls(norm, radii).take(torch.tensor([3, 0])).project(x[[3, 0]], moved[[3, 0]])
    assert torch.equal(taken, together[[3, 0]])


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_has_unit_length_and_gains_the_dual_norm(norm):
    """Catches a direction of the wrong norm: no unit vector gains more (Hoelder, with equality)."""
    gradient = push(3)
    direction = steepest(norm, gradient)
    gain = (gradient * direction).flatten(1).sum(1)
    assert torch.allclose(distance(norm, direction), torch.ones(8, dtype=gradient.dtype))
    assert torch.allclose(gain, dual(norm, gradient))
    order = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    assert torch.allclose(gain, torch.linalg.vector_norm(gradient.flatten(1), order, dim=1))


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_a_zero_direction(norm):
    """Catches 0 / 0."""
    assert torch.equal(steepest(norm, torch.zeros(2, *SHAPE)), torch.zeros(2, *SHAPE))


@pytest.mark.parametrize("norm", NORMS)
def test_noise_is_uniform_in_the_ball(norm):
    """Catches a Gaussian direction with a uniform radius: the radius must be U**(1/d)."""
    like = torch.zeros(4_000, 1, 2, 3, dtype=torch.float64)
    noise = unit_noise(norm, like, torch.Generator().manual_seed(0))
    radius = distance(norm, noise).numpy()
    assert stats.kstest(radius**6, "uniform").pvalue > 1e-3
    signs = (noise > 0).flatten(1).double().mean(0)
    assert (signs - 0.5).abs().max() < 0.04
    spread = noise.flatten(1).abs().mean(0)
    assert spread.max() / spread.min() < 1.1


def test_noise_in_the_cube_has_uniform_coordinates():
    noise = unit_noise("linf", torch.zeros(2_000, 1, 2, 3), torch.Generator().manual_seed(0))
    assert stats.kstest(noise.flatten().numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_is_seeded_and_lies_in_ball_and_box(norm):
    x, threat = images(4, dtype=torch.float32), Threat(norm, 0.3)
    first = threat.sample(x, torch.Generator().manual_seed(7))
    assert torch.equal(first, threat.sample(x, torch.Generator().manual_seed(7)))
    assert not torch.equal(first, threat.sample(x, torch.Generator().manual_seed(8)))
    assert (threat.distance((first - x).double()) <= 0.3 + 1e-6).all()
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_of_the_images_is_kept(norm, dtype):
    x = images(1, dtype=dtype)
    threat = Threat(norm, 0.1)
    assert threat.project(x, x + 1).dtype == dtype
    assert threat.sample(x, torch.Generator().manual_seed(0)).dtype == dtype


def test_distances_by_hand():
    delta = torch.tensor([[[[3.0, -4.0]]]])
    assert [float(distance(norm, delta)) for norm in ("linf", "l2", "l1")] == [4.0, 5.0, 7.0]
    assert [diameter(norm, 4) for norm in ("linf", "l2", "l1")] == [1.0, 2.0, 4.0]


def test_what_is_no_threat_is_refused():
    with pytest.raises(UnknownName, match="linf"):
        Threat("Linf", 0.1)
    for eps in (-0.1, math.nan):
        with pytest.raises(InputError, match="eps"):
            Threat("linf", eps)
