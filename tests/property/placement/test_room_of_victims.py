"""The room that victims surely leave, against the fit after every assignment of their pods."""

from random import Random
from typing import Any

import msgspec
import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.preemption import PossibleVictim, VictimShare
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.preemption import tried_room as tried
from scheduler.placement.preemption import worst_room
from scheduler.placement.preemption.worst_room import SiteRoom, SuitableNodes, freed_pods
from tests.support.sites import NOW, Raw, demand, facts_of, grant, site, workload

CONTEXT = decision_context(NOW, DEFAULT_TERMS)


def some_site(random: Random, *, headroom: float, in_flight: int) -> SiteFacts:
    classes: list[Raw] = [
        {
            "architecture": architecture,
            "free": [
                {
                    "count": random.choice((1, 1, 2)),
                    "cpu": str(random.randrange(5)),
                    "memory": f"{random.randrange(6)}Gi",
                    "pods": random.choice((1, 2, 9)),
                }
                for _ in range(random.choice((1, 1, 2)))
            ],
        }
        for architecture in random.choice((("amd64",), ("amd64", "arm64")))
    ]
    flight = InFlight(
        workload="ns/flies",
        replicas=max(1, in_flight),
        requests={"cpu": random.choice((500, 1000, 3000)), "memory": 1 << 29, "pods": 1},
    )
    raw = site("s", *classes, spec={"headroom": {"ratio": headroom}})
    return facts_of(raw, grant("s"), in_flight=(flight,) if in_flight else ())


def some_victims(random: Random) -> list[tuple[PossibleVictim, int]]:
    found = []
    for number in range(random.choice((1, 1, 2))):
        requests = {
            "cpu": random.randrange(1, 7) * 500,
            "memory": random.randrange(4) << 30,
            "pods": 1,
        }
        count = random.choice((1, 2, 3))
        victim = PossibleVictim(
            workload=f"ns/v{number}",
            unit=(Pods(shape=PodShape(requests=requests), count=1),),
            architectures=("amd64", "arm64"),
            shares=(VictimShare(site="s", replicas=count),),
        )
        found.append((victim, count))
    return found


def asking(random: Random) -> Demand:
    requests = {"cpu": str(random.randrange(1, 5)), "memory": f"{random.randrange(1, 4)}Gi"}
    more: dict[str, Any] = {"antiAffinity": "hostname"} if random.random() < 0.2 else {}
    return demand(workload(9, name="p", requests=requests, demand=more))


def both(
    random: Random, monkeypatch: pytest.MonkeyPatch, *, headroom: float = 0.0, in_flight: int = 0
) -> tuple[int, int]:
    """The room by the rule, and the least over all assignments."""
    facts, asked = some_site(random, headroom=headroom, in_flight=in_flight), asking(random)
    fleet = Fleet([facts])
    freed = [pods for one, count in some_victims(random) for pods in freed_pods(one, count)]
    room = SiteRoom(SuitableNodes(asked, fleet, None), fleet.slot_of["s"]).replicas_when(freed)
    with monkeypatch.context() as patch:
        patch.setattr(tried, "_MAX_ASSIGNMENTS", 10**6)
        return room, tried.tried_room(asked, facts, freed, frozenset(), CONTEXT)


def test_the_room_is_the_least_over_every_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    random, some = Random(5), 0  # noqa: S311 - a test, seeded
    for _ in range(50):
        room, least = both(random, monkeypatch)
        assert room == least
        some += room > 0
    assert some > 12


def test_beside_what_is_in_flight_and_with_headroom_it_is_never_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(6)  # noqa: S311 - a test, seeded
    for _ in range(20):
        room, least = both(random, monkeypatch, headroom=random.choice((0.0, 0.1, 0.3)))
        assert room <= least
        room, least = both(random, monkeypatch, in_flight=random.choice((1, 2)))
        assert room <= least


def test_the_bound_for_many_nodes_is_never_more(monkeypatch: pytest.MonkeyPatch) -> None:
    random, some = Random(8), 0  # noqa: S311 - a test, seeded
    for _ in range(40):
        with monkeypatch.context() as patch:
            patch.setattr(worst_room, "_MAX_STEPS", 0)
            room, least = both(random, monkeypatch)
        assert room <= least
        some += room > 0
    assert some > 6


def test_pods_that_cannot_run_on_a_node_are_not_freed_there() -> None:
    rows = [{"cpu": "0", "memory": "9Gi", "pods": 9}]
    classes = [{"architecture": one, "free": rows} for one in ("amd64", "arm64")]
    fleet = Fleet([facts_of(site("s", *classes), grant("s"))])
    random = Random(1)  # noqa: S311 - a test, seeded
    (victim, _), *_rest = some_victims(random)
    shape = PodShape(requests={"cpu": 2000, "pods": 1})
    victim = msgspec.structs.replace(victim, unit=(Pods(shape=shape, count=1),))
    asked = demand(workload(1, requests={"cpu": "2"}))
    room = SiteRoom(SuitableNodes(asked, fleet, None), fleet.slot_of["s"])
    anywhere = freed_pods(victim, 2)
    only_amd = freed_pods(msgspec.structs.replace(victim, architectures=("amd64",)), 2)
    assert (room.replicas_when(anywhere), room.replicas_when(only_amd)) == (0, 2)
