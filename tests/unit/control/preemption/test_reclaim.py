"""Owners take back guaranteed quota, and each tenant's status says what is used and lent."""

from typing import Any

from scheduler.control.ports.hub import TENANTS, WORKLOADS
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.status.migration import shares_in
from scheduler.control.tenant_status_writer import TenantStatusWriter
from tests.support.control_loops import ControlLoops
from tests.support.failing_city import FailingCity
from tests.support.sites import Raw, tenant_of_ns, workload


def of(namespace: str, name: str, replicas: int, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    raw = workload(replicas, name=name, **spec)
    raw["metadata"]["namespace"] = namespace
    return raw


async def city_of(room: dict[str, int], *tenants: Raw) -> FailingCity:
    city = FailingCity(room, loops=ControlLoops(has_tenant=False))
    for one in tenants:
        await city.loops.hub.create(TENANTS, one)
    return city


def runs(city: FailingCity, namespace: str, name: str) -> int:
    groups = city.loops.objects.workloads[namespace, name].status.placement.groups
    return sum(one.replicas for one in shares_in(groups).values())


async def arrives(city: FailingCity, raw: Raw) -> None:
    await city.loops.hub.create(WORKLOADS, raw)
    city.loops.read_hub()


OWNER = tenant_of_ns("own", name="owner", quota={"cpu": "2"})
GUEST = tenant_of_ns("guest", name="guest", quota={"cpu": "1"}, borrowing=True)


async def test_an_owner_takes_back_what_it_is_guaranteed_whatever_the_priority() -> None:
    city = await city_of({"m1": 3}, OWNER, GUEST)
    async with city.started(of("guest", "batch", 3, priority=500)):
        assert runs(city, "guest", "batch") == 3
        await arrives(city, of("own", "app", 2))
        await city.live(40)
        assert runs(city, "own", "app") == 2
        assert runs(city, "guest", "batch") == 1, "its own quota is not touched"
        conditions = city.loops.objects.workloads["guest", "batch"].status.conditions
        (found,) = [one for one in conditions if one.type == "Preempted"]
        assert found.reason == "Reclaimed"
        assert "guaranteed quota reclaimed for own/app" in found.message


async def test_work_on_borrowed_quota_ends_none_that_is_guaranteed() -> None:
    city = await city_of({"m1": 2}, OWNER, GUEST)
    async with city.started(of("own", "app", 2)):
        await arrives(city, of("guest", "batch", 2, priority=500, preemption="LowerPriority"))
        await arrives(city, of("guest", "one", 1, priority=500, preemption="LowerPriority"))
        await city.live(40)
        assert runs(city, "guest", "batch") == 0, "it would have to borrow"
        assert runs(city, "guest", "one") == 1, "that is guaranteed, and its priority is higher"
        assert runs(city, "own", "app") == 1


async def test_what_is_not_borrowed_is_not_taken_back() -> None:
    city = await city_of(
        {"m1": 3}, OWNER, {**GUEST, "spec": {**GUEST["spec"], "quota": {"cpu": 3}}}
    )
    async with city.started(of("guest", "batch", 3, priority=500)):
        await arrives(city, of("own", "app", 2))
        await city.live(40)
        assert (runs(city, "own", "app"), runs(city, "guest", "batch")) == (0, 3)


async def test_an_owner_beyond_its_quota_takes_nothing_back() -> None:
    richer = {**OWNER, "spec": {**OWNER["spec"], "borrowing": True}}
    city = await city_of({"m1": 3}, richer, GUEST)
    async with city.started(of("guest", "batch", 3)):
        await arrives(city, of("own", "app", 3))
        await city.live(40)
        assert (runs(city, "own", "app"), runs(city, "guest", "batch")) == (0, 3)


async def test_within_a_tenant_lower_work_frees_quota_for_higher() -> None:
    city = await city_of({"m1": 4, "m2": 4}, OWNER)
    async with city.started(of("own", "low", 1), of("own", "high", 1, priority=400)):
        assert runs(city, "own", "low") + runs(city, "own", "high") == 2
        await arrives(city, of("own", "app", 1, priority=300, preemption="LowerPriority"))
        await arrives(city, of("own", "other", 1, priority=300))
        await city.live(40)
        assert runs(city, "own", "app") == 1, "there is room, and now there is quota"
        assert runs(city, "own", "other") == 0
        assert runs(city, "own", "high") == 1
        assert runs(city, "own", "low") == 0


async def test_teams_of_one_bureau_take_back_from_each_other() -> None:
    bureau = tenant_of_ns("head", name="bureau", quota={"cpu": "4"})
    teams = [
        tenant_of_ns(name, name=name, parent="bureau", quota={"cpu": "2"}, borrowing=True)
        for name in ("one", "two")
    ]
    city = await city_of({"m1": 4}, bureau, *teams)
    async with city.started(of("one", "app", 4, priority=9)):
        assert runs(city, "one", "app") == 4
        await arrives(city, of("two", "app", 2))
        await city.live(40)
        assert (runs(city, "one", "app"), runs(city, "two", "app")) == (2, 2)


async def test_a_team_of_a_missing_bureau_is_refused_by_name_until_it_is_there() -> None:
    city = await city_of({"m1": 4}, tenant_of_ns("ns", name="team", parent="bureau"))
    async with city.started(workload(1, name="app")):
        assert city.status().phase == "Refused"
        assert "there is no Tenant bureau" in city.status().reason
        assert city.condition(kind="Accepted")[1] == "MissingParent"
        await city.loops.hub.create(TENANTS, tenant_of_ns("head", name="bureau"))
        city.loops.read_hub()
        await city.live(20)
        assert city.status().phase == "Running"


async def test_a_status_says_what_is_used_borrowed_lent_and_waits() -> None:
    city = await city_of({"m1": 3}, OWNER, GUEST)
    async with city.started(of("guest", "batch", 3), of("guest", "more", 1)):
        loops = city.loops
        writer = TenantStatusWriter(
            hub=loops.hub,
            objects=loops.objects,
            quotas=loops.quotas,
            fair_shares=loops.term.fair_shares,
            clock=loops.clock,
            faults=loops.faults,
        )
        await writer.write_changed()
        loops.read_hub()
        guest, owner = (loops.objects.tenants[one].status for one in ("guest", "owner"))
        assert (guest.used["cpu"], guest.borrowed, guest.lent) == ("3", {"cpu": "2"}, {})
        assert (guest.share, guest.waiting) == (3.0, 1)
        assert (owner.used, owner.borrowed, owner.lent) == ({}, {}, {"cpu": "2"})
        assert owner.conditions[0].status == "True"
        versions = [(await loops.hub.get(TENANTS, "guest"))["metadata"]["resourceVersion"]]
        await writer.write_changed()
        versions.append((await loops.hub.get(TENANTS, "guest"))["metadata"]["resourceVersion"])
        assert versions[0] == versions[1], "what is the same is not written again"


async def test_a_status_names_what_is_wrong_with_the_hierarchy() -> None:
    circle = [tenant_of_ns(one, name=one, parent=other) for one, other in ("ab", "ba")]
    teams = [
        tenant_of_ns("head", name="bureau", quota={"cpu": "2"}),
        tenant_of_ns("team", name="team", parent="bureau", quota={"cpu": "3"}),
    ]
    city = await city_of({"m1": 3}, *circle, *teams)
    async with city.started():
        loops = city.loops
        writer = TenantStatusWriter(
            hub=loops.hub,
            objects=loops.objects,
            quotas=loops.quotas,
            fair_shares=loops.term.fair_shares,
            clock=loops.clock,
            faults=loops.faults,
        )
        await writer.write_changed()
        loops.read_hub()
        (found,) = loops.objects.tenants["a"].status.conditions
        assert (found.status, found.reason) == ("False", "TenantCycle")
        assert "a → b → a" in found.message
        kinds = {one.type: one for one in loops.objects.tenants["bureau"].status.conditions}
        assert kinds["QuotaCovered"].status == "False"
        assert "cpu: 3 of 2" in kinds["QuotaCovered"].message


def shares_of(city: FailingCity) -> FairShares:
    return city.loops.term.fair_shares


async def test_a_bureau_gets_no_more_by_having_many_teams() -> None:
    teams = [tenant_of_ns(f"t{n}", name=f"t{n}", parent="bureau") for n in range(3)]
    bureau = tenant_of_ns("head", name="bureau", quota={"cpu": "6"})
    alone = tenant_of_ns("alone", name="alone", quota={"cpu": "6"})
    city = await city_of({"m1": 9}, bureau, alone, *teams)
    work = [of(f"t{n}", "app", 1 + n) for n in range(2)]
    async with city.started(*work, of("alone", "app", 2)):
        await city.live(20)
        shares = {name: shares_of(city).share(name) for name in ("t0", "t1", "t2", "alone")}
        assert shares["alone"] < shares["t2"], "3 of 6 in all teams, and 2 of 6"
        assert shares["t2"] < shares["t0"] < shares["t1"], "between teams by their own"
