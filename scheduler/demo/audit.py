"""Finds violated rules in what runs, from the objects and with other code than the scheduler's.

Each finding is a sentence. A correct scheduler causes none; the demo reports their number.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.demo.samples import key_of
from scheduler.model.jurisdictions import is_province
from scheduler.model.kinds.fields import DATA_CLASSES
from scheduler.model.quantities import free_amount, requested_amount

Object = Mapping[str, Any]
_SCALABLE = frozenset({"Deployment", "StatefulSet"})
_MIN_POOL_LEVEL = 4  # GB/T 22239: from this protection level on, a pool of its own
_ORDER_ID = "kapok.dev/order-id"
_PLACED_PHASES = frozenset({"Running", "Completed"})
_RESOURCES = ("cpu", "memory", "nvidia.com/gpu")
_ENDED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvidence:
    """Input of the audit.

    Attributes:
        hub: all objects of the hub.
        members: all objects of each member cluster, by site.
        now: the current time, for grants that have not begun or have ended.
    """

    hub: Sequence[Object]
    members: Mapping[str, Sequence[Object]]
    now: datetime


def find_violations(evidence: AuditEvidence) -> list[str]:
    """Every violated rule, as a sentence."""
    found = list(_broken_grants(evidence))
    for site, objects in evidence.members.items():
        found += _overcommitted(site, objects)
    found += _not_as_ordered(evidence)
    return found


# ---------------------------------------------------------------- rights


def _broken_grants(evidence: AuditEvidence) -> Iterator[str]:
    sites = {o["metadata"]["name"]: o for o in _objects_of_kind(evidence.hub, "Site")}
    for workload in _objects_of_kind(evidence.hub, "Workload"):
        for name, _ in placed_shares(workload):
            if name not in sites:
                yield f"{key_of(workload)} is placed on {name}, but no such site exists"
                continue
            grants = [
                g for g in _objects_of_kind(evidence.hub, "SiteGrant") if name in g["spec"]["sites"]
            ]
            reasons = [_grant_refusal(workload, sites[name], g["spec"], evidence) for g in grants]
            if not any(reason == "" for reason in reasons):
                why = "; ".join(reasons) or "no grant for this site"
                yield f"{key_of(workload)} on {name}: {why}"


def _grant_refusal(workload: Object, site: Object, grant: Object, evidence: AuditEvidence) -> str:
    """Why one grant does not allow a workload; empty: it does."""
    spec, rule = workload["spec"], _class_rule(workload, evidence)
    level = max(spec.get("protectionLevel", 1), rule.get("protectionLevel", 1))
    answers = (
        (_is_valid(grant, evidence.now), "the grant is not valid now"),
        (_class_rank(spec) <= _class_rank(grant), "the grant's data class is lower"),
        (level <= grant.get("protectionLevel", 1), "the grant's protection level is lower"),
        (
            level < _MIN_POOL_LEVEL or grant.get("dedicatedPool", False),
            "the grant has no dedicated pool",
        ),
        (
            set(spec.get("networkZones", ())) <= set(grant.get("networkZones", ())),
            "the grant lacks a network zone",
        ),
        (
            _permits_jurisdiction(spec.get("jurisdictions", ()), grant),
            "the workload allows other jurisdictions only",
        ),
        (
            _permits_jurisdiction(rule.get("jurisdictions", ()), grant),
            "the data class allows other jurisdictions only",
        ),
        (
            not rule.get("allowListOnly") or key_of(workload) in grant.get("allowList", ()),
            "the workload is not on the grant's allow list",
        ),
        (
            not rule.get("sameProvince")
            or _home_jurisdiction(workload, evidence) == _province(site),
            "the data is outside its province",
        ),
    )
    return ", ".join(sentence for is_met, sentence in answers if not is_met)


def _class_rule(workload: Object, evidence: AuditEvidence) -> Object:
    for scheme in _objects_of_kind(evidence.hub, "DataClassScheme"):
        for rule in scheme["spec"].get("classes", []):
            if rule["name"] == workload["spec"].get("dataClass"):
                return dict(rule)
    return {}


def _class_rank(spec: Object) -> int:
    """Rank of a data class, from low to high; a missing or unknown class ranks above all."""
    given = spec.get("dataClass")
    return DATA_CLASSES.index(given) if given in DATA_CLASSES else len(DATA_CLASSES)


def _is_valid(grant: Object, now: datetime) -> bool:
    begins, ends = grant.get("validFrom"), grant.get("validUntil")
    has_begun = not begins or datetime.fromisoformat(begins) <= now
    return has_begun and (not ends or now < datetime.fromisoformat(ends))


def _permits_jurisdiction(jurisdictions: Sequence[str], grant: Object) -> bool:
    where = grant.get("jurisdiction", "")
    mainland = is_province(where)  # "CN" permits every province
    return not jurisdictions or where in jurisdictions or (mainland and "CN" in jurisdictions)


def _home_jurisdiction(workload: Object, evidence: AuditEvidence) -> str:
    for tenant in _objects_of_kind(evidence.hub, "Tenant"):
        if workload["metadata"]["namespace"] in tenant["spec"]["namespaces"]:
            return str(tenant["spec"].get("jurisdiction", ""))
    return ""


def _province(site: Object) -> str:
    return str(site["spec"].get("location", {}).get("province", ""))


# ---------------------------------------------------------------- nodes


def _overcommitted(site: str, objects: Sequence[Object]) -> Iterator[str]:
    asked: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for pod in _objects_of_kind(objects, "Pod"):
        if pod.get("status", {}).get("phase") in _ENDED_PHASES:
            continue
        for name, amount in _pod_requests(pod):
            asked[pod["spec"].get("nodeName", "")][name] += amount
    for node in _objects_of_kind(objects, "Node"):
        name, room = node["metadata"]["name"], node["status"].get("allocatable", {})
        for resource in _RESOURCES:
            wanted, has = asked[name][resource], free_amount(resource, room.get(resource, "0"))
            if wanted > has:
                yield f"{site}: pods on node {name} request {wanted} of {resource}, it has {has}"


def _pod_requests(pod: Object) -> Iterator[tuple[str, int]]:
    for container in pod["spec"].get("containers", []):
        for name, value in container.get("resources", {}).get("requests", {}).items():
            yield name, requested_amount(name, value)


# ---------------------------------------------------------------- orders


def _not_as_ordered(evidence: AuditEvidence) -> Iterator[str]:
    placed = {key_of(w): dict(placed_shares(w)) for w in _objects_of_kind(evidence.hub, "Workload")}
    phases = {
        key_of(w): w.get("status", {}).get("phase")
        for w in _objects_of_kind(evidence.hub, "Workload")
    }
    manifests = {
        key_of(w): w["spec"].get("manifests", [])
        for w in _objects_of_kind(evidence.hub, "Workload")
    }
    for site, objects in evidence.members.items():
        held = _objects_by_workload(objects)
        for workload, found in held.items():
            if site not in placed.get(workload, {}):
                yield f"{site} runs {len(found)} objects of {workload}, which is not placed there"
        for workload, where in placed.items():
            if site in where and phases[workload] in _PLACED_PHASES:
                yield from _order_differences(
                    f"{workload} on {site}",
                    where[site],
                    manifests[workload],
                    held.get(workload, []),
                )


def _objects_by_workload(objects: Sequence[Object]) -> dict[str, list[Object]]:
    """Objects of a member cluster that an order created, by workload as namespace/name."""
    held: dict[str, list[Object]] = defaultdict(list)
    for item in objects:
        order = item["metadata"].get("annotations", {}).get(_ORDER_ID, "").split("/")
        if len(order) >= 3:  # noqa: PLR2004 - hub id / namespace / name / incarnation
            held[f"{order[1]}/{order[2]}"].append(item)
    return held


def _order_differences(
    subject: str, replicas: int, manifests: Sequence[Object], held: Sequence[Object]
) -> Iterator[str]:
    there = {(o["kind"], o["metadata"]["name"]): o for o in held}
    for manifest in manifests:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        item = there.get((kind, name))
        if item is None:
            yield f"{subject}: {kind} {name} was not applied"
        elif kind in _SCALABLE and item["spec"].get("replicas") != replicas:
            yield (
                f"{subject}: {kind} {name} has {item['spec'].get('replicas')} replicas instead of "
                f"{replicas}"
            )


def placed_shares(workload: Object) -> Iterator[tuple[str, int]]:
    """(site, replicas) of a workload's placement."""
    placement = workload.get("status", {}).get("placement") or {}
    for group in placement.get("groups", []):
        for site in group["sites"]:
            yield site, group["replicas"]


def _objects_of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [item for item in objects if item.get("kind") == kind]
