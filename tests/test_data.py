"""Data sets against scikit-learn, torchvision, Pillow and torch, and against files that are wrong."""

import gzip
import hashlib
import inspect
import io
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import harness.data as data
from harness.core.errors import DataError, InputError, UnknownName
from harness.core.registry import registry
from harness.core.types import Split, array_digest
from harness.data import arrays, corrupted, drawing, finding, idx, pixels
from harness.data.sets import Unreachable

EMPTY = Path("no-such-folder")


def rng(seed=0):
    return np.random.default_rng(seed)


def split_like(shape, y=None, name="some/test"):
    x = rng().integers(0, 256, shape).astype(np.float32) / np.float32(255)
    return Split(name, x, y, array_digest(x, y))


def on_grid(x):
    return np.array_equal(x, np.rint(x * 255).astype(np.float32) / np.float32(255))


# ------------------------------------------------------------------ every data set


@pytest.mark.parametrize("name", registry.names("data"))
def test_plug_survey_and_obtain_take_the_same_parameters(name):
    """Catches a parameter that the plan knows and the loader does not."""
    plug = registry.get("data", name)
    expected = {parameter.name for parameter in plug.parameters}
    for function in (plug.meta["survey"], plug.meta["obtain"]):
        keywords = inspect.signature(function).parameters.values()
        assert {p.name for p in keywords if p.kind is p.KEYWORD_ONLY} == expected


@pytest.mark.parametrize("name", ["digits", "letters", "patches"])
def test_embedded_sets_are_what_they_say(name):
    """Catches sizes in the plan that are not those of the arrays, other shapes, unrounded values."""
    found = data.load(name, EMPTY)
    survey = registry.get("data", name).meta["survey"](EMPTY)
    for part, size in survey.sizes.items():
        split = getattr(found, part)
        assert split.x.shape == (size, 1, 28, 28)
        assert split.x.dtype == np.float32
        assert split.name == f"{name}/{part}"
        assert split.digest == array_digest(split.x, split.y)
        assert split.x.min() >= 0
        assert split.x.max() <= 1
        assert on_grid(split.x)
        assert data.size(name, part, EMPTY) == size
    assert {part for part in ("train", "val", "test") if getattr(found, part)} == set(survey.sizes)


def test_nothing_heavy_is_imported_to_list_or_load():
    """`harness ls data` and a run on digits must not pay for torch, scikit-learn or Matplotlib."""
    script = (
        "import sys; from pathlib import Path; import harness.data as d;"
        "d.availability(Path('.')); d.fingerprint('letters', Path('.'));"
        "[d.load(n, Path('.')).test for n in ('digits', 'letters', 'patches')];"
        "heavy = {'torch', 'torchvision', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ digits, letters, patches


def test_digits_are_scikit_learns_enlarged_as_torch_does():
    """Catches rows and columns exchanged, corners aligned, counts divided by 15, labels shuffled."""
    import torch
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images / 16)[:, None]
    large = torch.nn.functional.interpolate(small, (28, 28), mode="bilinear", align_corners=False)
    found = data.load("digits", EMPTY)
    seen = []
    for split in (found.train, found.val, found.test):
        exact = large.numpy()[split.ids] * 255
        assert np.abs(split.x * 255 - exact).max() < 0.5 + 1e-4
        assert np.array_equal(split.y, bunch.target[split.ids])
        shares = np.bincount(split.y) / len(split)
        assert np.abs(shares - np.bincount(bunch.target) / 1797).max() < 1.1 / len(split)
        seen.append(split.ids)
    assert [len(ids) for ids in seen] == [1200, 97, 500]
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(1797))


