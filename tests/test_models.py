"""Networks, frozen classifiers, ensembles, weights on disk and models that the user brings.

Each test says which wrong implementation it would catch.
"""

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import nn

from harness import models
from harness.core.errors import InputError, ModelError, UnknownName
from harness.core.registry import registry
from harness.core.types import Classifier, Use

GREY = (1, 28, 28)


def small(seed=0, **params):
    use = Use("lenet5", {"channels": (3, 4), "hidden": 6, **params})
    return models.build(use, num_classes=5, in_shape=(1, 16, 16), seed=seed)


def made(kind, *args, **kwargs):
    """A network of the test's own, without a trace in the global generator."""
    with torch.random.fork_rng():
        return kind(*args, **kwargs)


def images(n=8, shape=(1, 16, 16), seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lenet5", (25 + 1) * 16 + (16 * 25 + 1) * 32 + (512 + 1) * 128 + 129 * 10),
        ("lenet5-large", (25 + 1) * 32 + (32 * 25 + 1) * 64 + (1024 + 1) * 512 + 513 * 10),
        # the published state dict: shapes of shared/data/README.md
        ("advertorch-lenet5", 10 * 32 + (32 * 9 + 1) * 64 + (3136 + 1) * 200 + 201 * 10),
    ],
)
def test_networks_have_the_parameters_of_their_architecture(name, expected):
    """Catches another kernel, padding or width than the one documented."""
    network = models.build(Use(name), num_classes=10, in_shape=GREY, seed=0)
    assert models.describe(network)["parameters"] == expected
    assert network(images(2, GREY)).shape == (2, 10)


def test_pooling_before_relu_is_the_function_and_the_gradient_of_relu_before_pooling():
    """Catches a cheaper order that is not the same network."""
    network = models.build(Use("lenet5"), num_classes=10, in_shape=GREY, seed=0)

    def textbook(x):
        x = F.max_pool2d(F.relu(network.conv1(x)), 2)
        x = F.max_pool2d(F.relu(network.conv2(x)), 2)
        return network.linear2(F.relu(network.linear1(x.flatten(1))))

    one, two = images(4, GREY).requires_grad_(), images(4, GREY).requires_grad_()
    ours, theirs = network(one), textbook(two)
    assert torch.equal(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-7)


def test_weights_come_from_the_seed_and_from_nothing_drawn_before():
    """Catches weights drawn from the global generator as it happens to stand."""
    first = small(seed=3).state_dict()
    with torch.random.fork_rng():
        torch.rand(7)
        again, other = small(seed=3).state_dict(), small(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize(
    ("params", "shape", "says"),
    [
        ({}, (1, 8, 8), "8 pixels"),
        ({"hidden": 0}, GREY, "hidden"),
        ({"channels": [16]}, GREY, "channels is tuple"),
        ({"channels": [16, 0]}, GREY, "channels"),
    ],
)
def test_a_network_that_cannot_be_says_why(params, shape, says):
    """Catches a torch traceback in place of a message."""
    with pytest.raises(InputError, match=says):
        models.build(Use("lenet5", params), num_classes=10, in_shape=shape, seed=0)


def test_unknown_networks_and_parameters_name_the_nearest():
    with pytest.raises(UnknownName, match="lenet5"):
        models.build(Use("lenet6"), num_classes=10, in_shape=GREY, seed=0)
    with pytest.raises(InputError, match="hidden"):
        models.build(Use("lenet5", {"hiden": 3}), num_classes=10, in_shape=GREY, seed=0)


def test_listing_networks_does_not_import_torch():
    """Catches a chapter imported at the top of the room."""
    code = (
        "import sys; from harness.core.registry import registry; "
        "print(registry.names('network'), 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lenet5" in said.stdout
    assert "False" in said.stdout


# ---------------------------------------------------------------- thin convolutions


@pytest.mark.parametrize("padding", [0, 1, 2, (1, 2)])
@pytest.mark.parametrize("count", [1, 64, 65, 130])
def test_thin_convolutions_have_pytorch_gradients(padding, count):
    """Catches a shift, flip or block of images misplaced in the gradient by matrix products."""
    conv = made(nn.Conv2d, 1, 3, (5, 4), padding=padding).double()
    thin = models.thin(conv)
    assert type(thin) is not type(conv)
    one = images(count, (1, 9, 11)).double().requires_grad_()
    two = one.detach().clone().requires_grad_()
    a, b = conv(one), thin(two)
    assert torch.equal(a, b)
    above = torch.randn(a.shape, generator=torch.Generator().manual_seed(1), dtype=a.dtype)
    torch.testing.assert_close(
        torch.autograd.grad(b, [two, *thin.parameters()], above),
        torch.autograd.grad(a, [one, *conv.parameters()], above),
    )


def test_a_thin_network_shares_parameters_and_leaves_the_network_alone():
    """Catches copied weights (training would go nowhere) and modules swapped in place."""
    network = small()
    before = [type(part) for part in network.modules()]
    thin = models.thin(network)
    assert [type(part) for part in network.modules()] == before
    assert list(thin.state_dict()) == list(network.state_dict())
    with torch.no_grad():
        network.conv1.weight.zero_()
    assert not thin.conv1.weight.any()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 2, 3),
        nn.Conv2d(1, 2, 3, stride=2),
        nn.Conv2d(1, 2, 3, dilation=2),
        nn.Conv2d(1, 2, 3, padding="same"),
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
    ],
)
def test_convolutions_that_do_not_fit_stay_as_they_are(conv):
    """Catches a gradient formula used where it does not hold."""
    assert type(models.thin(conv)) is nn.Conv2d


