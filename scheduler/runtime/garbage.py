"""How the collector of cyclic garbage is set, for the scheduler and the benchmark of decisions."""

import gc

_THRESHOLDS = (10_000, 10, 10)
"""When the collector runs. Objects of the hub come by the hundred, and with the defaults of CPython
a twentieth of a drain's CPU goes into looking through them."""


def collect_less() -> None:
    """Leaves what exists now out of later collections, and makes these rarer.

    Modules, classes and what was read at the start stay for good. Without them a full collection
    holds the event loop for a few milliseconds, with them for 70.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