def test_letters_look_like_digits_and_are_always_the_same():
    """Catches thin, small or off-centre letters, which any detector tells by their ink alone."""
    digits, letters = (data.load(name, EMPTY).test for name in ("digits", "letters"))
    assert letters.y is None
    assert letters.digest == data.load("letters", EMPTY).test.digest
    assert len({image.tobytes() for image in letters.x}) == 1000
    ink = [split.x.mean((1, 2, 3)) for split in (digits, letters)]
    assert ink[1].mean() == pytest.approx(ink[0].mean(), rel=0.05)
    assert ink[1].std() == pytest.approx(ink[0].std(), rel=0.2)
    profiles = [split.x.mean((0, 1, axis)) for split in (digits, letters) for axis in (2, 3)]
    assert np.corrcoef(profiles[0], profiles[2])[0, 1] > 0.95  # across the columns
    assert np.abs(profiles[1] - profiles[3]).max() < 0.12  # they fill the height alike
    # Both were enlarged from 8 x 8: half of the fine detail that 28 x 28 could hold is not there.
    detail = [np.abs(np.diff(split.x, 2, axis=3)).mean() for split in (digits, letters)]
    assert detail[1] == pytest.approx(detail[0], rel=0.3)
    few = data.load("letters", EMPTY, count=7).test
    assert np.array_equal(few.x, letters.x[:7])
    with pytest.raises(InputError, match="at least 1"):
        data.load("letters", EMPTY, count=0)


def test_patches_are_tiles_of_the_photographs_and_none_twice():
    """Catches overlapping tiles (which are no independent samples) and transposed ones."""
    from sklearn.datasets import load_sample_images

    tiles = set()
    for photograph in load_sample_images().images:
        grey = Image.fromarray(photograph).convert("L")
        for top in range(0, 427 - 27, 28):
            for left in range(0, 640 - 27, 28):
                tiles.add(np.asarray(grey.crop((left, top, left + 28, top + 28))).tobytes())
    found = np.rint(data.load("patches", EMPTY).test.x * 255).astype(np.int16)[:, 0]
    whole = np.stack([np.frombuffer(tile, np.uint8) for tile in tiles]).astype(np.int16)
    gaps = [np.abs(whole - image.ravel()).max(1) for image in found]
    assert max(gap.min() for gap in gaps) <= 1  # luma may round the other way
    assert len({int(gap.argmin()) for gap in gaps}) == len(found) == 300


# ------------------------------------------------------------------ draws


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 5),
)
def test_a_draw_keeps_every_classs_share_to_within_one(counts, share, seed):
    """Catches rounding each class by itself, which loses or adds images."""
    labels = rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n = max(1, int(share * len(labels)))
    ids = drawing.drawn(labels, n, rng(seed))
    assert len(np.unique(ids)) == len(ids) == n
    seen = np.bincount(labels[ids], minlength=len(counts))
    assert (np.abs(seen - np.array(counts) * n / len(labels)) < 1).all()


def test_stratified_is_no_first_n_and_remembers_where_from():
    """H64: catches a slice, ids of the draw instead of the set, and a draw that ignores its seed."""
    y = np.sort(np.arange(400) % 4)
    split = split_like((400, 1, 3, 3), y)
    part = data.stratified(split, 100, seed=1)
    assert np.bincount(part.y).tolist() == [25, 25, 25, 25]
    assert part.ids.tolist() != list(range(100))
    assert np.array_equal(part.x, split.x[part.ids])
    again = data.stratified(part, 40, seed=1)
    assert np.array_equal(again.x, split.x[again.ids])
    assert set(again.ids) <= set(part.ids)
    assert np.array_equal(part.ids, data.stratified(split, 100, seed=1).ids)
    assert not np.array_equal(part.ids, data.stratified(split, 100, seed=2).ids)
    assert data.stratified(split, 400, seed=1) is split
    assert len(data.stratified(split_like((50, 1, 3, 3)), 7, seed=0)) == 7  # no labels
    with pytest.raises(InputError, match="n = 0"):
        data.stratified(split, 0, seed=1)


def test_what_is_left_over_does_not_always_go_to_the_first_classes():
    """Catches ties broken by label: with 5 of 10 classes, zeros would be in every draw."""
    labels = np.arange(1000) % 10
    drawn = [set(labels[drawing.drawn(labels, 5, rng(seed))]) for seed in range(20)]
    assert set.union(*drawn) == set(range(10))
    assert not set.intersection(*drawn)


# ------------------------------------------------------------------ shapes


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (17, 40), (64, 48)])
def test_resizing_agrees_with_pillow(size):
    """Catches a filter that does not widen when shrinking (aliasing) and a shift by half a pixel."""
    split = split_like((3, 1, 32, 24))
    fitted = data.fit_shape(split, (1, *size)).x
    for image, found in zip(split.x[:, 0], fitted[:, 0], strict=True):
        picture = Image.fromarray(np.rint(image * 255).astype(np.uint8))
        expected = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))
        assert np.abs(found * 255 - expected.astype(float)).max() <= 1.01
    assert on_grid(fitted)


