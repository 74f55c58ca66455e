"""Which events could change which "no": every hard rule names its own, the rest stands here.

Waiting work is woken by these only. Pure.
"""

from collections.abc import Iterable
from functools import cache

from scheduler.placement.rules import Event, all_rules

_OF_THE_FIT: dict[str, frozenset[Event]] = {
    "full": frozenset({"capacity", "report", "site", "workload"}),
    "fragmented": frozenset({"capacity", "report", "site", "workload"}),
    "spread": frozenset({"capacity", "report", "site", "grant", "workload"}),
    "quota": frozenset({"tenant", "workload"}),
    "deadline": frozenset({"time", "workload"}),
    "paused": frozenset({"workload"}),
    "invalid": frozenset({"workload", "tenant"}),
}
"""Reasons that no rule in `constraints/` gives."""


@cache
def events_that_help(reason: str) -> frozenset[Event]:
    """Events that could change an answer with this reason; of an unknown one, every event."""
    found = [rule.wakes for rule in all_rules() if rule.reason == reason]
    if reason in _OF_THE_FIT:
        found.append(_OF_THE_FIT[reason])
    every: frozenset[Event] = frozenset(
        ("grant", "scheme", "tenant", "workload", "site", "report", "capacity", "time")
    )
    return frozenset[Event]().union(*found) if found else every


def could_help(events: frozenset[Event], reasons: Iterable[str]) -> bool:
    """Whether any of the events could change any of the reasons."""
    return any(events & events_that_help(reason) for reason in reasons)
