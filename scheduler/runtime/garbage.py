"""How the collector of cyclic garbage is set, for the scheduler and the benchmark of decisions."""

import gc
from collections.abc import Mapping

_THRESHOLDS = (10_000, 10, 10)
"""When the collector runs. Objects of the hub come by the hundred, and with the defaults of CPython
a twentieth of a drain's CPU goes into looking through them."""
_LISTING_THRESHOLDS = (50_000, 1_000, 1_000)
"""The same while all objects of the hub are listed: they stay, and with the numbers above a quarter
of the CPU time of 10,000 workloads goes into looking through them again and again."""

_FULL_AFTER = 32
"""Every so many collections of the oldest generation, what was left out is looked through too."""
_OLDEST_GENERATION = 2


class SurvivorFreezer:
    """A callback of the collector that leaves out what has survived a full collection.

    What the hub holds of workloads stays for as long as they do, and references alone free most of
    it. To look through all of that again each time would cost every event by the number of
    workloads, and hold the event loop for a millisecond for each thousand objects. Garbage in
    cycles that survived once is found by every `_FULL_AFTER`th collection, which looks through all.
    """

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by the collector at the start and the stop of each collection."""
        if info["generation"] != _OLDEST_GENERATION:
            return
        if phase == "stop":
            gc.freeze()
            return
        self._count += 1
        if self._count % _FULL_AFTER == 0:
            gc.unfreeze()


_freeze_survivors = SurvivorFreezer()


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
    """Ends `collect_less_while_listing`: what was listed stays, and is not looked through.

    From now on the same holds for what survives a collection of the oldest generation.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    if _freeze_survivors not in gc.callbacks:
        gc.callbacks.append(_freeze_survivors)