def test_grey_and_colour_convert_as_pillow_does():
    colour = split_like((4, 3, 9, 7))
    grey = data.fit_shape(colour, (1, 9, 7))
    for image, found in zip(colour.x, grey.x[:, 0], strict=True):
        picture = Image.fromarray(np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8))
        assert np.abs(found * 255 - np.asarray(picture.convert("L"))).max() <= 1.01
    back = data.fit_shape(grey, (3, 9, 7))
    assert np.array_equal(back.x, np.repeat(grey.x, 3, axis=1))
    assert back.digest == array_digest(back.x, None)


def test_a_split_that_fits_is_handed_back():
    """Catches a second rounding of what needs none: ID images must stay as they are."""
    split = split_like((4, 1, 9, 7), np.arange(4))
    assert data.fit_shape(split, (1, 9, 7)) is split
    fitted = data.fit_shape(split.take(np.array([2, 1])), (3, 9, 9))
    assert fitted.ids.tolist() == fitted.y.tolist() == [2, 1]
    with pytest.raises(DataError, match="got 4"):
        data.fit_shape(split_like((2, 4, 9, 9)), (1, 9, 9))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 9), np.uint8), r"\(4, 9\)"),
        (np.zeros((4, 3, 9, 9), np.uint8), "axis of the channels"),
        (np.zeros((4, 9, 9), np.int64), "int64"),
        (np.full((4, 9, 9), 255.0), "image 0 holds 255.0"),
        (np.array([[[0.0]], [[-0.5]]]), "image 1 holds -0.5"),
        (np.array([[[0.0]], [[np.nan]], [[7.0]]]), "image 1 holds nan"),
        (np.zeros((0, 9, 9), np.uint8), "no images"),
    ],
)
def test_wrong_images_are_refused_with_file_worst_value_and_fix(array, said):
    with pytest.raises(DataError, match=said) as caught:
        pixels.split_of("x/test", array, None, (), "my.npz")
    assert str(caught.value).startswith("my.npz")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 10], "label 10 is outside 0 to 9"),
        ([0, -1, 3], "label -1 is outside"),
        ([0.0, 1.0, 2.0], "float64"),
        ([[0, 1], [1, 0], [1, 1]], "one integer an image"),
        ([0, 1], "3 images but 2 labels"),
    ],
)
def test_wrong_labels_are_refused_with_the_worst(labels, said):
    images = np.zeros((3, 9, 9), np.uint8)
    with pytest.raises(DataError, match=said):
        pixels.split_of("x/test", images, np.array(labels), tuple("0123456789"), "my.npz")


def test_stored_layouts_become_one():
    """Catches NHWC reshaped instead of transposed, float64 images, and (N, 1) labels kept so."""
    stored = rng().integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    labels = np.array([[3], [0], [1], [1], [2]], np.uint8)
    split = pixels.split_of("x/test", stored, labels, tuple("abcd"), "f")
    assert split.x.shape == (5, 3, 4, 6)
    assert split.x.flags.c_contiguous
    assert split.x[2, 1, 3, 5] == np.float32(stored[2, 3, 5, 1] / 255)
    assert split.y.tolist() == [3, 0, 1, 1, 2]
    assert split.y.dtype == np.int64
    floats = pixels.split_of("x/test", stored / 255, None, (), "f")
    assert np.array_equal(floats.x, split.x)
    assert floats.x.dtype == np.float32


# ------------------------------------------------------------------ IDX files


def write_idx(path, array, packed=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_set(folder, *, train=0, test=20, packed=False, seed=0):
    """IDX files of random images whose label is their first pixel."""
    for stem, count in (("train", train), ("t10k", test)):
        if count:
            images = rng(seed).integers(0, 256, (count, 28, 28))
            images[:, 0, 0] = np.arange(count) % 10
            write_idx(folder / f"{stem}-images-idx3-ubyte", images, packed)
            write_idx(folder / f"{stem}-labels-idx1-ubyte", images[:, 0, 0], packed)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "notmnist"])
