"""Data sets: what they are called, where they lie, and what is refused.

    from harness.data import load

    digits = load("digits", Path("data"))
    digits.train, digits.val, digits.test      # splits, each read when first asked for

A data set is a function `(data_dir, *, ...) -> Dataset` registered as a plug of kind "data", with
two more for plans and listings: `survey` (what is on disk) and `obtain` (the same, after a download
if nothing was). torch is imported only to download.
"""

from __future__ import annotations

from harness.data.corrupted import mnist_c, published
from harness.data.drawing import stratified
from harness.data.embedded import digits, letters, patches
from harness.data.finding import Availability, availability, fingerprint, load, parts, size
from harness.data.idx import fashion_mnist, kmnist, mnist, notmnist
from harness.data.own import folder, npz
from harness.data.pixels import fit_shape
from harness.data.sets import Dataset, Found

__all__ = [
    "Availability",
    "Dataset",
    "Found",
    "availability",
    "digits",
    "fashion_mnist",
    "fingerprint",
    "fit_shape",
    "folder",
    "kmnist",
    "letters",
    "load",
    "mnist",
    "mnist_c",
    "notmnist",
    "npz",
    "parts",
    "patches",
    "published",
    "size",
    "stratified",
]
