"""Every reason for refusing a site, as stable slugs: the same in code, metrics and docs."""

from typing import Literal

Reason = Literal[
    "data-class",
    "data-class-missing",
    "protection-level",
    "jurisdiction",
    "network-zone",
    "dedicated-pool",
    "not-allowed",
    "grant-expired",
    "energy-limit",
    "operating-system",
    "architecture",
    "cpu-vendor",
    "taint",
    "selector",
    "site-group",
    "too-far",
    "latency-unknown",
    "stale",
    "silent",
    "cordoned",
    "no-executor",
    "api-kind",
    "full",
    "fragmented",
    "spread",
    "quota",
    "deadline",
    "paused",
    "pod-security",
    "invalid",
    "no-tenant",
]

REASONS: dict[Reason, str] = {
    "data-class": "the site may not hold data of this class, or it is never scheduled",
    "data-class-missing": "the workload names no data class",
    "protection-level": "the site is not certified for the protection level (GB/T 22239)",
    "jurisdiction": "the workload may not run under the law of this place",
    "network-zone": "the site does not offer a network zone that the workload names",
    "dedicated-pool": "protection level 4 needs a dedicated pool",
    "not-allowed": "the site has no grant for this tenant or workload",
    "grant-expired": "the site's grant has ended, or has not begun",
    "energy-limit": "the site does not keep to an energy limit of the authority (PUE, WUE, share)",
    "operating-system": "the images do not run on the operating system of any node there",
    "architecture": "the images do not run on any node there",
    "cpu-vendor": "no node there has a permitted CPU vendor",
    "taint": "the site has a taint that the workload does not tolerate",
    "selector": "the site's or its nodes' labels do not match",
    "site-group": "the site is in none of the workload's site groups",
    "too-far": "the round trip is longer than the workload allows",
    "latency-unknown": "the round trip has not been measured",
    "stale": "the site's last report is too old",
    "silent": "the site does not report",
    "cordoned": "operations keep new work away from the site",
    "no-executor": "no agent there can apply orders to a cluster",
    "api-kind": "the cluster there does not serve a kind that the manifests use",
    "full": "there is not enough free capacity",
    "fragmented": "the sum of free capacity would do, but no node has enough",
    "spread": "the replicas cannot be spread as asked",
    "quota": "a quota or budget of the tenant, or of the namespace at the site, is used up",
    "deadline": "it is not yet time, a later start is planned, or it is too late",
    "paused": "the workload is paused",
    "pod-security": "a pod asks for more than the tenant's Pod Security level allows",
    "invalid": "the workload asks something that cannot be read or can never be met",
    "no-tenant": "no Tenant lists the namespace of the workload, or several do",
}
"""The meaning of each slug; the order breaks ties between reasons."""

TRANSIENT_REASONS: frozenset[Reason] = frozenset(
    {"full", "fragmented", "spread", "quota", "deadline", "paused"}
)
"""Reasons that can pass. A site refused for one of these passes every other rule, so the workload
waits; only a workload whose `deadline` can no longer be met is refused."""