def test_a_test_split_alone_is_enough(name, packed, tmp_path):
    """torchvision refuses such a folder; catches a need for training files, and images transposed."""
    folder = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
    write_set(tmp_path / folder.get(name, "notMNIST") / "raw", packed=packed)
    found = data.load(name, tmp_path)
    assert (found.train, found.val) == (None, None)
    assert np.array_equal(np.rint(found.test.x[:, 0, 0, 0] * 255), found.test.y)
    assert len(found.classes) == 10
    assert data.size(name, "test", tmp_path) == 20
    with pytest.raises(DataError, match="no train images"):
        data.size(name, "train", tmp_path)


def test_a_twelfth_is_held_out_of_training_and_never_changes(tmp_path):
    """Catches validation images that are trained on too, and a split that depends on a seed."""
    write_set(tmp_path / "MNIST" / "raw", train=240)
    found = data.load("mnist", tmp_path)
    assert (len(found.train), len(found.val)) == (220, 20)
    assert np.bincount(found.val.y).tolist() == [2] * 10
    both = np.concatenate([found.train.ids, found.val.ids])
    assert np.array_equal(np.sort(both), np.arange(240))
    for split in (found.train, found.val):
        assert np.array_equal(np.rint(split.x[:, 0, 0, 0] * 255), split.y)
        assert np.array_equal(split.ids % 10, split.y)
    assert np.array_equal(data.load("mnist", tmp_path).val.ids, found.val.ids)
    sizes = [data.size("mnist", part, tmp_path) for part in ("train", "val", "test")]
    assert sizes == [220, 20, 20]


def test_parts_that_nobody_asks_for_are_not_read(tmp_path):
    """Catches an OOD set that costs its training images: those of this one cannot be read."""
    raw = tmp_path / "FashionMNIST" / "raw"
    write_set(raw, train=240)
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    found = data.load("fashion-mnist", tmp_path)
    assert len(found.test) == 20
    with pytest.raises(DataError, match="its header says"):
        _ = found.train


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: c[:-10], "its header says"),
        (lambda c: c + b"more", "its header says"),
        (lambda c: b"\x80\x04" + c[2:], "not an IDX file"),
        (lambda c: c[:3], "not an IDX file"),
        (lambda c: c[:9], "not an IDX file"),
        (lambda c: b"", "not an IDX file"),
        (lambda c: struct.pack(">BBBB1i", 0, 0, 8, 1, 20) + bytes(20), "1 axes where 3"),
    ],
)
def test_a_damaged_idx_file_is_named(damage, said, tmp_path):
    raw = tmp_path / "KMNIST" / "raw"
    write_set(raw)
    file = raw / "t10k-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=said) as caught:
        _ = data.load("kmnist", tmp_path).test
    assert str(file) in str(caught.value)


def test_labels_of_an_idx_file_are_checked(tmp_path):
    raw = tmp_path / "KMNIST" / "raw"
    write_set(raw)
    write_idx(raw / "t10k-labels-idx1-ubyte", np.full(20, 11))
    with pytest.raises(DataError, match="label 11"):
        _ = data.load("kmnist", tmp_path).test


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_without_files_and_network_the_way_out_is_named(name, tmp_path, monkeypatch):
    """Catches torchvision's own error passed on, and a time limit left on everybody's sockets."""
    limits = []

    def offline(*_, **__):
        limits.append(socket.getdefaulttimeout())
        raise OSError("Name or service not known")

    for kind in ("MNIST", "FashionMNIST", "KMNIST"):
        monkeypatch.setattr(f"torchvision.datasets.{kind}", offline)
    with pytest.raises(DataError, match="--data digits") as caught:
        data.load(name, tmp_path)
    assert "Name or service not known" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert limits == [idx.TIMEOUT]
    assert socket.getdefaulttimeout() is None


def test_missing_files_are_left_to_torchvision_to_download(tmp_path, monkeypatch):
    """Catches a download beside the folder that is then read."""

    def download(root, *, download):
        assert download
        write_set(Path(root) / "MNIST" / "raw", train=120)

    monkeypatch.setattr("torchvision.datasets.MNIST", download)
    assert data.fingerprint("mnist", tmp_path)
    assert len(data.load("mnist", tmp_path).train) == 110


