"""What cannot be used is refused before anything runs: one clear message, exit code 2, nothing lost."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import api
from harness.core.errors import DataError, InputError, ModelError, SuiteError, UnknownName

SUITE = """\
data: digits
models:
  Baseline: {network: lenet5}
attacks: [{use: pgd, eps: 0.1}]
"""


def run(tmp_path: Path, text: str):
    """`harness run` on a suite of this text, with a store and a data folder of its own."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    options = api.Options(
        data_dir=tmp_path, out=tmp_path / "reports", store=tmp_path / "store", jobs=1
    )
    return api.run(path, options)


def nothing_was_done(tmp_path: Path) -> bool:
    return not any((tmp_path / name).exists() for name in ("store", "reports"))


# ---------------------------------------------------------------- suites


@pytest.mark.parametrize(
    ("edit", "line", "said"),
    [
        (("models:", "modles:"), None, "name at least one model"),
        (("network: lenet5}", "network: lenet5, trian: pgd}"), 3, "Did you mean 'train'"),
        (("lenet5", "lenet6"), 3, "Did you mean 'lenet5'"),
        (("use: pgd", "use: pdg"), 4, "Did you mean 'pgd'"),
        (("data: digits", "data: digit"), 1, "Did you mean 'digits'"),
        (("eps: 0.1", "eps: 0.1, steps: many"), 4, "steps is int, got 'many'"),
        (("eps: 0.1", "eps: 0.1, steps: 0"), 4, "steps must be at least 1"),
        (("eps: 0.1", "eps: 0.1, loss: ec"), 4, "loss is Literal"),
        (
            ("network: lenet5}", "network: {use: lenet5, channels: [16, x]}}"),
            3,
            "channels is tuple",
        ),
        (("lenet5}", "lenet5, train: {use: cutout, size: -1}}"), 3, "size must be at least 0"),
        (("lenet5}", "lenet5, train: [pgd, fgsm]}"), 3, "one attack a recipe"),
        (("lenet5}", "lenet5, train: {use: pgd, eps: 8}}"), 3, "8/255, not 8"),
        (("pgd, eps: 0.1}", "pgd, eps: 0.1}, {use: pgd, eps: 0.2}"), 4, "two attacks are called"),
        (("data: digits", "data: digits\ncrosscheck: {concepts: [pdg]}"), 2, "Did you mean 'pgd'"),
        (
            ("data: digits", "data: digits\ncrosscheck: {models: [Base]}"),
            2,
            "Did you mean 'Baseline'",
        ),
        (
            (
                "data: digits",
                "data: digits\nood: {near: letters, detectors: [{use: msp, temperature: 0}]}",
            ),
            2,
            "above 0",
        ),
        (("eps: 0.1", "eps: much"), 4, "much"),
        (("eps: 0.1", "eps: 8"), 4, "8/255, not 8"),
        (("eps: 0.1", "eps: -0.1"), 4, "greater than 0"),
        ((", eps: 0.1", ""), 4, "states no budget"),
        (("data: digits", "data: digits\ninclude: other.yaml"), None, "no such file"),
        (("data: digits", "data: digits\ninclude: mine.yaml"), 2, "cycle"),
    ],
)
def test_a_bad_suite_is_refused_with_file_and_line(tmp_path, edit, line, said):
    with pytest.raises(SuiteError, match=said) as caught:
        run(tmp_path, SUITE.replace(*edit))
    place = "mine.yaml" if line is None else f"mine.yaml:{line}:"
    assert place in str(caught.value) or "other.yaml" in str(caught.value)
    assert nothing_was_done(tmp_path)