# ---------------------------------------------------------------- frozen classifiers


class WithState(nn.Module):
    """Batch norm and dropout: they behave otherwise in training."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
        )
        self.head = nn.Linear(4 * 14 * 14, 5)

    def forward(self, x):
        return self.head(self.body(x))


def test_freezing_takes_a_copy_in_evaluation_without_gradients():
    """Catches a user's model that is switched to evaluation, or loses its gradients, for good."""
    network = made(WithState).train()
    network.body[1].eval()
    modes = [part.training for part in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = models.freeze(network, in_shape=(1, 16, 16))
    model(images())
    assert [part.training for part in network.modules()] == modes
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert not any(part.training for part in model.module.modules())
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert torch.equal(model(images()), model(images()))


class Rows(nn.Module):
    """Views what leaves its convolution as rows, as most networks of tutorials do."""

    in_shape = (3, 8, 8)

    def __init__(self, *, squeeze=False):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.last, self.squeeze = nn.Linear(4 * 36, 5), squeeze

    def forward(self, x):
        return self.last(self.norm(self.first(x)).view(-1, 36 if self.squeeze else 144))


def test_a_network_that_views_its_activations_as_rows_is_taken_as_it_is():
    """Catches channels_last forced on everyone: PyTorch then refuses the view."""
    network = made(Rows).eval()
    x = images(shape=Rows.in_shape)
    model = models.freeze(network)
    torch.testing.assert_close(model(x), network(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="does not take images"):
        models.freeze(made(Rows, squeeze=True))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        lambda layer: torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.5),
    ],
)
def test_weights_that_a_hook_computes_are_copied(wrap):
    """Catches a deep copy that PyTorch refuses, of weights that are no leaves of the graph."""
    network = made(Rows)
    with torch.random.fork_rng():
        wrap(network.first)
    network.eval()(images(shape=Rows.in_shape)).sum().backward()
    x = images(shape=Rows.in_shape)
    torch.testing.assert_close(models.freeze(network)(x), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_a_script_is_refused():
    """Catches a crash in the middle: scripts take no hooks."""
    script = torch.jit.trace(made(Rows).eval(), images(shape=Rows.in_shape))
    with pytest.raises(ModelError, match="TorchScript takes no hooks"):
        models.freeze(script, in_shape=Rows.in_shape)


def test_a_network_that_edits_its_images_is_refused():
    """Catches a caller's images that are others after an evaluation."""

    class Shifting(Rows):
        def forward(self, x):
            return super().forward(x.sub_(0.5))

    with pytest.raises(ModelError, match="changes its images in place"):
        models.freeze(made(Shifting))


def test_filters_of_another_rank_stay_as_they_are():
    """Catches channels_last for volumes, which PyTorch refuses."""

    class Volumes(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv3d(1, 2, 3, padding=1), nn.Linear(2 * 3 * 64, 5)

        def forward(self, x):
            return self.last(self.first(x[:, None]).flatten(1))

    assert models.freeze(made(Volumes), in_shape=(3, 8, 8)).num_classes == 5


def test_filters_lie_in_channels_last_where_the_network_allows_it():
    """Catches a network that is slow since it was called incapable, and modes that are not put back."""
    apart, network = made(Rows).train(), made(WithState).train()
    network.body[1].eval()
    modes = [part.training for part in network.modules()]
    models.channels_last(network, images())
    models.channels_last(apart, images(shape=Rows.in_shape))
    assert network.body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert apart.first.weight.is_contiguous()
    assert [part.training for part in network.modules()] == modes
    assert (network.body[1].running_mean == 0).all()


def test_a_frozen_model_keeps_the_contract():
    model = models.freeze(small())
    assert isinstance(model, Classifier)
    assert model.num_classes == 5
    assert model.head is model.module.linear2


def test_features_are_the_input_of_the_head():
    """Catches features of another layer: head(features(x)) must be the logits, gradients too."""
    model = models.freeze(small())
    x = images().requires_grad_()
    features = model.features(x)
    assert features.shape == (8, 6)
    assert torch.equal(model.head(features), model(x))
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert gradient.abs().sum() > 0
    assert not model.head._forward_pre_hooks


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(256, 5), nn.LogSoftmax(1)),
        nn.Sequential(nn.Conv2d(1, 5, 16), nn.Flatten()),
    ],
)
def test_a_network_without_a_linear_end_has_no_features(network):
    """Catches the last linear layer taken for the logits although something follows it."""
    model = models.freeze(network, in_shape=(1, 16, 16))
    assert model.head is None
    with pytest.raises(ModelError, match="no features"):
        model.features(images())