def test_what_cannot_be_downloaded_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"notMNIST.*Put it there as IDX files"):
        data.load("notmnist", tmp_path)


# ------------------------------------------------------------------ MNIST-C


@pytest.fixture
def archive(tmp_path):
    """An archive like the published one, with a file that climbs out of its folder: (url, md5)."""
    path = tmp_path / "source" / "mnist_c.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as packed:
        for number, corruption in enumerate(corrupted.CORRUPTIONS):
            for part in ("train", "test"):
                for kind, shape in (("images", (12, 28, 28, 1)), ("labels", (12,))):
                    stream = io.BytesIO()
                    np.save(stream, np.full(shape, number % 10, np.uint8))
                    packed.writestr(f"mnist_c/{corruption}/{part}_{kind}.npy", stream.getvalue())
        packed.writestr("../../outside.npy", b"x")
    return path.as_uri(), hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_mnist_c_is_unpacked_once_checked(archive, tmp_path):
    """Catches an archive extracted whole (train images, names that climb out) or left behind."""
    home = tmp_path / "data"
    corrupted.fetch(home, *archive)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 + 2 * 16
    assert all(
        path.name in ("test_images.npy", "test_labels.npy")
        for path in files[1:]
        if home in path.parents
    )
    fog = data.load("mnist-c", home, corruption="fog").test
    assert fog.x.shape == (12, 1, 28, 28)
    assert set(fog.y) == {corrupted.CORRUPTIONS.index("fog") % 10}
    assert data.published("fog", home)
    lines = {line.name: line for line in data.availability(home)}
    assert "(16 of 16)" in lines["mnist-c"].where


def test_mnist_itself_stands_in_for_an_identity_that_was_left_out(archive, tmp_path, monkeypatch):
    """Catches a download of all that is there for the one folder that is not needed."""
    home = tmp_path / "data"
    corrupted.fetch(home, *archive)
    shutil.rmtree(home / "mnist_c" / "identity")
    monkeypatch.setattr(corrupted, "fetch", lambda data_dir: pytest.fail("nothing is missing"))
    fog = data.load("mnist-c", home, corruption="fog").test
    assert len(fog) == 12
    write_set(home / "MNIST" / "raw", test=14)
    clean, mnist = data.load("mnist-c", home, corruption="identity").test, data.load("mnist", home)
    assert (clean.name, len(clean)) == ("mnist-c/identity", 14)
    assert clean.digest == mnist.test.digest
    assert data.size("mnist-c", "test", home, corruption="identity") == 14
    assert data.fingerprint("mnist-c", home, corruption="identity")


def test_another_archive_than_the_published_one_is_refused(archive, tmp_path):
    home = tmp_path / "data"
    with pytest.raises(DataError, match="md5"):
        corrupted.fetch(home, archive[0])
    assert list(home.rglob("*")) == []


def test_an_unreachable_archive_is_tried_once_and_ours_are_used(tmp_path, monkeypatch):
    """Catches fifteen time-outs in a row, and an exception where there is a second choice."""
    tries = []

    def offline(data_dir):
        tries.append(data_dir)
        raise Unreachable("no network")

    monkeypatch.setattr(corrupted, "fetch", offline)
    assert not any(data.published(name, tmp_path) for name in corrupted.CORRUPTIONS)
    assert not data.published("my_own_corruption", tmp_path)
    assert len(tries) == 1
    with pytest.raises(DataError, match=r"no network.*--data digits"):
        data.load("mnist-c", tmp_path, corruption="fog")
    with pytest.raises(UnknownName, match="'fog'"):
        data.load("mnist-c", tmp_path, corruption="frog")


def test_a_url_that_leads_nowhere_counts_as_unreachable(tmp_path):
    with pytest.raises(Unreachable):
        corrupted.fetch(tmp_path, (tmp_path / "nothing.zip").as_uri())
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ .npz


