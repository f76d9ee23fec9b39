"""What every attack of every wrapped library must keep, as tables over the registry.

The in-house attacks are the reference in lockstep; nothing of the libraries' own tests is used.
"""

import inspect
import json
import math
import random
import sys

import numpy as np
import pytest
import small_nets
import torch
from small_nets import Net, Scaled, held_out, robust, robust_accuracy, saturated, standard
from torch import nn

from harness.attacks.runner import run_attack
from harness.core.errors import InputError, MissingLibrary, UnknownName
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.core.translation import Call, sealed

PLUGS = [plug for plug in registry.plugs("attack") if plug.library]
NAMED = [plug for plug in PLUGS if plug.concept != "any"]
CASES = [(plug, norm) for plug in NAMED for norm in plug.meta["norms"]]
STARTS = [(plug, norm) for plug, norm in CASES if plug.meta["start"] and norm != "l1"]
EPS = {"linf": 0.15, "l2": 2.0, "l1": 20.0}
CHEAP = {
    "steps": 5,
    "queries": 20,
    "search_steps": 2,
    "restarts": 1,
    "const": 10.0,
    "step_size": None,
    "deepfool_steps": 5,
}
LIBRARIES = ["torchattacks", "art", "foolbox", "autoattack"]


def _name(value):
    return value if isinstance(value, str) else value.name


def _params(plug, **changes):
    """Cheap parameters where the plug has them; `step_size` of a minimum-norm attack is Adam's."""
    known = {p.name: p for p in plug.parameters}
    cheap = {n: v for n, v in CHEAP.items() if n in known and not (v is None and known[n].default)}
    return plug.complete(cheap | {n: v for n, v in changes.items() if n in known})


def _attack(plug, model, x, y, threat, *, seed=0, noise=None, **changes):
    """The plug's own images, before the runner projects or judges."""
    given = {} if noise is None else {"noise": noise}
    rng = torch.Generator().manual_seed(seed)
    found = plug.function(model, x, y, threat, rng=rng, **_params(plug, **changes), **given)
    return found[0] if isinstance(found, tuple) else found


