"""A fleet that takes over what has changed in flight equals one that reads all of it again."""

from random import Random

import msgspec
import numpy as np
import pytest

from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import NodeClass, SiteStatus
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds

_HUGE = 2**53 + 1
_NODES = NodeClass(
    free=({"count": 4, "cpu": 8000, "memory": 2**35, "pods": 110, "example.com/nic": 3},)
)


def _facts(name: str, in_flight: tuple[InFlight, ...]) -> SiteFacts:
    return SiteFacts(name=name, status=SiteStatus(node_classes=(_NODES,)), in_flight=in_flight)


def _entry(random: Random, number: int) -> InFlight:
    requests = {"cpu": random.choice((1, 500, 4000)), "pods": 1}
    if random.random() < 0.3:
        requests[random.choice(("example.com/nic", "example.com/none"))] = 1
    if random.random() < 0.1:
        requests["memory"] = _HUGE
    return InFlight(
        workload=f"ns/w{number}",
        replicas=random.randint(1, 5),
        requests=requests,
        gpu_cards=random.choice((0, 0, 0, 2)),
        gpu_milli=500,
    )


@pytest.mark.parametrize("seed", seeds(6, gate=2))
def test_changes_in_flight_leave_what_reading_all_again_gives(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet, entries = Fleet(), dict[str, dict[int, InFlight]]()
    for step in range(120):
        site = random.choice(("a", "b", "c"))
        known = entries.setdefault(site, {})
        for _ in range(random.choice((1, 1, 1, 8))):
            number = random.randrange(40)
            if number in known and random.random() < 0.5:
                del known[number]
            else:
                known[number] = _entry(random, number)
        in_flight = tuple(one for _, one in sorted(known.items()))
        fleet.upsert(_facts(site, in_flight))
        if step % 10 == 0:
            _assert_as_fresh(fleet, entries)
    _assert_as_fresh(fleet, entries)


def _assert_as_fresh(fleet: Fleet, entries: dict[str, dict[int, InFlight]]) -> None:
    for site, known in entries.items():
        in_flight = tuple(one for _, one in sorted(known.items()))
        fresh = Fleet()
        fresh.upsert(_facts(site, ()))
        fresh.upsert(_facts(site, in_flight))
        again = Fleet()
        again.upsert(_facts(site, in_flight))
        rows = _rows(fleet, site)
        assert rows == _rows(fresh, site) == _rows(again, site)
        assert _totals(fleet, site) == _totals(again, site)


def _rows(fleet: Fleet, site: str) -> list[list[float]]:
    table, slot = fleet.nodes.rows, fleet.slot_of[site]
    begin = table.start.item(slot)
    rows = table.matrix[: table.column_count, begin : begin + table.length.item(slot)].T.copy()
    rows[:, 1] = 0.0  # numbers of profiles are each fleet's own
    found: list[list[float]] = rows.tolist()
    return found


def _totals(fleet: Fleet, site: str) -> list[float]:
    totals = fleet.in_flight_totals.totals[:, fleet.slot_of[site]]
    filled = np.flatnonzero(totals)
    return totals[: filled[-1] + 1].tolist() if len(filled) else []


def test_an_entry_in_the_middle_moves_the_others_and_changes_none() -> None:
    fleet = Fleet()
    one = [InFlight(workload=f"ns/w{n}", replicas=n, requests={"cpu": n}) for n in range(1, 6)]
    fleet.upsert(_facts("a", (one[0], one[1], one[3], one[4])))
    fleet.upsert(_facts("a", tuple(one)))
    assert [row[0] for row in _rows(fleet, "a")][-5:] == [1, 2, 3, 4, 5]
    fleet.upsert(_facts("a", (one[0], msgspec.structs.replace(one[1], replicas=9), one[4])))
    assert [row[0] for row in _rows(fleet, "a")][-3:] == [1, 9, 5]