def write_npz(path, *, train=36, val=0, test=12, shape=(9, 9), dtype=np.uint8, **replaced):
    arrays = {}
    for part, count in (("train", train), ("val", val), ("test", test)):
        if count:
            arrays[f"{part}_images"] = rng(count).integers(0, 256, (count, *shape)).astype(dtype)
            arrays[f"{part}_labels"] = (np.arange(count) % 3)[:, None].astype(np.uint8)
    arrays |= replaced
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_npz_in_the_medmnist_convention(tmp_path):
    """Catches validation held out of training although it is there, and channels misplaced."""
    file = write_npz(tmp_path / "derma.npz", val=6, shape=(9, 7, 3))
    found = data.load("npz", tmp_path, path="derma.npz")
    assert [len(split) for split in (found.train, found.val, found.test)] == [36, 6, 12]
    assert found.test.x.shape == (12, 3, 9, 7)
    assert found.classes == ("0", "1", "2")
    assert found.test.y.tolist() == [0, 1, 2] * 4
    assert found.train.ids is None
    elsewhere = data.load("npz", EMPTY, path=str(file))
    assert elsewhere.test.digest == found.test.digest
    assert data.size("npz", "train", tmp_path, path="derma.npz") == 36


def test_npz_without_validation_gives_a_twelfth_of_training(tmp_path):
    write_npz(tmp_path / "a.npz")
    found = data.load("npz", tmp_path, path="a.npz")
    assert (len(found.train), len(found.val)) == (33, 3)
    assert sorted([*found.train.ids, *found.val.ids]) == list(range(36))
    assert np.bincount(found.val.y).tolist() == [1, 1, 1]
    assert data.size("npz", "val", tmp_path, path="a.npz") == 3


def test_npz_of_images_alone_is_an_ood_set(tmp_path):
    write_npz(tmp_path / "a.npz", train=0, test_labels=None)
    found = data.load("npz", tmp_path, path="a.npz")
    assert found.test.y is None
    assert found.classes == found.test.classes == ()


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_refused_and_never_run(tmp_path):
    """Catches allow_pickle=True, in arrays of objects and in a file that is a pickle by itself."""
    trap = tmp_path / "it ran"
    objects = np.array([Payload(trap)] * 12, dtype=object)
    write_npz(tmp_path / "objects.npz", train=0, test_images=objects)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Payload(trap)))
    folder = tmp_path / "mnist_c" / "fog"
    folder.mkdir(parents=True)
    for name in ("test_images.npy", "test_labels.npy"):
        np.save(folder / name, objects, allow_pickle=True)
    for load in (
        lambda: data.load("npz", tmp_path, path="objects.npz").test,
        lambda: data.load("npz", tmp_path, path="bare.npz").test,
        lambda: data.load("mnist-c", tmp_path, corruption="fog").test,
        lambda: arrays.read_npy(folder / "test_images.npy"),
    ):
        with pytest.raises(DataError, match=r"holds pickled Python objects|not a zip file"):
            load()
    assert not trap.exists()


@pytest.mark.parametrize(
    ("replaced", "params", "said"),
    [
        ({"test_images": np.full((12, 9, 9), 255.0)}, {}, "holds 255.0.*divided by 255"),
        ({"test_images": np.full((12, 9, 9), np.nan)}, {}, "holds nan"),
        ({"test_images": np.zeros((12, 81), np.uint8)}, {}, r"\(12, 81\)"),
        ({"test_labels": np.full((12, 1), 3)}, {}, "label 3 is outside 0 to 2"),
        ({"test_labels": np.full((12, 1), 2)}, {"classes": 2}, "label 2 is outside 0 to 1"),
        ({"test_labels": np.zeros((12, 4), int)}, {}, "one integer an image"),
        ({"test_labels": np.zeros((11, 1), int)}, {}, "12 images but 11 labels"),
        ({"test_images": None}, {}, "no array test_images among train_images"),
        ({"train_labels": None}, {}, "no array train_labels"),
        ({"train_labels": np.zeros(36)}, {}, "integers from 0, got float64"),
    ],
)
def test_wrong_npz_files_are_refused_with_their_name_and_the_fix(replaced, params, said, tmp_path):
    write_npz(tmp_path / "bad.npz", **replaced)
    with pytest.raises(DataError, match=said) as caught:
        _ = data.load("npz", tmp_path, path="bad.npz", **params).test
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"plain text"])
def test_a_broken_npz_file_is_named(content, tmp_path):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz: not an array file"):
        data.load("npz", tmp_path, path="bad.npz")


