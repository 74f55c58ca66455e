"""Runs work on several orders at once, and in order where they name the same object.

Which of two orders gets an object that both name must not be decided by which thread is faster, so
orders that share an object form a group, and a group runs in the order of the index.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def group_by_shared(
    items: Sequence[_T], keys_of: Callable[[_T], Iterable[Hashable]]
) -> list[list[_T]]:
    """Groups items that share a key, directly or by others; keeps the order inside and of groups.

    Args:
        items: what to group.
        keys_of: the keys of one item.
    """
    group_of_key: dict[Hashable, int] = {}
    groups: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        keys = list(keys_of(item))
        joined = sorted({group_of_key[key] for key in keys if key in group_of_key})
        members = [one for group in joined for one in groups.pop(group)]
        first = joined[0] if joined else number
        groups[first] = [*members, number]
        merged = set(joined)
        if len(merged) > 1:
            group_of_key = {
                key: first if group in merged else group for key, group in group_of_key.items()
            }
        group_of_key.update(dict.fromkeys(keys, first))
    return [[items[number] for number in sorted(groups[first])] for first in sorted(groups)]


def run_groups(groups: Sequence[Sequence[_T]], work: Callable[[_T], bool], *, at_once: int) -> bool:
    """Runs `work` on every item, on several groups at once. Blocking.

    After an error nothing more is begun; what was begun ends first.

    Args:
        groups: the items; those of one group run one after the other.
        work: what to do; returns whether it has changed something.
        at_once: the most groups at the same time.

    Returns:
        Whether any of them has changed something.

    Raises:
        Exception: the first error of `work`, in the order of the groups.
    """
    has_failed = threading.Event()

    def run_group(group: Sequence[_T]) -> bool:
        changed = False
        for item in group:
            if has_failed.is_set():
                break
            try:
                changed = work(item) or changed
            except BaseException:
                has_failed.set()
                raise
        return changed

    if len(groups) <= 1:
        return run_group(groups[0]) if groups else False
    with ThreadPoolExecutor(min(at_once, len(groups)), thread_name_prefix="orders") as pool:
        running = [pool.submit(run_group, group) for group in groups]
    return sum(one.result() for one in running) > 0  # of all, so that no error is passed over
