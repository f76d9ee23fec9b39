"""What a worker keeps between jobs, and what it must let go of."""

import weakref

import numpy as np
import pytest
import torch

from harness.core.types import Split, array_digest
from harness.jobs import bench as benches
from harness.jobs.bench import Bench
from harness.store import Store
from tests.small_nets import Net

TRAIN = {"data": {"use": "digits"}, "part": "train", "take": [], "seed": 0}
TEST = TRAIN | {"part": "test"}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(benches, "SPLIT_BYTES", 1)  # of splits, only the last is kept
    return Bench(Store(tmp_path / "store"), tmp_path)


def test_what_a_model_saw_of_a_split_keeps_no_images_alive(bench, monkeypatch):
    """Catches one copy of MNIST's training images kept for each time that they were read anew."""
    net = Net(torch.nn.Flatten(), classes=4)
    monkeypatch.setattr(bench, "model", lambda description: net)
    x = np.zeros((5, 1, 2, 2), np.float32)
    first = bench.evidence({}, Split("test", x, None, array_digest(x)), 2)
    passes, images = net.forwards, weakref.ref(x)
    again = bench.evidence({}, Split("test", x.copy(), None, array_digest(x)), 2)
    assert net.forwards == passes
    assert again.logits is first.logits
    assert again.x is not x
    del x, first
    assert images() is None


def test_a_split_that_is_no_longer_kept_is_gone(bench):
    """Catches a data set that holds on to every part that was read of it."""
    images = weakref.ref(bench.split(TRAIN).x)
    assert bench.split(TRAIN).x is images()
    bench.split(TEST)
    assert images() is None


def test_a_draw_comes_from_the_split_that_is_kept(bench):
    """Catches another draw, or one from a split of another seed, than the plan means."""
    drawn = bench.split(TEST | {"take": [100, 40]})
    whole = bench.split(TEST)
    assert len(drawn) == 40
    assert (drawn.x == whole.x[np.searchsorted(whole.ids, drawn.ids)]).all()
    noisy = TEST | {"corruption": {"use": "brightness"}, "code": "of the corruption"}
    assert (bench.split(noisy).y == whole.y).all()
    assert (bench.split(noisy).x != whole.x).any()