def test_the_head_is_the_layer_that_ran_last_not_the_one_defined_last():
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(7, 5)
            self.first = nn.Linear(256, 7)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)))

    model = models.freeze(made(Shuffled), in_shape=(1, 16, 16))
    assert model.head is model.module.last


def test_the_digest_is_that_of_weights_and_architecture():
    """Catches a digest that misses a weight, the architecture, or depends on the memory format."""
    network = small()
    digest = models.freeze(network).digest
    assert models.freeze(small()).digest == digest
    assert models.freeze(network.to(memory_format=torch.channels_last)).digest == digest
    other = small()
    with torch.no_grad():
        other.linear2.bias[3] += 1e-6
    assert models.freeze(other).digest != digest
    assert models.freeze(network, architecture="elsewhere").digest != digest


def test_a_copy_in_float64_keeps_its_own_head_and_the_same_digest():
    """Catches a head that still belongs to the float32 network."""
    model = models.freeze(small())
    double = model.to(dtype=torch.float64)
    x = images().double()
    assert double(x).dtype == torch.float64
    assert torch.equal(double.head(double.features(x)), double(x))
    assert double.digest == model.digest
    assert model(images()).dtype == torch.float32


@pytest.mark.parametrize(
    ("network", "shape", "says"),
    [
        (nn.Flatten(2), (1, 4, 4), r"\(N, K\) logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), (1, 4, 4), "shape"),
    ],
)
def test_what_is_no_classifier_is_refused(network, shape, says):
    with pytest.raises(ModelError, match=says):
        models.freeze(network, in_shape=shape)


def test_without_an_image_shape_freezing_says_what_to_give():
    with pytest.raises(ModelError, match="in_shape"):
        models.freeze(nn.Flatten())


# ---------------------------------------------------------------- ensembles


def test_an_ensemble_is_the_logarithm_of_the_mean_softmax():
    """Catches mean logits, a sum without the division, and a mean of log-probabilities."""
    members = [models.freeze(small(seed)) for seed in range(3)]
    ensemble = models.Ensemble(members)
    mean = torch.stack([m(images()).double().softmax(1) for m in members]).mean(0)
    torch.testing.assert_close(ensemble(images()).double(), mean.log(), rtol=1e-5, atol=1e-6)
    assert isinstance(ensemble, Classifier)
    assert ensemble.num_classes == 5
    assert ensemble.head is None
    assert torch.equal(ensemble.module(images()), ensemble(images()))


def test_the_mean_softmax_is_finite_and_has_a_gradient_where_the_softmax_underflows():
    """Catches log(mean(softmax)): exp(-500) is 0 in float32, its logarithm minus infinity."""
    logits = torch.tensor([[[0.0, -500.0]], [[0.0, -300.0]]], requires_grad=True)
    out = models.log_mean_softmax(logits)
    expected = np.logaddexp(-500.0, -300.0) - np.log(2)
    assert out[0, 1].item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(out[0, 1], logits)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_an_ensemble_has_no_features_and_refuses_unequal_or_no_members():
    one = models.freeze(small())
    two = models.freeze(models.build(Use("lenet5"), num_classes=7, in_shape=GREY, seed=0))
    with pytest.raises(ModelError, match="members"):
        models.Ensemble([one]).features(images())
    for members in ([], [one, two]):
        with pytest.raises(ModelError, match="same classes"):
            models.Ensemble(members)


def test_an_ensembles_digest_is_that_of_its_members():
    one, two = (models.freeze(small(seed)) for seed in range(2))
    assert models.Ensemble([one, two]).digest != models.Ensemble([one]).digest
    assert models.Ensemble([one, two]).digest == models.Ensemble([one, two]).digest


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("legacy", [True, False])
def test_pytorch_and_safetensors_files_give_back_the_state(tmp_path, legacy):
    """Catches transposed channels_last weights and a format that is not read."""
    network = small().to(memory_format=torch.channels_last)
    state = network.state_dict()
    models.save_weights(tmp_path / "w.safetensors", state)
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    for name in ("w.safetensors", "w.pt"):
        loaded = models.load_weights(tmp_path / name)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert models.weights_bytes(state) == models.weights_bytes(dict(reversed(state.items())))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "inside"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, form):
    """Catches torch.load without weights_only: opening the file would run the attacker's call."""
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    bomb = {"weight": torch.zeros(2), "bomb": Bomb(str(mark))}
    if form == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    elif form == "inside":
        torch.save({"weight": torch.zeros(2)}, path)
        _replace_pickle(path, pickle.dumps(Bomb(str(mark)), protocol=2))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelError, match="code in it") as caught:
        models.load_weights(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)
    assert "safetensors" in str(caught.value)


