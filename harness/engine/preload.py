"""What the server process imports once, before any worker is forked from it."""

import torch  # noqa: F401 -- imported for the workers

import harness.jobs.bench  # noqa: F401 -- imported for the workers
