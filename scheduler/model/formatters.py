"""Texts that many messages share: instants, shortened lists, sites with their replicas.

Each has one form in statuses, events, tables and logs. The API server has formatters of its own,
which imitate kube-apiserver.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def format_rfc3339(instant: datetime) -> str:
    """An aware instant as RFC 3339 in UTC, in whole seconds: `2026-11-23T08:00:00Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_rfc3339_micros(instant: datetime) -> str:
    """An aware instant as RFC 3339 in UTC with six decimals, as Kubernetes' MicroTime."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_rfc3339_exact(instant: datetime) -> str:
    """An aware instant as RFC 3339 in UTC, with as many decimals as it has: none or six."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def format_epoch_seconds(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, in whole seconds."""
    return format_rfc3339(datetime.fromtimestamp(seconds, UTC))


def format_list(names: Sequence[str], max_count: int) -> str:
    """Names with commas, the first `max_count` of them: `a, b and 3 more`."""
    more = len(names) - max_count
    return ", ".join(names[:max_count]) + (f" and {more} more" if more > 0 else "")


def format_replicas(replicas_by_site: Iterable[tuple[str, int]]) -> list[str]:
    """Sites with their replicas, in the given order: `["m1 (2)", "m2 (1)"]`."""
    return [f"{site} ({replicas})" for site, replicas in replicas_by_site]
