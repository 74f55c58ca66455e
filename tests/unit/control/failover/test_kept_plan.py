"""When a loss comes, failover follows the plan that was kept for it, as far as that still holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler.model.decision import Decision
from scheduler.model.demand.assignment import AssignedReplicas, AssignedWorkload
from scheduler.model.demand.loss_plan import KeptPlans, LossPlan, make_loss_plan
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import workload


def plan(loss: str, sites: set[str], to: str, replicas: int = 2) -> LossPlan:
    entry = AssignedWorkload(
        workload="ns/app", sites=(AssignedReplicas(site=to, replicas=replicas),)
    )
    return make_loss_plan(loss, sites, (entry,))


def keep(city: FailingCity, *plans: LossPlan) -> None:
    kept = KeptPlans(plans)
    city.loops.reconciler.decider.kept_plans = lambda: kept


def last_record(city: FailingCity) -> tuple[Decision, dict[str, object]]:
    content = next(
        content
        for subject, content in reversed(city.loops.recorder.records)
        if subject == "ns/app" and "decision" in content
    )
    return content["decision"], content


@asynccontextmanager
async def city_with(**room: int) -> AsyncIterator[FailingCity]:
    """The workload runs at `m1`, and the other sites get their room only then."""
    city = FailingCity({"m1": 4} | dict.fromkeys(room, 0))
    async with city.started(workload(2, name="app")):
        assert city.where() == {"m1": 2}
        city.room |= room
        await city.live(20)
        yield city


async def usual_target() -> str:
    """Where the workload goes without a plan."""
    async with city_with(m2=4, m3=4) as city:
        city.fall_silent("m1")
        await city.live(140)
        (site,) = city.where()
        decision, content = last_record(city)
        assert decision.batch is None
        assert "planOf" not in content
        return site


def other_than(site: str) -> str:
    return "m2" if site == "m3" else "m3"


async def test_the_plan_is_followed_and_its_digest_and_list_are_recorded() -> None:
    usual = await usual_target()
    kept = plan("m1", {"m1"}, other_than(usual))
    async with city_with(m2=4, m3=4) as city:
        keep(city, kept)
        city.fall_silent("m1")
        await city.live(140)
        assert city.where() == {other_than(usual): 2}
        decision, content = last_record(city)
        assert decision.batch is not None
        assert (decision.batch.assignment, decision.batch.loss) == (kept.version, "m1")
        assert content["assignment"] == kept.version
        assert content["planOf"] == "m1"
        assert content["plan"] == kept.workloads


async def test_a_plan_without_room_now_is_passed_over_and_it_is_planned_again() -> None:
    usual = await usual_target()
    async with city_with(**{usual: 4, other_than(usual): 1}) as city:
        keep(city, plan("m1", {"m1"}, other_than(usual)))
        city.fall_silent("m1")
        await city.live(140)
        assert city.where().keys() <= {"m2", "m3"}
        assert sum(city.where().values()) == 2
        assert city.where() != {other_than(usual): 2}
        assert last_record(city)[0].batch is None


async def test_when_a_target_is_lost_too_the_plan_of_the_larger_loss_counts() -> None:
    async with city_with(m2=4, m3=4, m4=4) as city:
        larger = plan("province=P", {"m1", "m2"}, "m4")
        keep(city, plan("m1", {"m1"}, "m2"), larger)
        city.fall_silent("m1", "m2")
        await city.live(140)
        assert city.where() == {"m4": 2}
        batch = last_record(city)[0].batch
        assert batch is not None
        assert (batch.assignment, batch.loss) == (larger.version, "province=P")


async def test_a_drain_is_no_loss() -> None:
    async with city_with(m2=4, m3=4) as city:
        keep(city, *(plan(f"{site} after m1", {"m1"}, site) for site in ("m2", "m3")))
        await city.drain("m1")
        await city.live(60)
        assert "m1" not in city.where()
        assert last_record(city)[0].batch is None


async def test_work_that_prefers_sites_is_placed_by_its_preference() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4})
    async with city.started(pinned("app", "m1")):
        keep(city, plan("m1", {"m1"}, "m2"))
        city.fall_silent("m1")
        await city.live(140)
        assert "m1" not in city.where()
        assert last_record(city)[0].batch is None


def test_the_smallest_loss_that_has_all_lost_sites_counts() -> None:
    kept = KeptPlans(
        [
            plan("province=P", {"m1", "m2", "m3"}, "m9"),
            plan("m1", {"m1"}, "m2"),
            plan("city=C", {"m1", "m2"}, "m3"),
        ]
    )
    silent: set[str] = set()

    def loss_of(*lost: str) -> str:
        entry = kept.entry_for("ns/app", lost, lambda site: site not in silent)
        return entry.loss if entry else ""

    assert len(kept) == 3
    assert loss_of("m1") == "m1"
    assert loss_of("m1", "m2") == "city=C"
    silent.update(("m2", "m3"))
    assert loss_of("m1") == "province=P"
    assert loss_of("m4") == ""
    assert loss_of() == ""
    assert kept.entry_for("ns/other", ("m1",), lambda _site: True) is None
    assert kept.listed("sha256:unknown") == ()
