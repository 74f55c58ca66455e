"""What the collector of cyclic garbage looks through."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from scheduler.runtime.garbage import SurvivorFreezer


class Node:
    """An object that is in a cycle with itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def freezer() -> Iterator[SurvivorFreezer]:
    """A freezer that is called by the collector."""
    made = SurvivorFreezer()
    gc.callbacks.append(made)
    yield made
    gc.callbacks.remove(made)
    gc.unfreeze()


def count_looked_through() -> int:
    """How many objects the next full collection looks through."""
    return len(gc.get_objects())


@pytest.mark.usefixtures("freezer")
def test_what_a_collection_looks_through_does_not_grow_with_what_stays() -> None:
    kept: list[Node] = []
    seen = []
    for _ in range(4):
        kept.extend(Node() for _ in range(5_000))
        gc.collect()
        seen.append(count_looked_through())
    assert len(kept) == 20_000
    assert max(seen) < 2_000


@pytest.mark.usefixtures("freezer")
def test_garbage_that_survived_once_is_found_by_a_later_collection() -> None:
    node = Node()
    gone = weakref.ref(node)
    gc.collect()
    del node
    for _ in range(40):
        gc.collect()
    assert gone() is None
