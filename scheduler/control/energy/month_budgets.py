"""Watches what tenants use of their monthly budgets, says so, and holds what can wait.

A month is one of China Standard Time, as tariffs are. At its begin, and at the start of a term, the
rows of the month are read from the ledger once; from then on only what is new is added.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from scheduler.control.energy.collector import EnergyCollector
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.ports.energy import EnergyRecord
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.energy.budgets import (
    BudgetLevel,
    BudgetState,
    MonthUse,
    budget_state,
    tenant_month,
    use_by_tenant,
)
from scheduler.model.kinds.tenant import Budget, Tenant
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 60.0
_NOTICE_SECONDS = 5.0
_SITES_AT_ONCE = 100
_CHINA = timezone(timedelta(hours=8))
_DECEMBER = 12
_REASONS: dict[BudgetLevel, str] = {
    "within": "WithinBudget",
    "warning": "BudgetWarning",
    "held": "BudgetHold",
}


@dataclass(slots=True, kw_only=True)
class MonthBudgets:
    """Compares use with budgets once a minute, and with a new budget within seconds.

    Attributes:
        objects: the tenants.
        collector: counts what is used.
        record: what was recorded of the month.
        quotas: gives the holds to decisions, which record them.
        events: writes Events on tenants.
        on_change: called when a hold begins or ends.
        clock: for the month.
        faults: handles what fails.
    """

    objects: HubObjects
    collector: EnergyCollector
    record: EnergyRecord
    quotas: Quotas
    events: EventRecorder
    on_change: Callable[[], None]
    clock: Clock
    faults: Faults
    _month: tuple[int, int] = field(default=(0, 0), init=False)
    _recorded: dict[str, MonthUse] = field(default_factory=dict, init=False)
    _pages: int = field(default=-1, init=False)
    _levels: dict[str, BudgetLevel] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Compares once a minute; runs until cancelled."""
        while True:
            with self.faults.barrier("energy"):
                await self.sync()
            await self._wait()

    async def sync(self) -> None:
        """Compares what is used with every budget of a month."""
        limited = self._limited()
        if not limited and not self.quotas.months:
            return
        now = self.clock.now().astimezone(_CHINA)
        begin, end = _bounds_of(now)
        try:
            await self._read_recorded((now.year, now.month), _hours(begin))
        except NotRecorded:  # a server that is away: what was known of the month stays
            return
        use = await self._use_of(_hours(begin))
        self.quotas.months = {
            one.metadata.name: tenant_month(
                use.get(one.metadata.name, MonthUse()),
                one.spec.budget,
                hours_over=(now - begin).total_seconds() / SECONDS_PER_HOUR,
                hours_in_month=_hours(end) - _hours(begin),
            )
            for one in limited
        }
        states = {name: budget_state(month) for name, month in self.quotas.months.items()}
        for one in limited:
            self._say(one, states[one.metadata.name])
        self._hold(states)

    def _limited(self) -> list[Tenant]:
        return [one for one in self.objects.tenants.values() if _has_month(one.spec.budget)]

    async def _wait(self) -> None:
        """Waits a minute, or until a tenant has a budget that was never compared."""
        for _ in range(int(_LOOK_SECONDS / _NOTICE_SECONDS)):
            await self.clock.sleep(_NOTICE_SECONDS)
            if any(one.metadata.name not in self.quotas.months for one in self._limited()):
                return

    async def _read_recorded(self, month: tuple[int, int], first_hour: int) -> None:
        """Reads the month's rows when it begins, and after each page that was appended."""
        pages = self.collector.pages_appended
        if (month, pages) == (self._month, self._pages):
            return
        rows = await self.record.rows_since(first_hour)
        self._recorded = use_by_tenant(rows)
        self._month, self._pages = month, pages

    async def _use_of(self, first_hour: int) -> dict[str, MonthUse]:
        use = dict(self._recorded)
        for count, rows in enumerate(self.collector.unrecorded_rows(), start=1):
            fresh = [row for row in rows if row.hour >= first_hour]
            for tenant, more in use_by_tenant(fresh).items():
                use[tenant] = use.get(tenant, MonthUse()).plus(more)
            if count % _SITES_AT_ONCE == 0:
                await self.clock.sleep(0)  # thousands of sites must not hold the loop
        return use

    def _say(self, tenant: Tenant, state: BudgetState) -> None:
        name = tenant.metadata.name
        if self._levels.get(name, "within") == state.level:
            return
        self._levels[name] = state.level
        line = state.line or "its use is within the month's budget again"
        if state.level == "held":
            line += "; work that can wait is held"
        is_warning = state.level != "within"
        _log.log(logging.WARNING if is_warning else logging.INFO, "tenant %s: %s", name, line)
        self.events.record(
            tenant, reason=_REASONS[state.level], message=line, is_warning=is_warning
        )

    def _hold(self, states: dict[str, BudgetState]) -> None:
        holds = {
            name: f"tenant {name}: {state.line}"
            for name, state in states.items()
            if state.level == "held"
        }
        # While a hold lasts its text stays, so that the same work is not decided every minute.
        before = self.quotas.month_holds
        after = {name: before.get(name, text) for name, text in holds.items()}
        if after == before:
            return
        self.quotas.month_holds = after
        self.on_change()


def _has_month(budget: Budget) -> bool:
    return budget.cny_per_month is not None or budget.kgco2e_per_month is not None


def _bounds_of(now: datetime) -> tuple[datetime, datetime]:
    """The first instant of a month, and that of the next one."""
    begin = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    is_last = now.month == _DECEMBER
    end = begin.replace(year=now.year + is_last, month=1 if is_last else now.month + 1)
    return begin, end


def _hours(at: datetime) -> int:
    return int(at.timestamp()) // SECONDS_PER_HOUR