def _noise(x, eps, seed=3):
    return (torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * eps


@pytest.fixture(autouse=True)
def _installed(request):
    plug = request.node.callspec.params.get("plug") if hasattr(request.node, "callspec") else None
    if plug is not None:
        try:
            plug.require()
        except MissingLibrary as missing:
            pytest.skip(str(missing))


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_the_result_lies_in_ball_and_box_by_our_measure(plug, norm):
    """Catches an adapter that hands over eps in another unit, or the unclipped images."""
    x, y = held_out(8)
    found = run_attack(plug, _params(plug), robust(), x, y, Threat(norm, EPS[norm]), seed=0)
    assert found.violations == 0, f"worst excess {found.worst}"
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    if plug.meta["goal"] == "maximise":
        delta = found.x_adv.double() - x.double()
        assert Threat(norm, 1.0).distance(delta).max() <= EPS[norm] * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_an_empty_ball_gives_the_images_themselves(plug, norm):
    """Catches NaN from a division by eps, and ART's refusal of a step of 0."""
    x, y = held_out(4)
    assert torch.equal(_attack(plug, standard(), x, y, Threat(norm, 0.0)), x)


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_it_beats_noise_of_the_same_size(plug, norm):
    """Catches a wrong sign, a wrong label and an attack that returns its input."""
    if norm == "l1" and (plug.concept == "fgsm" or plug.name in ("art/pgd", "art/mifgsm")):
        pytest.skip("an L1 step moves one pixel, or all by next to nothing: A15 of the catalogue")
    if plug.name == "art/square" and norm == "l2":
        pytest.skip("it divides by the budget where it should multiply: A14 of the catalogue")
    x, y = held_out(32)
    threat, net = Threat(norm, EPS[norm]), standard()
    noise = threat.sample(x, torch.Generator().manual_seed(1))
    rows = slice(0, 8 if plug.name == "torchattacks/deepfool" else 32)  # one image at a time
    more = {"steps": 100, "queries": 100, "search_steps": 1, "deepfool_steps": 20}
    if plug.name not in ("torchattacks/cw", "foolbox/cw"):  # plain Adam needs more of them
        more["steps"] = 20
    found = run_attack(plug, _params(plug, **more), net, x[rows], y[rows], threat, seed=0)
    missed = found.success & (found.distance <= threat.eps * (1 + 1e-6) + 1e-6)
    blind = 1 - robust_accuracy(net, noise[rows], y[rows])
    assert missed.mean() >= blind + 0.15


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_no_wrong_row_is_led_back_to_its_label(plug, norm):
    """Catches y=None in ART, which attacks the predictions, and its DeepFool, which ignores y."""
    x, y = held_out(128)
    with torch.no_grad():
        wrong = standard()(x).argmax(1) != y
    assert wrong.sum() >= 5
    found = _attack(plug, standard(), x[wrong], y[wrong], Threat(norm, EPS[norm]))
    with torch.no_grad():
        assert (standard()(found).argmax(1) != y[wrong]).all()


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_model_generators_and_tracer_are_untouched_without_the_runner(plug):
    """Catches libraries that call eval() or train(), leave gradients, seed or stop the tracer."""
    module = nn.Sequential(small_nets.untrained(), nn.BatchNorm1d(10), nn.Dropout(0.0))
    module.train().requires_grad_(False)
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    norm = plug.meta["norms"][0]
    x, y = held_out(4)

    def tracer(*_):
        return None

    old, kept = sys.gettrace(), (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002
    state = torch.random.get_rng_state()
    sys.settrace(tracer)
    try:
        _attack(plug, Net(module), x, y, Threat(norm, EPS[norm]))
        seen = sys.gettrace()
    finally:
        sys.settrace(old)
    assert seen is tracer
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == kept  # noqa: NPY002
    assert [part.training for part in module.modules()] == modes
    assert all(w.grad is None and not w.requires_grad for w in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_a_crash_of_the_model_is_seen_and_leaves_no_trace(plug):
    """Catches an adapter that answers a crash with clean images, or keeps a patched module."""

    class Crash(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError("the model")

    norm = plug.meta["norms"][0]
    x, y = held_out(4)
    with pytest.raises(ZeroDivisionError, match="the model"):
        _attack(plug, Net(Crash()), x, y, Threat(norm, EPS[norm]))


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_the_same_stream_gives_the_same_images(plug):
    """Catches time.time() as a seed, and a library whose generator is not seeded."""
    norm = plug.meta["norms"][0]
    x, y = held_out(4)
    threat = Threat(norm, EPS[norm])
    assert torch.equal(*(_attack(plug, robust(), x, y, threat, seed=5) for _ in range(2)))


RANDOM = [p for p in NAMED if p.concept in ("pgd", "apgd", "square")]


@pytest.mark.parametrize("plug", RANDOM, ids=_name)
def test_another_stream_gives_other_images(plug):
    """Catches a constant seed: restarts in a suite would all be the same.

    Square hands back the clean image of every sample that does not fall, so that the ball is one in
    which some do.
    """
    x, y = held_out(16)
    threat, net = Threat("linf", 0.3 if plug.concept == "square" else 0.05), standard()
    first, second = (_attack(plug, net, x, y, threat, seed=s, steps=1) for s in (1, 2))
    moved = (first != x).flatten(1).any(1) & (second != x).flatten(1).any(1)
    assert moved.sum() >= 3
    assert not torch.equal(first[moved], second[moved])


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_nothing_is_printed(plug, capfd):
    norm = plug.meta["norms"][0]
    x, y = held_out(4)
    _attack(plug, robust(), x, y, Threat(norm, EPS[norm]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_the_input_is_not_written_to(plug):
    norm = plug.meta["norms"][0]
    x, y = held_out(4)
    x_before, y_before = x.clone(), y.clone()
    _attack(plug, standard(), x, y, Threat(norm, EPS[norm]))
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)


@pytest.mark.parametrize("plug", [p for p in NAMED if len(p.meta["norms"]) < 3], ids=_name)
def test_a_norm_that_it_has_not_is_refused(plug):
    other = next(n for n in ("linf", "l2", "l1") if n not in plug.meta["norms"])
    x, y = held_out(2)
    with pytest.raises(InputError, match=other):
        _attack(plug, standard(), x, y, Threat(other, 1.0))


# ---------------------------------------------------------------- translations


def _classes(how):
    """(class, its arguments) of a translation, and of the attacks that it composes."""
    module, _, name = how["target"].rpartition(".")
    owner = pytest.importorskip(module)
    yield getattr(owner, name), how["arguments"]
    for part in how["arguments"].get("attacks") or []:
        if isinstance(part, dict):
            yield from _classes(part)


SUPPLIED = {"model", "predict", "estimator", "classifier", "device"}


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_no_default_of_the_library_decides_anything(plug, norm):
    """Catches a translation that forgets a parameter of the library's class."""
    call = Call()
    how = plug.meta["translation"](Threat(norm, 0.3), call, **plug.complete({})).plain()
    for kind, given in _classes(how):
        known = set(inspect.signature(kind).parameters) - SUPPLIED
        assert set(given) == known, kind


def test_the_model_wrapper_of_art_is_translated_completely():
    from art.estimators.classification import PyTorchClassifier

    how = registry.get("attack", "art/pgd").meta["translation"](Threat("linf", 0.3), Call())
    assert set(how.model) == set(inspect.signature(PyTorchClassifier).parameters) - {"model"}


@pytest.mark.parametrize(("plug", "norm"), CASES, ids=_name)
def test_a_translation_is_plain_data_and_is_what_is_shown(plug, norm):
    how = plug.meta["translation"](Threat(norm, 0.3), Call(), **plug.complete({}))
    assert json.loads(json.dumps(how.plain())) == how.plain()
    assert how.target in plug.meta["translate"](plug)


OTHER = {
    "restarts": 3,
    "attacks": ["square"],
    "seed": 77,
    "loss": "dlr",
    "version": "rand",
    "reduction": "mean",
    "variant": "numpy",
}


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_every_parameter_changes_the_translation(plug):
    """Catches an option that does nothing."""
    norm = plug.meta["norms"][0]
    translate, defaults = plug.meta["translation"], plug.complete({})
    usual = translate(Threat(norm, 0.3), Call(), **defaults).plain()
    for parameter in plug.parameters:
        name, default = parameter.name, parameter.default
        other = OTHER.get(name)
        if name == "loss" and plug.concept == "square":
            other = "ce"
        if other is None:
            other = (not default) if isinstance(default, bool) else (default or 0.05) / 2
            other = (
                int(other) if isinstance(default, int) and not isinstance(default, bool) else other
            )
        changed = translate(Threat(norm, 0.3), Call(), **{**defaults, name: other}).plain()
        assert changed != usual, name


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_the_radius_is_translated_as_it_is(plug):
    """Catches eps read as 0-255, and a step that does not follow it."""
    norm = plug.meta["norms"][0]
    if plug.meta["goal"] == "minimise":
        pytest.skip("a minimum-norm attack takes no radius")
    how = plug.meta["translation"](Threat(norm, 0.3), Call(), **plug.complete({}))
    given = how.call.get("epsilons", how.arguments.get("eps"))
    assert given == 0.3
    assert type(given) is float  # ART refuses NumPy's and an int in place of it


@pytest.mark.parametrize("plug", NAMED, ids=_name)
def test_an_infinite_ball_is_the_whole_box(plug):
    norm = plug.meta["norms"][0]
    if plug.meta["goal"] == "minimise":
        pytest.skip("a minimum-norm attack takes no radius")
    how = plug.meta["translation"](Threat(norm, math.inf), Call(), **plug.complete({}))
    assert math.isfinite(how.call.get("epsilons", how.arguments.get("eps")))


# ---------------------------------------------------------------- any attack of theirs

ANY = [
    ("torchattacks/any", "NIFGSM", {"alpha": 0.03, "steps": 5}),
    ("torchattacks/any", "VMIFGSM", {"alpha": 0.03, "steps": 3}),
    ("art/any", "NewtonFool", {"max_iter": 3}),
    ("art/any", "AutoConjugateGradient", {"max_iter": 3, "nb_random_init": 1}),
    ("foolbox/any", "LinfAdamPGD", {"steps": 5, "rel_stepsize": 0.2}),
    ("foolbox/any", "InversionAttack", {}),
    ("foolbox/any", "L2FMNAttack", {"steps": 20}),
    ("autoattack/any", "FABAttack_PT", {"n_iter": 3}),
    ("autoattack/any", "APGDAttack_targeted", {"n_iter": 3}),
]


@pytest.mark.parametrize(("name", "attack", "params"), ANY)
def test_any_attack_of_theirs_can_be_named(name, attack, params):
    plug = registry.get("attack", name)
    x, y = held_out(8)
    use = {"attack": attack, "params": params}
    found = run_attack(plug, use, standard(), x, y, Threat("linf", 0.3), seed=0)
    assert found.distance.max() <= 0.3 + 1e-6
    assert not torch.equal(found.x_adv, x)


def test_any_attack_fills_in_the_radius_and_keeps_what_is_given():
    translate = registry.get("attack", "torchattacks/any").meta["translation"]
    filled = translate(Threat("linf", 0.25), Call(seed=9), attack="PGD", params={"steps": 3})
    assert filled.arguments == {"eps": 0.25, "alpha": 2 / 255, "steps": 3, "random_start": True}
    kept = translate(Threat("linf", 0.25), Call(), attack="PGD", params={"eps": 0.1})
    assert kept.arguments["eps"] == 0.1


MISNAMED = [
    ("torchattacks/any", "TIFGMS", "TIFGSM"),
    ("art/any", "NewtonFol", "NewtonFool"),
    ("foolbox/any", "LinfPDG", "LinfPGD"),
    ("autoattack/any", "SquareAtack", "SquareAttack"),
]


@pytest.mark.parametrize(("name", "given", "meant"), MISNAMED)
def test_an_unknown_attack_names_the_nearest(name, given, meant):
    translate = registry.get("attack", name).meta["translation"]
    with pytest.raises(UnknownName, match=f"Did you mean '{meant}'"):
        translate(Threat("linf", 0.1), Call(), attack=given)


MISARGUED = [
    ("torchattacks/any", "TIFGSM", "step", "steps"),
    ("art/any", "NewtonFool", "max_itr", "max_iter"),
    ("foolbox/any", "LinfPGD", "stps", "steps"),
    ("autoattack/any", "SquareAttack", "n_query", "n_queries"),
]


@pytest.mark.parametrize(("name", "attack", "given", "meant"), MISARGUED)
def test_an_unknown_argument_names_the_nearest(name, attack, given, meant):
    translate = registry.get("attack", name).meta["translation"]
    with pytest.raises(InputError, match=f"Did you mean '{meant}'"):
        translate(Threat("linf", 0.1), Call(), attack=attack, params={given: 3})


def test_wrappers_and_base_classes_are_no_attacks():
    for name, attack in (("torchattacks/any", "LGV"), ("foolbox/any", "Attack")):
        with pytest.raises(UnknownName, match=attack):
            registry.get("attack", name).meta["translation"](
                Threat("linf", 0.1), Call(), attack=attack
            )


# ---------------------------------------------------------------- the library sees our model


@pytest.mark.parametrize("library", LIBRARIES)
def test_parity_of_logits_and_gradient(library):
    """H08: catches a wrapper that normalises twice, drops a layer or takes softmax for logits."""
    found = {each.name: each for each in registry.libraries()}[library]
    if not found.installed:
        pytest.skip(f"{library} is not installed")
    x, y = held_out(16)
    logits, gradient = found.parity(standard(), x, y)
    with torch.no_grad():
        assert torch.equal(logits, standard()(x))
    assert torch.equal(gradient, small_nets.gradient(standard(), x, y))


class Inverted(nn.Sequential):
    """What ART would call without our seal: it skips the `forward` of a Sequential."""

    def forward(self, x):
        return super().forward(1 - x)


@pytest.mark.parametrize("library", LIBRARIES)
def test_parity_holds_for_a_sequential_with_a_forward_of_its_own(library):
    found = {each.name: each for each in registry.libraries()}[library]
    if not found.installed:
        pytest.skip(f"{library} is not installed")
    model = Net(Inverted(*standard().module).eval())
    x, y = held_out(4)
    logits, _ = found.parity(model, x, y)
    with torch.no_grad():
        assert torch.equal(logits, model(x))


def test_a_sealed_model_has_nothing_to_change():
    module = sealed(Net(small_nets.untrained()), torch.zeros(1))
    assert [weight.requires_grad for weight in module.parameters()] == [False]
    module.train()
    assert not list(module.buffers())


def test_lifted_logits_have_the_same_gradient_of_every_difference():
    x, _ = held_out(4)
    net = Net(Scaled(standard().module, offset=-100.0))
    lifted = sealed(net, x, lift=True)
    assert lifted(x).amin() == 0
    point = x.clone().requires_grad_()
    for module in (lifted, net):
        logits = module(point)
        gap = (logits[:, 0] - logits[:, 1]).sum()
        (gradient,) = torch.autograd.grad(gap, point)
        assert torch.allclose(
            gradient,
            torch.autograd.grad((standard()(point)[:, 0] - standard()(point)[:, 1]).sum(), point)[
                0
            ],
            atol=1e-5,
        )


# ---------------------------------------------------------------- lockstep


class Ensemble(nn.Module):
    """Logarithm of the mean softmax of two networks."""

    def __init__(self, *members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        probs = torch.stack([member(x).softmax(1) for member in self.members])
        return probs.mean(0).log()


def _ensemble():
    return Net(Ensemble(standard().module, robust().module).eval())


NETS = {"standard": standard, "robust": robust, "ensemble": _ensemble}
LOCKSTEP = [("fgsm", {}), ("pgd", {"steps": 20, "step_size": 0.02, "restarts": 0})]


@pytest.mark.parametrize("library", ["torchattacks", "art", "foolbox"])
@pytest.mark.parametrize(("concept", "params"), LOCKSTEP, ids=["fgsm", "pgd"])
@pytest.mark.parametrize("start", [False, True], ids=["at x", "given start"])
@pytest.mark.parametrize("net", NETS)
def test_linf_ascent_is_equal_bit_for_bit(library, concept, params, start, net):
    """Against the textbook formula in tests/small_nets.py, in a batch of 64.

    Catches any difference of start, step, projection, order or last step; 64 is a power of two, so
    that a mean and a sum differ by an exact factor.
    """
    x, y = held_out(64)
    eps, model = 0.3, NETS[net]()
    noise = _noise(x, eps) if start else None
    begin = (x + noise).clamp(0, 1) if start else x
    pace = (eps, eps, 1) if concept == "fgsm" else (eps, 0.02, 20)
    expected = small_nets.pgd(model, x, y, *pace, start=begin)
    plug = registry.get("attack", f"{library}/{concept}")
    found = plug.function(
        model,
        x,
        y,
        Threat("linf", eps),
        rng=torch.Generator(),
        **plug.complete(params),
        noise=noise,
    )
    found = found[0] if isinstance(found, tuple) else found
    assert torch.equal(found, expected)
    assert not torch.equal(
        found, small_nets.pgd(model, x, y, eps, pace[1] * 0.99, pace[2], start=begin)
    )


@pytest.mark.parametrize("variant", ["torch", "numpy"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_both_variants_of_art_agree_with_the_formula(variant, reduction):
    x, y = held_out(64)
    expected = small_nets.pgd(robust(), x, y, 0.3, 0.05, 5, reduction=reduction)
    plug = registry.get("attack", "art/pgd")
    changes = {"restarts": 0, "step_size": 0.05, "variant": variant, "reduction": reduction}
    assert torch.equal(_attack(plug, robust(), x, y, Threat("linf", 0.3), **changes), expected)


@pytest.mark.parametrize(("plug", "norm"), STARTS, ids=_name)
def test_a_given_start_is_where_it_starts(plug, norm):
    """Catches noise that is ignored, drawn afresh, scaled, or given to the wrong rows."""

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = None

        def forward(self, x):
            if x.requires_grad and self.first is None:
                self.first = x.detach().clone()
            return standard().module(x)

    x, y = held_out(24)
    noise, watched = _noise(x, 0.01), Watched()
    _attack(plug, Net(watched), x, y, Threat(norm, 1.0), noise=noise)
    expected = (x + noise).clamp(0, 1)
    with torch.no_grad():
        right = standard()(x).argmax(1) == y
    assert not right.all()
    if plug.concept == "apgd":  # rows that are wrong already take no part
        expected = expected[right]
    if plug.name == "art/apgd":  # projects the start, which rounds
        assert torch.allclose(watched.first, expected, atol=1e-7)
    else:
        assert torch.equal(watched.first, expected)


@pytest.mark.parametrize("plug", [p for p in NAMED if not p.meta["start"]], ids=_name)
def test_a_start_that_cannot_be_given_is_refused(plug):
    x, y = held_out(2)
    norm = plug.meta["norms"][0]
    with pytest.raises(InputError, match="noise"):
        run_attack(plug, _params(plug), standard(), x, y, Threat(norm, 1.0), seed=0, noise=x)


@pytest.mark.parametrize("library", ["torchattacks", "art", "foolbox"])
@pytest.mark.parametrize("start", [False, True], ids=["at x", "given start"])
def test_l2_ascent_has_the_outcomes_of_ours(library, start):
    """Rounding differs in L2 and is amplified, so images are compared by the median row only."""
    x, y = held_out(64)
    noise = _noise(x, 0.02) if start else None
    ours = registry.get("attack", "pgd")
    theirs = registry.get("attack", f"{library}/pgd")
    params = {"steps": 20, "step_size": 0.2, "restarts": 0}
    images = [
        _attack(plug, robust(), x, y, Threat("l2", 1.5), noise=noise, **params)
        for plug in (ours, theirs)
    ]
    accuracies = [robust_accuracy(robust(), found, y) for found in images]
    assert abs(accuracies[0] - accuracies[1]) <= 1 / 64
    far = (images[0] - images[1]).abs().flatten(1).amax(1).median()
    assert far < (0.05 if library == "art" else 1e-4)  # ART clips before it projects: A5


def test_saturated_rows_are_the_only_ones_that_mean_and_sum_tell_apart():
    """Dividing by 64 underflows where the gradient is tiny: those rows are counted, not hidden."""
    x, y = held_out(64)
    net = saturated()
    plug = registry.get("attack", "art/fgsm")
    summed, mean = (
        _attack(plug, net, x, y, Threat("linf", 0.3), reduction=r) for r in ("sum", "mean")
    )
    differ = (summed != mean).flatten(1).any(1)
    tiny = small_nets.gradient(net, x, y).abs().flatten(1).amin(1) < 64 * 1.2e-38
    assert (differ <= tiny).all()


# ---------------------------------------------------------------- restarts and claims


@pytest.mark.parametrize("library", ["torchattacks", "art", "foolbox"])
def test_restarts_break_no_fewer_samples(library):
    """Catches restarts that overwrite a success by a later failure."""
    x, y = held_out(64)
    plug = registry.get("attack", f"{library}/pgd")
    once, often = (
        run_attack(
            plug,
            {"steps": 1, "step_size": 0.05, "restarts": n},
            robust(),
            x,
            y,
            Threat("linf", 0.2),
            seed=0,
        ).success
        for n in (1, 6)
    )
    assert (once <= often).all()
    assert once.sum() < often.sum()


def test_a_library_claims_what_it_claims():
    """Catches an adapter that passes our own judgement off as the library's claim."""
    x, y = held_out(16)
    plug = registry.get("attack", "foolbox/pgd")
    found = run_attack(plug, {"steps": 5}, standard(), x, y, Threat("linf", 0.15), seed=0)
    assert (found.claimed == found.success).all()
    none = registry.get("attack", "torchattacks/pgd")
    assert run_attack(none, {}, standard(), x, y, Threat("linf", 0.1), seed=0).claimed is None


def test_foolbox_says_what_is_wrong_with_the_input():
    x, y = held_out(4)
    plug = registry.get("attack", "foolbox/fgsm")
    with pytest.raises(InputError, match=r"images must lie in \[0, 1\], got \[0.0, 1.00000"):
        _attack(plug, standard(), x + (x == x.max()) * 2e-7, y, Threat("linf", 0.1))


@pytest.mark.parametrize(
    "plug", [p for p in NAMED if p.library.name in ("art", "autoattack")], ids=_name
)
def test_libraries_that_cast_refuse_float64(plug):
    x, y = held_out(2)
    norm = plug.meta["norms"][0]
    with pytest.raises(InputError, match="float32"):
        _attack(plug, standard(), x.double(), y, Threat(norm, 0.1))


# ---------------------------------------------------------------- AutoAttack


def _by_hand(model, x, y, eps, **changes):
    """pyautoattack as its README calls it; `changes` are attributes set between the two lines."""
    pyautoattack = pytest.importorskip("pyautoattack")
    from harness.core.rng import global_state

    attack = pyautoattack.AutoAttack(
        model.module, norm="Linf", eps=eps, seed=7, version="standard", device="cpu"
    )
    for path, value in changes.items():
        part, _, name = path.partition("__")
        setattr(getattr(attack, part), name, value)
    tracer = sys.gettrace()
    with global_state(0):
        found, _ = attack.run_standard_evaluation(x, y, batch_size=16)
    sys.settrace(tracer)
    return found


def test_reduced_autoattack_equals_the_official_one_by_hand_across_batches():
    """Catches a runner that splits the images before AutoAttack does: its batches shrink as images fall."""
    x, y = held_out(48)
    fast = {
        "apgd__n_iter": 5,
        "apgd__n_iter_2": 1,
        "apgd__n_iter_min": 1,
        "apgd__size_decr": 1,
        "apgd_targeted__n_iter": 5,
        "apgd_targeted__n_iter_2": 1,
        "apgd_targeted__n_iter_min": 1,
        "apgd_targeted__size_decr": 1,
        "fab__n_iter": 5,
        "square__n_queries": 30,
    }
    params = {"seed": 7, "batch_size": 16, "steps": 5, "queries": 30}
    plug = registry.get("attack", "autoattack/autoattack")
    found = run_attack(plug, params, robust(), x, y, Threat("linf", 0.1), seed=0, batch_size=16)
    by_hand = _by_hand(robust(), x, y, 0.1, **fast)
    assert torch.equal(found.x_adv, by_hand)
    assert (found.claimed == found.success).all()
    assert 0 < found.success.sum() < len(x)


def test_the_translation_of_standard_autoattack_is_what_the_library_sets_itself():
    pyautoattack = pytest.importorskip("pyautoattack")
    translate = registry.get("attack", "autoattack/autoattack").meta["translation"]
    for norm, name in (("linf", "Linf"), ("l2", "L2"), ("l1", "L1")):
        for version in ("standard", "plus", "rand"):
            how = translate(Threat(norm, 0.3), Call(), version=version)
            own = pyautoattack.AutoAttack(
                nn.Identity(), norm=name, eps=0.3, seed=0, version=version
            )
            assert own.attacks_to_run
            for path, value in how.settings.items():
                part, _, field = path.partition(".")
                if part.partition("_")[0] in {a.partition("-")[0] for a in own.attacks_to_run}:
                    assert getattr(getattr(own, part), field) == value, (norm, version, path)


def test_the_translation_of_torchattacks_autoattack_reaches_every_part():
    torchattacks = pytest.importorskip("torchattacks")
    translate = registry.get("attack", "torchattacks/autoattack").meta["translation"]
    model = small_nets.untrained()
    for version in ("standard", "plus", "rand"):
        how = translate(Threat("linf", 0.3), Call(), version=version)
        own = torchattacks.AutoAttack(model, eps=0.3, version=version, seed=0)
        for path, value in how.settings.items():
            _, _, position, field = path.split(".")
            part = own._autoattack.attacks[int(position)]
            assert hasattr(part, field), path
            if field not in ("steps", "rescale_schedule"):  # those it sets otherwise: T1
                assert getattr(part, field) == value, path


def test_too_few_classes_are_refused_with_a_reason():
    """Catches the library's IndexError in the targeted DLR loss."""
    translate = registry.get("attack", "autoattack/autoattack").meta["translation"]
    with pytest.raises(InputError, match="apgd-t needs at least 4 classes, got 3"):
        translate(Threat("linf", 0.1), Call(classes=3))
    how = translate(Threat("linf", 0.1), Call(classes=5))
    assert how.settings["apgd_targeted.n_target_classes"] == 4