def _replace_pickle(path, data):
    with zipfile.ZipFile(path) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name, content in entries.items():
            target.writestr(name, data if name.endswith("data.pkl") else content)


def test_a_whole_module_in_a_file_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(small(), path)
    with pytest.raises(ModelError, match="code in it"):
        models.load_weights(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "cannot be read"), (b"hello", "weights"), (b"\x80\x02", "weights")],
)
def test_a_damaged_file_gives_one_message(tmp_path, content, says):
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=says):
        models.load_weights(tmp_path / "w.pt")
    with pytest.raises(ModelError, match="no safetensors file"):
        models.load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"epoch": 3, "state_dict": {"w": torch.zeros(1)}}, "epoch, state_dict"),
        ([torch.zeros(1)], "a list"),
        ({}, "nothing"),
    ],
)
def test_a_file_with_anything_but_tensors_by_name_is_refused(tmp_path, value, says):
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=says):
        models.load_weights(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.pt"):
        models.load_weights(tmp_path / "nowhere.pt")


def test_weights_that_do_not_fit_are_listed_by_name_and_shape():
    """Catches load_state_dict(strict=False), which keeps the random weights of what is missing."""
    network = small()
    state = network.state_dict()
    del state["conv1.bias"]
    state["extra"] = torch.zeros(1)
    state["linear2.weight"] = torch.zeros(9, 6)
    with pytest.raises(ModelError) as caught:
        models.fit_weights(network, state, "w.pt")
    for part in ("w.pt", "missing: conv1.bias", "unexpected: extra", "(9, 6)", "(5, 6)"):
        assert part in str(caught.value)


# ---------------------------------------------------------------- models that the user brings

FACTORIES = """
import torch
from torch import nn

weights = 3

def plain(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, num_classes))

def shaped(in_shape, num_classes, bias=True):
    c, h, w = in_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, num_classes, bias=bias))

def wrong():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 3))

def nothing():
    return 42

def crash():
    raise RuntimeError("no licence")

def needy(path):
    return path

class Endless(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(256, 5)
    def forward(self, x):
        return self.inner(x.flatten(1)) / 0

class BackToTraining(Endless):
    def forward(self, x):
        self.inner.train()
        return self.inner(x.flatten(1))

class Counting(Endless):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, x):
        self.calls += 1
        return self.inner(x.flatten(1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "brought_here.py").write_text(FACTORIES)
    (tmp_path / "broken_here.py").write_text("import no_such_thing")
    yield tmp_path
    for name in ("brought_here", "broken_here"):
        sys.modules.pop(name, None)


def bring(folder, function, module="brought_here", **kwargs):
    return models.brought(
        f"{module}:{function}", num_classes=5, in_shape=(1, 16, 16), search=folder, **kwargs
    )


def test_a_brought_model_is_frozen_with_its_weights(folder):
    """Catches weights that are not put in, and a search path that stays behind."""
    before = list(sys.path)
    state = {"1.weight": torch.full((5, 256), 0.5), "1.bias": torch.arange(5.0)}
    models.save_weights(folder / "w.safetensors", state)
    model = bring(folder, "plain", weights=folder / "w.safetensors")
    torch.testing.assert_close(model(torch.zeros(1, 1, 16, 16))[0], torch.arange(5.0))
    assert isinstance(model, models.Frozen)
    assert sys.path == before
    assert bring(folder, "shaped").num_classes == 5


def test_a_factory_draws_from_a_lent_generator(folder):
    """Catches weights that depend on what was drawn before (the fixture catches the rest)."""
    with torch.random.fork_rng():
        torch.rand(3)
        one = bring(folder, "plain").digest
        torch.rand(3)
        two = bring(folder, "plain").digest
    assert one == two


def test_editing_the_factory_changes_the_digest(folder):
    """Catches a cache that serves another model's results."""
    state = {"1.weight": torch.zeros(5, 256), "1.bias": torch.zeros(5)}
    models.save_weights(folder / "w.safetensors", state)
    one = bring(folder, "plain", weights=folder / "w.safetensors").digest
    (folder / "brought_here.py").write_text(FACTORIES + "\n# edited")
    two = bring(folder, "plain", weights=folder / "w.safetensors").digest
    assert one != two


@pytest.mark.parametrize(
    ("function", "module", "says"),
    [
        ("absent", "brought_here", "has no 'absent'"),
        ("weights", "brought_here", "no callable"),
        ("plain", "not_there", "no module 'not_there'"),
        ("plain", "broken_here", "no module 'no_such_thing'"),
        ("", "brought_here", "package.module:function"),
        ("wrong", "brought_here", "3 outputs, but the data has 5"),
        ("nothing", "brought_here", "returned a int"),
        ("crash", "brought_here", "RuntimeError: no licence"),
        ("needy", "brought_here", "path"),
        ("Endless", "brought_here", "NaN or infinite"),
        ("BackToTraining", "brought_here", "training mode"),
        ("Counting", "brought_here", "changes its own"),
    ],
)
def test_a_model_that_cannot_be_used_gives_one_message(folder, function, module, says):
    with pytest.raises(ModelError, match=says):
        bring(folder, function, module)


# ---------------------------------------------------------------- published figures


@pytest.mark.data
@pytest.mark.parametrize(("file", "right"), [("clntrained", 9889), ("advtrained", 9864)])
def test_published_weights_have_their_published_accuracy(data_dir, file, right):
    """98.89 % and 98.64 % of 10,000: catches a wrong architecture, scale or order of weights."""
    mnist = registry.get("data", "mnist").function(data_dir)
    model = models.brought(
        "harness.models:advertorch_lenet5",
        data_dir / "weights" / f"mnist_lenet5_{file}.pt",
        num_classes=10,
        in_shape=GREY,
    )
    x, y = torch.from_numpy(mnist.test.x), torch.from_numpy(mnist.test.y)
    with torch.inference_mode():
        hits = sum(
            int((model(a).argmax(1) == b).sum())
            for a, b in zip(x.split(500), y.split(500), strict=True)
        )
    assert hits == right
