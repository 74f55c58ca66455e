"""Failover on small fleets: never over-committed, replacement first, and the fewest moves."""

from itertools import product
from random import Random

import pytest

from tests.support.counts import seeds
from tests.support.failing_city import FailingCity
from tests.support.sites import Raw, workload

NAMES = ("m1", "m2", "m3", "m4")


def draw(random: Random) -> tuple[FailingCity, list[Raw]]:
    city = FailingCity({name: random.randint(1, 5) for name in NAMES})
    asked = [
        workload(
            random.randint(1, 2),
            name=f"w{number}",
            priority=random.choice((0, 0, 5)),
            placement={"siteSelector": {"matchLabels": {}}},
            failover=random.choice(({}, {}, {"mode": "Manual"}, {"onReturn": "Return"})),
        )
        for number in range(random.randint(2, 5))
    ]
    return city, asked


def needed(city: FailingCity) -> dict[str, int]:
    return {name: sum(city.where(name).values()) for name in workloads(city)}


def workloads(city: FailingCity) -> list[str]:
    return sorted(name for _, name in city.loops.objects.workloads)


def check_rooms(city: FailingCity) -> None:
    """No site that reports runs more than it has room for, nor is ordered more."""
    for site in city.room.keys() - city.silent:
        ordered = sum(
            city.where(name).get(site, 0) + city.leaving(name).get(site, 0)
            for name in workloads(city)
        )
        assert ordered <= city.room[site], (site, ordered)


def check_running(city: FailingCity, wanted: dict[str, int]) -> None:
    """What was ordered stays ordered somewhere until its replacement runs."""
    for name, replicas in wanted.items():
        there = sum(city.where(name).values())
        assert there == replicas, name
        runs = sum(
            count
            for site, orders in city.runs.items()
            if city.where(name).get(site) or city.leaving(name).get(site)
            for order_id, (_, count) in orders.items()
            if order_id.split("/")[2] == name
        )
        assert runs >= replicas, f"{name} was withdrawn before its replacement ran"


def could_fit(room: dict[str, int], replicas: int) -> bool:
    """Whether any division of the replicas fits: brute force."""
    return any(
        sum(parts) == replicas and all(p <= room[s] for p, s in zip(parts, room, strict=True))
        for parts in product(range(replicas + 1), repeat=len(room))
    )


async def tell_a_story(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a story, not a secret
    city, asked = draw(random)
    async with city.started(*asked):
        await city.live(10)
        wanted = {name: count for name, count in needed(city).items() if count}
        before = {name: city.where(name) for name in wanted}
        dead = random.sample(NAMES, random.choice((1, 1, 2)))
        city.fall_silent(*dead)
        for _ in range(16):
            await city.live(10)
            check_rooms(city)
            check_running(city, wanted)
        due = {
            name
            for name in wanted
            if set(before[name]) & {*dead}
            and city.loops.objects.workloads["ns", name].spec.failover.mode is None  # type: ignore[union-attr]
        }
        moved = {name for name in wanted if city.where(name) != before[name]}
        assert moved <= due, "nothing else moves"
        room = {
            site: city.room[site] - sum(city.where(name).get(site, 0) for name in wanted)
            for site in NAMES
            if site not in dead
        }
        for name in due:
            for site, count in before[name].items():
                kept = city.where(name).get(site, 0)
                if site not in dead:
                    assert kept >= count, "what runs elsewhere stays"
                elif kept:
                    assert not could_fit(room, count), f"{name} at {site} could be replaced"
        moves = sum(len(set(before[name]) - set(city.where(name))) for name in due)
        least = sum(
            1
            for name in due
            for site in before[name]
            if site in dead and site not in city.where(name)
        )
        assert moves == least
        city.come_back(*dead)
        for _ in range(12):
            await city.live(10)
            check_rooms(city)
            check_running(city, wanted)
        for site in NAMES:
            listed = {order_id.split("/")[2] for order_id in city.runs[site]}
            placed = {
                name
                for name in wanted
                if city.where(name).get(site) or city.leaving(name).get(site)
            }
            assert listed == placed, "two run no longer than a report after the return"


@pytest.mark.parametrize("seed", seeds(12, gate=4))
async def test_no_failover_breaks_a_promise(seed: int) -> None:
    await tell_a_story(seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(12, 300))
async def test_no_failover_of_many_breaks_a_promise(seed: int) -> None:
    await tell_a_story(seed)