BLOCKS = """\
data: digits
models:
  Baseline:
    network: lenet5
  Trained:
    network: lenet5
    train:
      - cutout
      - {use: pgd, eps: 0.1}
  CutOut:
    network: lenet5
    train: {use: cutout, size: {each: [4, 8]}}
attacks:
  - {use: fgsm, eps: 0.1}
  - use: pgd
    eps: 0.1
    steps: 3
ood:
  near: letters
  detectors:
    - msp
    - mls
"""


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (("- cutout", "- {use: cutout, size: -1}"), 8),
        (("{use: pgd, eps: 0.1}", "{use: pgd, eps: 2}"), 9),
        (("[4, 8]", "[4, -8]"), 12),
        (("fgsm, eps", "fgsm, restarts: -1, eps"), 14),
        (("steps: 3", "steps: 0"), 15),
        (("- mls", "- {use: msp, temperature: 0}"), 22),
    ],
)
def test_the_line_is_that_of_the_item(tmp_path, edit, line):
    """Catches the line of the whole list, which in a long suite is no help."""
    assert edit[0] in BLOCKS
    with pytest.raises(SuiteError, match=f"mine.yaml:{line}: "):
        run(tmp_path, BLOCKS.replace(*edit))


def test_missing_data_without_a_network_names_the_way_out(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(DataError, match="--data digits"):
        run(tmp_path, SUITE.replace("digits", "mnist"))
    assert nothing_was_done(tmp_path)


def test_a_missing_suite_suggests_one(tmp_path):
    with pytest.raises(SuiteError, match=r"Did you mean 'smoke\.yaml'"):
        api.run("smok.yaml", api.Options(store=tmp_path))


def test_an_unknown_data_set_on_the_command_line_is_refused():
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        api.load("smoke", api.Options(data="mnits"))


# ---------------------------------------------------------------- what the user brings

OWN = """\
data: {{use: npz, path: images.npz{classes}}}
models:
  Mine: {{factory: "{module}:network"{weights}}}
attacks: [{{use: pgd, eps: 0.1, steps: 2}}]
attack_images: 6
checks: false
"""
NETWORK = """\
from torch import nn

def network(num_classes, in_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, {outputs}))
"""


def brings(tmp_path, *, module, images=None, labels=None, outputs="num_classes", classes="", weights=""):  # fmt: skip
    """A suite of a user's own images and model; each test spoils one thing."""
    x = np.random.default_rng(0).random((24, 8, 8)).astype(np.float32) if images is None else images
    y = np.arange(24) % 3 if labels is None else labels
    np.savez(tmp_path / "images.npz", test_images=x, test_labels=y)
    (tmp_path / f"{module}.py").write_text(NETWORK.format(outputs=outputs))
    return OWN.format(module=module, classes=classes, weights=weights)


def test_own_model_on_a_test_set_alone_runs(tmp_path):
    """Catches a plan that wants a validation split, and the control for the refusals below."""
    finished = run(tmp_path, brings(tmp_path, module="own_good"))
    assert finished.complete
    rows = (finished.folder / "results.csv").read_text()
    assert "the data set has no validation split" in rows


@pytest.mark.parametrize(
    ("name", "spoilt", "error", "said"),
    [
        ("own_bright", {"images": np.full((24, 8, 8), 1.5, np.float32)}, DataError, r"images\.npz"),
        ("own_negative", {"labels": np.arange(24) % 3 - 1}, DataError, r"images\.npz"),
        ("own_large", {"labels": np.arange(24) % 3 + 5, "classes": ", classes: 3"}, DataError, r"images\.npz"),
        ("own_outputs", {"outputs": "7"}, ModelError, "7 outputs, but the data has 3 classes"),
        ("own_weights", {"weights": ", weights: none.pt"}, ModelError, r"none\.pt"),
    ],
)  # fmt: skip
def test_what_the_user_brings_is_looked_at_first(tmp_path, name, spoilt, error, said):
    """Catches a fault that costs the run: it must not end as a failed job."""
    text = brings(tmp_path, module=name, **spoilt)
    with pytest.raises(error, match=said) as caught:
        run(tmp_path, text)
    assert isinstance(caught.value, InputError)
    assert nothing_was_done(tmp_path)


class Trap:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=r"evil\.pt is a pickle with code in it"):
        run(tmp_path, brings(tmp_path, module="own_evil", weights=", weights: evil.pt"))
    assert not sprung.exists()
    assert nothing_was_done(tmp_path)


def test_the_command_line_says_it_in_one_line_and_exits_with_2(tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE.replace("pgd", "pdg"))
    said = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "mine.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert said.stderr.startswith("error: mine.yaml:4:")
    assert "Traceback" not in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
