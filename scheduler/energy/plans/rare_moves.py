"""Where services run when each may move rarely: by the expected intensity of the time until then.

A service that could move every hour would follow each wind front. One that may move once a week
gains nearly as much where the order of grids lasts, if it looks at weeks and not at hours. So each
place counts by the mean of its last week and of its last four weeks, and a move has a price: for a
while the service runs at both places. Room is given out to all services at once, at least cost.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WEEK_HOURS = 168
_MONTH_HOURS = 4 * _WEEK_HOURS
_FEWEST_HOURS = 24


def expected_level(history: Floats) -> float:
    """The intensity that a place is expected to have over the coming weeks; NaN: unknown.

    Args:
        history: g/kWh of past hours, the newest last; NaN: unknown.
    """
    means = []
    for hours in (_WEEK_HOURS, _MONTH_HOURS):
        recent = history[-hours:]
        known = recent[~np.isnan(recent)]
        # A mean over half of the hours may be that of the nights.
        if len(known) < max(_FEWEST_HOURS, len(recent) // 2):
            return float("nan")
        means.append(float(known.mean()))
    return sum(means) / len(means)


def rare_moves(
    at: Sequence[int],
    levels: Floats,
    allowed: Bools,
    room: Ints,
    *,
    horizon_hours: float,
    moving_hours: float,
    movable: Bools | None = None,
) -> Ints:
    """The place of each service until it may move again.

    Args:
        at: where each service runs; [services].
        levels: expected intensity of each place; NaN: unknown, and then nothing moves there;
            [places].
        allowed: where each may run by its rules; [services, places].
        room: how many services each place takes; [places].
        horizon_hours: for how long the choice stands.
        moving_hours: for how long a service that moves runs at both places.
        movable: which services may move now; None: all.

    Returns:
        The places; [services]. Where a service cannot stay within rules and room, and finds no
        other place, it stays.

    Raises:
        ValueError: shapes differ, or hours are not above 0.
    """
    now = np.asarray(at, np.int64)
    services, places = allowed.shape
    if len(now) != services or len(levels) != places or len(room) != places:
        raise ValueError("each service needs a place, and each place a level and room")
    if not horizon_hours > 0 or not moving_hours >= 0:
        raise ValueError("a horizon is above 0 h, and a move takes 0 h or more")
    unknown = np.isnan(levels)
    worst = float(np.where(unknown, 0.0, levels).max(initial=0.0))
    grams = np.where(unknown, worst, levels)
    stays = np.arange(places) == now[:, None]
    cost = grams * horizon_hours + np.where(stays, 0.0, grams * moving_hours)
    free = np.ones(services, np.bool_) if movable is None else movable
    open_ = stays | (allowed & ~unknown & free[:, None])
    return _least_cost(np.where(open_, cost, np.inf), room, now)


def _least_cost(cost: Floats, room: Ints, now: Ints) -> Ints:
    """A place for each service at least cost in all, with room for each; by shortest paths.

    Each service in turn gets a place, for which others may be moved on along the cheapest chain
    (Jonker and Volgenant, 1987). One that finds none stays where it is.
    """
    services = len(cost)
    left = np.maximum(room, 0).copy()
    chosen = np.full(services, -1, np.int64)
    for service in range(services):
        _give_place(service, cost, left, chosen)
    return np.where(chosen < 0, now, chosen)


def _give_place(service: int, cost: Floats, left: Ints, chosen: Ints) -> None:
    """Takes the cheapest chain of moves that ends at a place with room (Bellman and Ford)."""
    places = cost.shape[1]
    length = cost[service].copy()
    before = np.full(places, -1, np.int64)  # the place from which a service moves on
    mover = np.full(places, service, np.int64)
    placed = np.flatnonzero(chosen >= 0)
    for _ in range(places):
        if not len(placed):
            break
        source = chosen[placed]
        onward = length[source, None] + cost[placed] - cost[placed, source][:, None]
        best = onward.argmin(axis=0)
        found = onward[best, np.arange(places)]
        shorter = found < length - _TOLERANCE
        if not shorter.any():
            break
        length = np.where(shorter, found, length)
        before = np.where(shorter, source[best], before)
        mover = np.where(shorter, placed[best], mover)
    ends = np.where(left > 0, length, np.inf)
    end = int(ends.argmin())
    if not np.isfinite(ends[end]):
        return
    left[end] -= 1
    for _ in range(places + 1):
        chosen[mover[end]] = end
        if before[end] < 0:
            return
        end = int(before[end])


_TOLERANCE = 1e-7
"""Grams: shorter chains by less are rounding, and could go in circles."""
