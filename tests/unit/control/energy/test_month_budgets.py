"""A tenant's month: read from the ledger, compared, said once, and held."""

from datetime import timedelta

from scheduler.control.energy.month_budgets import MonthBudgets
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.ports.hub import TENANTS
from scheduler.control.state.quotas import Quotas
from tests.support.api_store import running_task
from tests.support.control_loops import ControlLoops
from tests.support.energy_rig import TENANT, KeptPages, Rig
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.sites import Raw, demand, site_with_capacity, workload


def _tenant(**budget: float) -> Raw:
    return {**TENANT, "spec": {**TENANT["spec"], "budget": budget}}


class Watched:
    """Budgets over a rig in which one tenant draws nearly all power."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.changes = rig, 0
        asked = demand(workload(10, requests={"cpu": "64"}))
        rig.usage.set(("health", "training"), asked, {"gz-core": 10})
        self.quotas = Quotas()
        faults = rig.collector.faults
        self.events = EventRecorder(hub=FakeHub(), clock=rig.clock, faults=faults)
        self.budgets = MonthBudgets(
            objects=rig.objects,
            collector=rig.collector,
            record=rig.kept,
            quotas=self.quotas,
            events=self.events,
            on_change=self._count,
            clock=rig.clock,
            faults=faults,
        )

    def _count(self) -> None:
        self.changes += 1

    def reasons(self) -> list[str]:
        found = []
        while body := self.events.pending.pop():
            assert body["involvedObject"]["kind"] == "Tenant"
            found.append(body["reason"])
        return found


async def _watched(**budget: float) -> Watched:
    rig = Rig(tenant=_tenant(**budget))
    await rig.collector.sync()
    rig.report(0.0)
    return Watched(rig)


async def test_a_warning_and_then_a_hold_are_said_once_each() -> None:
    # 1 kW x 1.3 x 441.9 g is 0.57 kg an hour, and a quarter of the month is left.
    watched = await _watched(kgco2ePerMonth=0.7)

    joules = await watched.rig.run_for(61, watts=1000.0)
    for _ in range(2):
        await watched.budgets.sync()
    assert watched.quotas.month_holds == {}
    assert watched.reasons() == ["BudgetWarning"]
    await watched.rig.run_for(20, watts=1000.0, since=joules)
    for _ in range(2):
        await watched.budgets.sync()

    assert watched.reasons() == ["BudgetHold"]
    assert watched.changes == 1
    (line,) = watched.quotas.month_holds.values()
    assert "kgCO2e of the month's 0.7 kgCO2e are used" in line


async def test_a_new_budget_is_compared_within_seconds() -> None:
    watched = await _watched()
    async with running_task(watched.budgets.run()):
        await watched.rig.clock.advance(1.0)
        assert watched.quotas.months == {}

        watched.rig.put(TENANTS, _tenant(kgco2ePerMonth=1000.0))
        await watched.rig.clock.advance(5.0)

        assert list(watched.quotas.months) == [TENANT["metadata"]["name"]]


async def test_a_hold_ends_with_a_larger_budget() -> None:
    watched = await _watched(kgco2ePerMonth=0.1)
    await watched.rig.run_for(61, watts=1000.0)
    await watched.budgets.sync()
    assert watched.quotas.month_holds

    watched.rig.put(TENANTS, _tenant(kgco2ePerMonth=1000.0))
    await watched.budgets.sync()

    assert watched.quotas.month_holds == {}
    assert sorted(watched.reasons()) == ["BudgetHold", "WithinBudget"]
    assert watched.changes == 2


async def test_a_hold_stays_while_the_ledger_is_away() -> None:
    watched = await _watched(kgco2ePerMonth=0.1)
    await watched.rig.run_for(61, watts=1000.0)
    await watched.budgets.sync()
    held = dict(watched.quotas.month_holds)
    watched.rig.kept.is_away = True
    await watched.rig.collector.append_all()

    await watched.budgets.sync()

    assert held
    assert watched.quotas.month_holds == held


async def test_a_new_month_begins_at_nothing() -> None:
    watched = await _watched(kgco2ePerMonth=0.1)
    await watched.rig.run_for(61, watts=1000.0)
    await watched.budgets.sync()
    assert watched.quotas.month_holds

    await watched.rig.collector.append_all()
    await watched.rig.clock.advance(timedelta(days=10).total_seconds())
    await watched.budgets.sync()

    assert watched.quotas.month_holds == {}


async def test_a_restart_reads_the_month_from_the_ledger() -> None:
    kept, clock = KeptPages(), FakeClock()
    first = Rig(kept, clock, _tenant(cnyPerMonth=0.5))
    await first.collector.sync()
    first.report(0.0)
    before = Watched(first)
    await first.run_for(61, watts=1000.0)
    await first.collector.append_all()

    second = Rig(kept, clock, _tenant(cnyPerMonth=0.5))
    await second.collector.sync()
    after = Watched(second)
    await before.budgets.sync()
    await after.budgets.sync()

    assert after.quotas.month_holds.keys() == before.quotas.month_holds.keys() == {"health-bureau"}


async def test_a_held_job_waits_in_the_hub_and_starts_when_the_hold_ends() -> None:
    loops, one = ControlLoops(), site_with_capacity("m1", 5)
    await loops.hub.create(TENANTS, _budgeted())
    loops.has_tenant = False
    loops.quotas.month_holds = {"bureau": "tenant bureau: the month's budget is used"}
    job = workload(1, name="job", schedule={"interruptible": True})
    async with loops.started(one, job):
        await loops.clock.advance(5)
        assert await loops.phase("job") == "Waiting"

        loops.quotas.month_holds = {}
        loops.term.redecide_held()
        await loops.clock.advance(5)

        assert await loops.phase("job") == "Placed"


def _budgeted() -> Raw:
    spec = {"namespaces": ["ns"], "budget": {"kgco2ePerMonth": 100}}
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "bureau"},
        "spec": spec,
    }
