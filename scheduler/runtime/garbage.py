"""How the collector of cyclic garbage is set, for the scheduler and the benchmark of decisions."""

import gc

_THRESHOLDS = (10_000, 10, 10)
"""When the collector runs. Objects of the hub come by the hundred, and with the defaults of CPython
a twentieth of a drain's CPU goes into looking through them."""
_LISTING_THRESHOLDS = (50_000, 1_000, 1_000)
"""The same while all objects of the hub are listed: they stay, and with the numbers above a quarter
of the CPU time of 10,000 workloads goes into looking through them again and again."""


def collect_less() -> None:
    """Leaves what exists now out of later collections, and makes these rarer.

    Modules, classes and what was read at the start stay for good. Without them a full collection
    holds the event loop for a few milliseconds, with them for 70.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def collect_less_while_listing() -> None:
    """As `collect_less`, and hardly collects at all until that is called."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_LISTING_THRESHOLDS)


def stop_listing() -> None:
    """Ends `collect_less_while_listing`: what was listed stays, and is not looked through."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
