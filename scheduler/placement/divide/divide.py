"""Step 4, divide: who gets how many replicas, by strategy.

Steady, the default, keeps what runs and places only the difference; Fresh starts over. In both a
site never gets more than it has and what fits beside that. The strategies:

- CostOptimal fills the cheapest site first; when there are fewer replicas, the dearest gives first.
- Aggregated uses as few sites as it can, the roomiest first, and divides by room among them.
- Balanced divides in proportion to room; fewer replicas keep the proportions of what runs.
- Weighted divides by the weights that the workload names (equal ones when it names none).
- Duplicated gives every site all replicas.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.placement.cost.site_costs import Price
from scheduler.placement.divide.apportionment import fewer, webster
from scheduler.placement.fit.capacity import Room

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Cheapest

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Shares = dict[int, int]
"""Replicas by slot."""


class Ask(msgspec.Struct, frozen=True):
    """What is to be divided.

    Attributes:
        demand: what is asked.
        replicas: how many there shall be in all.
        kept: what stays where it is, by slot; empty in Fresh.
        open: slots that may get more.
        room: what fits beside what runs.
        price: what a replica costs.
        weights: by slot, for Weighted; None: equal.
        ran: what the demand itself runs, by slot, when Fresh starts over: that is room for itself.
        caps: the most that single sites may get more, by slot, where something limits them.
    """

    demand: Demand
    replicas: int
    kept: Shares
    open: Ints
    room: Room
    price: Price
    weights: Shares | None = None
    ran: Shares = msgspec.field(default_factory=dict)
    caps: Shares = msgspec.field(default_factory=dict)

    def more_at(self, slots: Ints) -> Ints:
        """How many replicas beyond `kept` each site could get; [len(slots)]."""
        more = self.room.at(slots)
        return more if not self.ran and not self.caps else self._limited(more, slots)

    def _limited(self, more: Ints, slots: Ints) -> Ints:
        own = np.array([self.ran.get(slot, 0) for slot in slots.tolist()], np.int64)
        room = more + own
        most = [
            self.caps.get(slot, all_of_it)
            for slot, all_of_it in zip(slots.tolist(), room.tolist(), strict=True)
        ]
        limited: Ints = np.minimum(room, np.array(most, np.int64))
        return limited

    @property
    def kept_total(self) -> int:
        """Replicas that stay."""
        return sum(self.kept.values())


def divide(ask: Ask) -> Shares | None:
    """Divides by the demand's strategy.

    Returns:
        Replicas by slot, kept ones included; None when there is not room for all.
    """
    missing = ask.replicas - ask.kept_total
    if ask.demand.strategy == "Duplicated":
        return _duplicated(ask)
    if missing == 0:
        return dict(ask.kept)
    strategy = ask.demand.strategy
    return (_MORE[strategy] if missing > 0 else _FEWER[strategy])(ask, abs(missing))


def _cheapest_first(ask: Ask, missing: int) -> Shares | None:
    shares = dict(ask.kept)
    cheapest = _by_kernel(ask)
    if cheapest is not None:
        return shares if cheapest.fill(shares, missing) else None
    for slot, more in by_price(ask, missing):
        given = min(more, missing)
        shares[slot] = shares.get(slot, 0) + given
        missing -= given
        if missing == 0:
            return shares
    return None


def by_price(ask: Ask, missing: int) -> Iterator[tuple[int, int]]:
    """Open sites with room, cheapest first, and how many replicas each could get.

    Where they cannot hold what is missing, fewer or none may come.
    """
    return _by_kernel(ask) or _interpreted(ask, missing)


def _by_kernel(ask: Ask) -> "Cheapest | None":
    fit = None if ask.ran or ask.caps else ask.room.sole_kernel_fit
    if fit is None:
        return None
    price = ask.price
    unknown = price.unknown if price.is_any_unknown else None
    full = ask.room.kernel_full if len(ask.open) > MANY_SITES else None
    return fit.cheapest(ask.open, price.cny, unknown, price.name_hashes, price.salt, full)


def _interpreted(ask: Ask, missing: int) -> Iterator[tuple[int, int]]:
    slots = ask.open
    if len(slots) > _AT_ONCE and not ask.ran:
        slots = ask.room.not_known_full(slots)
    if len(slots) <= _AT_ONCE:
        more = ask.more_at(slots)
        if int(more.sum()) >= missing:
            room = dict(zip(slots.tolist(), more.tolist(), strict=True))
            for slot in ask.price.sorted(slots.take(more.nonzero()[0])).tolist():
                yield slot, room[slot]
        return
    for chunk in ask.price.ranked(slots, first=min(_FEW + missing, _MANY)):
        more = ask.more_at(chunk)
        if not ask.ran:
            ask.room.note_full(chunk[more == 0])
        for slot, room_there in zip(chunk.tolist(), more.tolist(), strict=True):
            if room_there > 0:
                yield slot, room_there


MANY_SITES = 256
"""Of more open sites the kernel remembers which are full; of fewer, looking again is cheaper."""
_FEW, _MANY = 20, 64
"""Without the kernel so many sites are looked at first: a few more than replicas, but not more."""
_AT_ONCE = 64
"""Of so few sites all are looked at in one step, without the kernel."""


def _dearest_gives(ask: Ask, surplus: int) -> Shares | None:
    shares = dict(ask.kept)
    for slot in ask.price.sorted(_slots(ask.kept))[::-1].tolist():
        given = min(shares[slot], surplus)
        shares[slot] -= given
        surplus -= given
    return _without_zeros(shares)


def _aggregated(ask: Ask, missing: int) -> Shares | None:
    more = ask.more_at(ask.open)
    runs = np.array([slot in ask.kept for slot in ask.open.tolist()], np.bool_)
    ranks = np.lexsort((ask.price.tie(ask.open), ask.price.cny[ask.open], -more, ~runs))
    enough = np.cumsum(more[ranks])
    used = int(np.searchsorted(enough, missing)) + 1
    if used > len(ranks):
        return None
    chosen = ranks[:used]
    return _added(
        ask,
        ask.open[chosen],
        _seats(ask, missing, more[chosen], ask.open[chosen], more[chosen]),
    )


def _aggregated_fewer(ask: Ask, _surplus: int) -> Shares | None:
    slots = _slots(ask.kept)
    held = np.array([ask.kept[slot] for slot in slots.tolist()], np.int64)
    ranks = np.lexsort((ask.price.tie(slots), ask.price.cny[slots], -held))
    used = int(np.searchsorted(np.cumsum(held[ranks]), ask.replicas)) + 1
    chosen = ranks[:used]
    left = _seats(ask, ask.replicas, held[chosen], slots[chosen], held[chosen])
    return None if left is None else _without_zeros(_by_slot(slots[chosen], left))


def _by_room(ask: Ask, missing: int) -> Shares | None:
    more = ask.more_at(ask.open)
    return _added(ask, ask.open, _seats(ask, missing, more, ask.open, more))


def _in_proportion(ask: Ask, _surplus: int) -> Shares | None:
    slots = _slots(ask.kept)
    held = np.array([ask.kept[slot] for slot in slots.tolist()], np.int64)
    left = _seats(ask, ask.replicas, held, slots, held)
    return None if left is None else _without_zeros(_by_slot(slots, left))


def _by_weight(ask: Ask, _missing: int) -> Shares | None:
    """Towards the weights: whatever is added goes where the share is shortest of its weight."""
    slots = np.union1d(ask.open, _slots(ask.kept)).astype(np.int64)
    held = np.array([ask.kept.get(slot, 0) for slot in slots.tolist()], np.int64)
    is_open = np.isin(slots, ask.open)
    more = np.where(is_open, ask.more_at(slots), 0)
    seats = webster(
        ask.replicas,
        _weights(ask, slots),
        caps=held + more,
        start=held,
        tie=ask.price.tie(slots),
    )
    return None if seats is None else _without_zeros(_by_slot(slots, seats))


def _weight_fewer(ask: Ask, _surplus: int) -> Shares | None:
    slots = _slots(ask.kept)
    held = np.array([ask.kept[slot] for slot in slots.tolist()], np.int64)
    left = fewer(ask.replicas, _weights(ask, slots), held, tie=ask.price.tie(slots))
    return _without_zeros(_by_slot(slots, left))


def _duplicated(ask: Ask) -> Shares | None:
    """Every site that can gets all replicas; one that cannot take more keeps what it has."""
    shares = dict(ask.kept)
    more = ask.more_at(ask.open)
    for slot, room in zip(ask.open.tolist(), more.tolist(), strict=True):
        held = ask.kept.get(slot, 0)
        if held + room >= ask.replicas:
            shares[slot] = ask.replicas
    for slot, held in shares.items():
        shares[slot] = min(held, ask.replicas)
    shares = _without_zeros(shares)
    return shares or (None if ask.replicas else {})


_MORE: dict[str, Callable[[Ask, int], Shares | None]] = {
    "CostOptimal": _cheapest_first,
    "Aggregated": _aggregated,
    "Balanced": _by_room,
    "Weighted": _by_weight,
}
_FEWER: dict[str, Callable[[Ask, int], Shares | None]] = {
    "CostOptimal": _dearest_gives,
    "Aggregated": _aggregated_fewer,
    "Balanced": _in_proportion,
    "Weighted": _weight_fewer,
}


def _seats(ask: Ask, total: int, weights: Ints, slots: Ints, caps: Ints) -> Ints | None:
    """Divides `total` among slots, ties by the hash of the workload."""
    return webster(total, weights.astype(np.float64), caps=caps, tie=ask.price.tie(slots))


def _weights(ask: Ask, slots: Ints) -> Floats:
    if ask.weights is None:
        return np.ones(len(slots))
    return np.array([float(ask.weights.get(slot, 0)) for slot in slots.tolist()])


def _slots(shares: Shares) -> Ints:
    return np.array(sorted(shares), np.int64)


def _by_slot(slots: Ints, seats: Ints) -> Shares:
    return dict(zip(slots.tolist(), seats.tolist(), strict=True))


def _added(ask: Ask, slots: Ints, seats: Ints | None) -> Shares | None:
    if seats is None:
        return None
    shares = dict(ask.kept)
    for slot, more in zip(slots.tolist(), seats.tolist(), strict=True):
        shares[slot] = shares.get(slot, 0) + more
    return _without_zeros(shares)


def _without_zeros(shares: Shares) -> Shares:
    return {slot: count for slot, count in shares.items() if count > 0}
