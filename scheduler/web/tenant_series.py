"""The series of tenants: their workloads by phase, and what they use of their quotas.

Tenants are objects that administrators write, so their number is theirs; the series are of the
first `MAX_TENANTS` by name, and `<other>` holds the rest together. Neither `<other>` nor `<none>`
can be the name of an object.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from scheduler.energy.budgets import TenantMonth
from scheduler.model.kinds.tenant import Tenant, quota_of
from scheduler.model.quantities import CPU, MILLI_PER_UNIT, NotAQuantity
from scheduler.web.metric_definitions.definition import METRIC_RESOURCES
from scheduler.web.snapshot import StateSnapshot

MAX_TENANTS: Final = 500
_OTHER, _NONE = "<other>", "<none>"


def tenant_series(snapshot: StateSnapshot) -> dict[str, Iterable[str]]:
    """The series of each metric of tenants: labels in braces, and the value."""
    tenants = sorted(snapshot.tenants, key=lambda one: one.metadata.name)
    labels_of = _labels_by_namespace(tenants)
    return {
        "kapok_tenant_workloads": _workload_series(snapshot, labels_of),
        "kapok_tenant_used": _used_series(snapshot, labels_of),
        "kapok_tenant_quota": _quota_series(tenants[:MAX_TENANTS]),
        **_month_series(snapshot.months),
    }


def _month_series(months: Mapping[str, TenantMonth]) -> dict[str, Iterable[str]]:
    """Only tenants with a budget of the month have series, and only of the units that it bounds."""
    lines: dict[str, list[str]] = {f"kapok_tenant_month_{what}": [] for what in _MONTH_FIGURES}
    for name, month in sorted(months.items())[:MAX_TENANTS]:
        for unit, limit in (
            ("kgco2e", month.budget.kgco2e_per_month),
            ("cny", month.budget.cny_per_month),
        ):
            if limit is None:
                continue
            figures = (getattr(month.used, unit), getattr(month.expected, unit), limit)
            for what, value in zip(_MONTH_FIGURES, figures, strict=True):
                line = f'{{tenant="{name}",unit="{unit}"}} {round(value, 3)}'
                lines[f"kapok_tenant_month_{what}"].append(line)
    return dict(lines)


_MONTH_FIGURES: Final = ("used", "expected", "budget")


def _labels_by_namespace(tenants: Iterable[Tenant]) -> dict[str, set[str]]:
    """The values of the label `tenant` that the workloads of a namespace count for."""
    found: dict[str, set[str]] = {}
    for number, tenant in enumerate(tenants):
        label = tenant.metadata.name if number < MAX_TENANTS else _OTHER
        for namespace in tenant.spec.namespaces:
            found.setdefault(namespace, set()).add(label)
    return found


def _workload_series(snapshot: StateSnapshot, labels_of: Mapping[str, set[str]]) -> Iterator[str]:
    """A phase that no workload of the tenant is in has no series, but every tenant has one."""
    by_namespace = Counter[tuple[str, str]](
        (one.metadata.namespace, one.status.phase or "Pending") for one in snapshot.workloads
    )
    counts: Counter[tuple[str, str]] = Counter()
    for labels in labels_of.values():
        for label in labels:
            counts[label, "Running"] += 0
    for (namespace, phase), count in by_namespace.items():
        for label in labels_of.get(namespace, {_NONE}):
            counts[label, phase] += count
    for (label, phase), count in sorted(counts.items()):
        yield f'{{tenant="{label}",phase="{phase}"}} {count}'


def _used_series(snapshot: StateSnapshot, labels_of: Mapping[str, set[str]]) -> Iterator[str]:
    """Every tenant has a series: usage is never unknown, without replicas it is 0."""
    totals: dict[str, Counter[str]] = {
        label: Counter() for labels in labels_of.values() for label in labels
    }
    for namespace, amounts in snapshot.quota_used.items():
        for label in labels_of.get(namespace, {_NONE}):
            totals.setdefault(label, Counter()).update(amounts)
    for label, total in sorted(totals.items()):
        for resource in METRIC_RESOURCES:
            yield _amount_line(label, resource, total[resource])


def _quota_series(tenants: Iterable[Tenant]) -> Iterator[str]:
    """A quota that cannot be read has no series; the tenant's condition says so."""
    for tenant in tenants:
        try:
            quota = quota_of(tenant)
        except NotAQuantity:
            continue
        for resource in METRIC_RESOURCES:
            if resource in quota:
                yield _amount_line(tenant.metadata.name, resource, quota[resource])


def _amount_line(tenant: str, resource: str, amount: int) -> str:
    value = amount / MILLI_PER_UNIT if resource == CPU else amount
    return f'{{tenant="{tenant}",resource="{resource}"}} {value}'
