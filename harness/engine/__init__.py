"""Plan to store: what is not there yet is done, the longest jobs first.

An executor does jobs somewhere (here, in processes, later on a cluster) and tells what becomes of
them; the scheduler knows nothing else. A job that fails is recorded with its reason and the rest
goes on; what needed it is recorded as skipped. The same plan run again continues where it stopped.
"""

from harness.engine.executors import Executor, Inline, Place, Processes, Report
from harness.engine.schedule import Outcome, Watcher, execute, pending

__all__ = [
    "Executor",
    "Inline",
    "Outcome",
    "Place",
    "Processes",
    "Report",
    "Watcher",
    "execute",
    "pending",
]
