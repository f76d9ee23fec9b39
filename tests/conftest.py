import os
import random
import sys
from pathlib import Path

import hypothesis
import pytest

# One thread a worker, here and in the processes that tests start: the networks are small, and two
# workers of two threads on two cores mostly wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine, and no clock: a loaded one is slow, not wrong.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Where the real data sets lie; tests that need them skip without."""
    folder = os.environ.get("HARNESS_DATA", "")
    if not folder or not Path(folder, "MNIST", "raw").is_dir():
        pytest.skip("no real data: set HARNESS_DATA to a folder with MNIST/raw and the others")
    return Path(folder)


def _global_state() -> tuple[object, ...]:
    state: list[object] = [random.getstate(), sys.gettrace()]
    if "numpy" in sys.modules:
        import numpy as np

        name, keys, *rest = np.random.get_state()  # noqa: NPY002 -- compared, not drawn from
        state.append((name, keys.tobytes(), *rest))
    if "torch" in sys.modules:
        import torch

        state.append(torch.random.get_rng_state().numpy().tobytes())
        state.append((torch.get_num_threads(), torch.get_default_dtype()))
    return tuple(state)


@pytest.fixture(autouse=True)
def _no_global_state_is_touched():
    """Catches a global seed, a lost tracer and a changed thread count, wherever they happen."""
    import numpy as np
    import rich.default_styles  # draws from `random` when it is imported, as scikit-learn does
    import torch

    del np, torch, rich  # imported so that their state exists before the test
    before = _global_state()
    yield
    assert _global_state() == before, "a test changed global random state, tracer or threads"