def test_a_missing_file_is_named_with_the_convention(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz.*test_images"):
        data.load("npz", tmp_path, path="absent.npz")


# ------------------------------------------------------------------ folders


def write_pictures(top, parts, *, colour=False, size=(10, 8), suffix=".png"):
    """One picture of its own brightness for each (part, class, brightness)."""
    for part, label, level in parts:
        folder = top / part / label
        folder.mkdir(parents=True, exist_ok=True)
        value = (level, 0, 255 - level) if colour else level
        Image.new("RGB" if colour else "L", size, value).save(folder / f"{level}{suffix}")


PARTS = [
    (part, label, level)
    for part in ("train", "test")
    for label, level in zip("ba", (10, 20), strict=True)
]


def test_folders_of_grey_pictures(tmp_path):
    """Catches classes in the order of the disk, width and height exchanged, stray files read."""
    write_pictures(tmp_path / "p", PARTS)
    (tmp_path / "p" / "test" / "a" / "notes.txt").write_text("no picture")
    found = data.load("folder", tmp_path, path="p")
    assert found.classes == ("a", "b")
    assert found.test.x.shape == (2, 1, 8, 10)
    assert found.test.y.tolist() == [0, 1]
    assert np.rint(found.test.x[:, 0, 0, 0] * 255).tolist() == [20, 10]
    assert data.size("folder", "test", tmp_path, path="p") == 2


def test_folders_of_colour_pictures_in_either_mode(tmp_path):
    write_pictures(tmp_path / "p", PARTS, colour=True)
    colour = data.load("folder", tmp_path, path="p").test.x
    assert np.rint(colour[0, :, 0, 0] * 255).tolist() == [20, 0, 235]
    grey = data.load("folder", tmp_path, path="p", mode="grey").test.x
    assert np.abs(grey[0] * 255 - (0.299 * 20 + 0.114 * 235)).max() <= 1
    jpegs = [("test", "a", 40), ("test", "b", 90)]
    write_pictures(tmp_path / "j", jpegs, suffix=".JPG")
    found = data.load("folder", tmp_path, path="j", mode="colour")
    assert found.test.x.shape == (2, 3, 8, 10)
    assert found.train is None


def test_held_out_pictures_keep_their_labels(tmp_path):
    """Catches labels in the order of the draw beside pictures in the order of their names."""
    train = [("train", "ab"[i % 2], i) for i in range(48)]
    write_pictures(tmp_path / "p", [*train, ("test", "a", 1)])
    found = data.load("folder", tmp_path, path="p")
    assert (len(found.train), len(found.val)) == (44, 4)
    for split in (found.train, found.val):
        assert np.array_equal(np.rint(split.x[:, 0, 0, 0] * 255) % 2, split.y)
    assert sorted([*found.train.ids, *found.val.ids]) == list(range(48))


def test_pictures_of_many_sizes_need_a_size(tmp_path):
    write_pictures(tmp_path / "p", PARTS)
    write_pictures(tmp_path / "p", [("test", "a", 99)], size=(20, 30))
    with pytest.raises(DataError, match=r"20 x 30 pixels.*10 x 8.*size"):
        _ = data.load("folder", tmp_path, path="p").test
    resized = data.load("folder", tmp_path, path="p", size=12).test.x
    assert resized.shape == (3, 1, 12, 12)
    assert np.rint(resized[:, 0, 5, 5] * 255).tolist() == [20, 99, 10]


def test_wrong_pictures_are_refused_by_name(tmp_path):
    write_pictures(tmp_path / "p", PARTS)
    bad = tmp_path / "p" / "test" / "a" / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(DataError, match=r"bad\.png: not a picture"):
        _ = data.load("folder", tmp_path, path="p").test
    Image.fromarray(np.full((8, 10), 3000, np.uint16)).save(bad)  # convert("L") would clip it
    with pytest.raises(DataError, match=r"bad\.png: mode I;16"):
        _ = data.load("folder", tmp_path, path="p").test


def test_a_class_that_training_has_not_is_refused(tmp_path):
    write_pictures(tmp_path / "p", [*PARTS, ("test", "c", 30)])
    with pytest.raises(DataError, match="a class that training has not"):
        _ = data.load("folder", tmp_path, path="p").test
    with pytest.raises(DataError, match="nowhere"):
        data.load("folder", tmp_path, path="nowhere")


# ------------------------------------------------------------------ what is there


def test_availability_lists_all_and_reads_nothing(tmp_path):
    """Catches sizes that are the published ones instead of those on disk."""
    write_set(tmp_path / "KMNIST" / "raw", test=30)
    lines = {line.name: line for line in data.availability(tmp_path)}
    assert set(lines) == set(registry.names("data"))
    assert lines["kmnist"].sizes == {"test": 30}
    assert lines["digits"].present
    assert not lines["mnist"].present
    assert "downloaded" in lines["mnist"].how
    assert str(tmp_path / "MNIST" / "raw") == lines["mnist"].where
    assert not lines["npz"].present
    assert all(line.summary and line.how for line in lines.values())


def test_a_fingerprint_is_of_bytes_not_of_places(tmp_path):
    """Catches a digest of paths or times, and one that misses a file or a change in it."""
    for home, seed in (("one", 0), ("two", 0), ("three", 1)):
        write_set(tmp_path / home / "MNIST" / "raw", train=24, seed=seed)
    one, two, three = (
        data.fingerprint("mnist", tmp_path / home) for home in ("one", "two", "three")
    )
    assert one == two
    assert len(one) == 4
    assert [a != b for a, b in zip(one, three, strict=True)] == [True, False, True, False]
    write_pictures(tmp_path / "p", PARTS)
    before = data.fingerprint("folder", tmp_path, path="p")
    (tmp_path / "p" / "test" / "a" / "20.png").rename(tmp_path / "p" / "test" / "b" / "20.png")
    assert data.fingerprint("folder", tmp_path, path="p") != before


def test_an_unknown_set_or_parameter_is_named():
    with pytest.raises(UnknownName, match="'digits'"):
        data.load("digit", EMPTY)
    with pytest.raises(InputError, match="'count'"):
        data.load("letters", EMPTY, cuont=3)
    with pytest.raises(InputError, match="needs path"):
        finding.load("npz", EMPTY)


# ------------------------------------------------------------------ the real sets


@pytest.mark.data
def test_mnist_is_torchvisions(data_dir):
    """Catches rows and columns exchanged, another scale, and images parted from their labels."""
    from torchvision import datasets

    found = data.load("mnist", data_dir)
    test = datasets.MNIST(str(data_dir), train=False)
    assert np.array_equal(found.test.x[:, 0], test.data.numpy() / np.float32(255))
    assert np.array_equal(found.test.y, test.targets.numpy())
    train = datasets.MNIST(str(data_dir), train=True)
    assert (len(found.train), len(found.val)) == (55_000, 5_000)
    for split in (found.train, found.val):
        expected = train.data.numpy()[split.ids] / np.float32(255)
        assert np.array_equal(split.x[:, 0], expected)
        assert np.array_equal(split.y, train.targets.numpy()[split.ids])
    assert not np.intersect1d(found.train.ids, found.val.ids).size
    shares = np.bincount(found.val.y) / 5000 - np.bincount(train.targets.numpy()) / 60000
    assert np.abs(shares).max() < 1 / 5000


@pytest.mark.data
def test_partial_sets_say_how_many_they_are(data_dir):
    sizes = {line.name: line.sizes for line in data.availability(data_dir)}
    for name, n in (("kmnist", 300), ("fashion-mnist", 10_000), ("notmnist", 10_000)):
        split = data.load(name, data_dir).test
        assert len(split) == sizes[name]["test"] == n
        assert np.bincount(split.y, minlength=10).min() > 0
    assert data.published("fog", data_dir)


@pytest.mark.data
def test_a_real_folder_in_colour_fits_mnist(data_dir):
    found = data.load("folder", data_dir, path="cifar10").test
    assert found.x.shape == (2000, 3, 32, 32)
    assert np.bincount(found.y).tolist() == [200] * 10
    fitted = data.fit_shape(found, (1, 28, 28))
    assert fitted.x.mean() == pytest.approx(found.x.mean(), abs=0.03)
