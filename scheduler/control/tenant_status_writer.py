"""Writes to each Tenant's status what it uses, borrows and lends, its share, and what waits."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduler.control.ports.hub import TENANTS, Hub, HubError, NotFound
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import lending_book
from scheduler.control.status.conditions import with_condition, without_condition
from scheduler.control.status.workload import merge_patch
from scheduler.model.canonical import to_plain_json
from scheduler.model.decode import decode_as
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.tenant import Tenant, TenantStatus
from scheduler.model.kinds.tenant_quotas import LendingBook, requests_or_nothing
from scheduler.model.quantities import format_amount
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 10.0
_COUNTED_AT_ONCE = 1_000
"""The loop lets others run after so many workloads."""
_SHARE_DIGITS = 4
_MAX_LISTED, _MAX_RESOURCES = 6, 64


@dataclass(slots=True, kw_only=True)
class TenantStatusWriter:
    """Keeps `Tenant.status` up to date.

    Attributes:
        hub: where the statuses are written.
        objects: tenants and workloads.
        quotas: what placed workloads use.
        fair_shares: the share of each tenant.
        clock: for the interval.
        faults: handles what fails for one tenant.
    """

    hub: Hub
    objects: HubObjects
    quotas: Quotas
    fair_shares: FairShares
    clock: Clock
    faults: Faults
    _written: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def run(self) -> None:
        """Writes at an interval; runs until cancelled."""
        while True:
            await self.clock.sleep(_INTERVAL_SECONDS)
            with self.faults.barrier("tenant-status"):
                await self.write_changed()

    async def write_changed(self) -> None:
        """Writes every status that says something else than the last one."""
        waiting = await self._count_waiting()
        for name in list(self.objects.tenants):
            tenant = self.objects.tenants.get(name)
            if tenant is None or not self.faults.admits("tenant-status", name):
                continue
            with self.faults.barrier("tenant-status", name):
                if not await self._write(tenant, waiting):
                    return
            await yield_loop()
        for name in self._written.keys() - self.objects.tenants.keys():
            del self._written[name]

    async def _count_waiting(self) -> Counter[str]:
        """How many workloads wait, by namespace."""
        found: Counter[str] = Counter()
        for number, key in enumerate(list(self.objects.workloads), 1):
            workload = self.objects.workloads.get(key)
            if workload is not None and workload.status.phase in ("Waiting", "Pending"):
                found[key[0]] += 1
            if not number % _COUNTED_AT_ONCE:
                await yield_loop()
        return found

    async def _write(self, tenant: Tenant, waiting: Mapping[str, int]) -> bool:
        """Patches what changed; returns whether the hub serves us."""
        name = tenant.metadata.name
        before = self._written.get(name)
        known = to_plain_json(tenant.status) if before is None else before
        status = to_plain_json(self.status_of(tenant, waiting, self.clock.now()))
        patch = merge_patch(known, status)
        if not patch:
            self._written[name] = status
            return True
        try:
            await self.hub.merge_patch(TENANTS, name, {"status": patch}, subresource="status")
        except NotFound:
            self._written.pop(name, None)
        except HubError as error:
            if error.is_trouble_of_the_hub:
                return False
            _log.warning("status of tenant %s: %s", name, error, extra={"tenant": name})
        else:
            self._written[name] = status
        return True

    def status_of(self, tenant: Tenant, waiting: Mapping[str, int], now: datetime) -> TenantStatus:
        """What a tenant's status is to say; of a bureau, it counts its teams too.

        Args:
            tenant: the tenant.
            waiting: how many workloads wait, by namespace.
            now: for conditions that change.
        """
        tree, name = self.objects.tenant_tree, tenant.metadata.name
        members = tree.members_of(name) if tree.root_of(name) == name else (name,)
        namespaces = {each for one in members for each in tree.tenants[one].spec.namespaces}
        used: Counter[str] = Counter()
        for namespace in namespaces:
            used.update(self.quotas.totals.get(namespace, {}))
        book = lending_book(self.objects, self.quotas, without=("", ""))
        is_placed = name not in tree.problems
        return TenantStatus(
            used=_formatted(used),
            borrowed=_formatted(book.borrowed_by(tenant)) if is_placed else {},
            lent=_formatted(book.lent_by(tenant)) if is_placed else {},
            share=round(self.fair_shares.dominant_share_of(name), _SHARE_DIGITS),
            waiting=sum(waiting.get(each, 0) for each in namespaces),
            conditions=self._conditions(tenant, book, now),
        )

    def _conditions(
        self, tenant: Tenant, book: LendingBook, now: datetime
    ) -> tuple[Condition, ...]:
        name = tenant.metadata.name
        known = self._written.get(name, {}).get("conditions")
        before = tenant.status.conditions if known is None else _decoded(known)
        problem = book.tree.problems.get(name)
        accepted = Condition(type="Accepted", status="True", reason="Accepted")
        if problem is not None:
            accepted = Condition(
                type="Accepted", status="False", reason=problem.reason, message=problem.message
            )
        after = with_condition(before, accepted, now)
        covered = _not_covered(tenant, book)
        if covered is None:
            return without_condition(after, _COVERED)
        return with_condition(after, covered, now)


_COVERED = "QuotaCovered"


def _not_covered(tenant: Tenant, book: LendingBook) -> Condition | None:
    """`QuotaCovered` is False where teams are guaranteed more than their bureau has; else None."""
    teams = [book.tree.tenants[one] for one in book.tree.teams.get(tenant.metadata.name, ())]
    whole = requests_or_nothing(tenant.spec.quota)
    texts = []
    for resource in sorted(tenant.spec.quota) if teams else ():
        total = sum(requests_or_nothing(one.spec.quota).get(resource, 0) for one in teams)
        has = whole.get(resource, 0)
        if total > has:
            texts.append(
                f"{resource}: {format_amount(resource, total)} of {format_amount(resource, has)}"
            )
    if not texts:
        return None
    return Condition(
        type=_COVERED,
        status="False",
        reason="TeamsHaveMore",
        message=f"its teams are guaranteed more than its quota: {format_list(texts, _MAX_LISTED)}; "
        "their quotas count",
    )


def _decoded(raw: list[dict[str, Any]]) -> tuple[Condition, ...]:
    return decode_as({"conditions": raw}, TenantStatus).conditions


def _formatted(amounts: Mapping[str, int]) -> dict[str, Any]:
    """Amounts as quantities, without what is 0."""
    some = sorted((name, amount) for name, amount in amounts.items() if amount > 0)
    return {name: format_amount(name, amount) for name, amount in some[:_MAX_RESOURCES]}
