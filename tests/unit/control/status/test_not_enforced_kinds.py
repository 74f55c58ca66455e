"""Every field of every kind does something, or says that it does not.

The fields come from the types. Each has two values here; what the second one changes against the
first is shown: a decision, a demand, a refusal. What changes neither is named in a test of its own
part (`ELSEWHERE`), or is listed as not enforced.
"""

import typing
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.control.status.not_enforced import (
    NOT_ENFORCED,
    not_enforced,
    not_enforced_condition,
    not_enforced_warnings,
)
from scheduler.model.canonical import canonical_json
from scheduler.model.decode import decode, decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.fields import Part
from scheduler.model.kinds.kinds import KINDS
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import START
from tests.support.field_values import VALUES
from tests.support.sites import (
    NOW,
    Raw,
    demand_or_refusal,
    facts_of,
    grant,
    nodes,
    site,
    tenant_of_ns,
    workload,
)

ROOT = Path(__file__).parents[4]

ELSEWHERE: dict[tuple[str, str], str] = {
    ("Site", "spec.delivery.agentKeys"): "tests/unit/mqtt/test_keyring.py",
    ("Site", "spec.delivery.mode"): "tests/unit/agents/push/test_hub.py",
    ("Site", "spec.delivery.kubeconfigSecretRef"): "tests/unit/agents/push/test_hub.py",
    ("Site", "spec.delivery.clusterProfileRef"): "tests/unit/agents/push/test_cluster_profiles.py",
    ("Site", "spec.drain"): "tests/unit/control/failover/test_drain.py",
    ("SiteGrant", "spec.measurements"): "tests/unit/placement/filter/test_energy_limit.py",
    ("Site", "spec.energy.gridZone"): "tests/unit/control/test_grid_zone.py",
    ("Site", "spec.energy.greenShare"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.energy.greenEvidence"): "tests/unit/energy/test_limits.py",
    ("Site", "spec.energy.wueLitresPerKwh"): "tests/unit/energy/test_limits.py",
    ("Site", "spec.energy.measurements"): "tests/unit/energy/test_limits.py",
    ("Site", "spec.energy.embodiedKilograms"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.energy.lifetimeYears"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.energy.microarchitecture"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.energy.powerCurve"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.prices.peakCnyPerKilowattMonth"): "tests/unit/energy/test_figures.py",
    ("Site", "spec.maintenance"): "tests/unit/control/failover/test_drain.py",
    ("Site", "spec.imageRegistries"): "tests/unit/control/orders/test_overrides.py",
    ("PlacementPolicy", "spec.placement.identity"): "tests/unit/model/demand/test_identity.py",
    (
        "ClusterPlacementPolicy",
        "spec.placement.identity",
    ): "tests/unit/model/demand/test_identity.py",
    (
        "PlacementPolicy",
        "spec.placement.onViolation",
    ): "tests/unit/placement/test_required_rules.py",
    (
        "ClusterPlacementPolicy",
        "spec.placement.onViolation",
    ): "tests/unit/placement/test_required_rules.py",
    ("PlacementPolicy", "spec.rebalance"): "tests/unit/control/rebalance/test_rebalance.py",
    ("PlacementPolicy", "spec.failover.onReturn"): "tests/unit/model/demand/test_failover.py",
    (
        "PlacementPolicy",
        "spec.failover.unreadyAfterSeconds",
    ): "tests/unit/model/demand/test_failover.py",
    (
        "ClusterPlacementPolicy",
        "spec.failover.unreadyAfterSeconds",
    ): "tests/unit/model/demand/test_failover.py",
    (
        "ClusterPlacementPolicy",
        "spec.failover.onReturn",
    ): "tests/unit/model/demand/test_failover.py",
    **{
        (kind, f"spec.recovery.{field}"): "tests/unit/model/demand/test_recovery.py"
        for kind in ("PlacementPolicy", "ClusterPlacementPolicy")
        for field in ("rtoSeconds", "rpoSeconds")
    },
    ("Tenant", "spec.weight"): "tests/unit/control/state/test_fair_shares.py",
    ("Tenant", "spec.borrowing"): "tests/unit/placement/cost/test_tenants.py",
    ("Tenant", "spec.borrowingLimit"): "tests/unit/placement/cost/test_tenants.py",
    ("Tenant", "spec.borrowLimit"): "tests/unit/model/test_tenant_quotas.py",
    ("Tenant", "spec.lendLimit"): "tests/unit/model/test_tenant_quotas.py",
    ("Tenant", "spec.parent"): "tests/unit/model/test_tenant_quotas.py",
    ("Tenant", "spec.cohort"): "tests/unit/placement/cost/test_tenants.py",
}
"""Fields whose effect needs more than one object or decision, and the test that shows it."""

RECORDS = {("SiteGrant", "spec.authority"), ("SiteGrant", "spec.document")}
"""What an auditor reads: the facts of a decision that the ledger keeps hold these fields."""

BESIDE: dict[str, Raw] = {
    "weights": {"strategy": "Weighted"},
    "presetOptions": {"preset": "two-places-three-centres"},
}
"""What a field of a placement means nothing without."""


def parts_of(annotation: object) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for each in typing.get_args(annotation):
        yield from parts_of(each)


def fields_of(part: type[Part], path: str) -> Iterator[str]:
    """The paths of all fields below a type that hold no further fields."""
    hints = typing.get_type_hints(part, include_extras=True)
    for each in msgspec.structs.fields(part):
        inner = next(parts_of(hints[each.name]), None)
        here = f"{path}.{each.encode_name}"
        yield from fields_of(inner, here) if inner else (here,)


def spec_of(kind: str) -> type[Part]:
    return next(parts_of(typing.get_type_hints(KINDS[kind].type, include_extras=True)["spec"]))


def leaves(value: object, path: str) -> Iterator[str]:
    """The paths of all values of an example, lists of objects by their first entry."""
    free = path.endswith(
        (".matchLabels", ".quota", ".borrowingLimit", ".borrowLimit", ".lendLimit")
    )
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict) and not free:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    else:
        yield path


ALL = [(kind, path) for kind in VALUES for path in fields_of(spec_of(kind), "spec")]


def at(tree: Any, steps: list[str]) -> Any:  # noqa: ANN401 - any JSON
    for step in steps:
        tree = tree[0] if isinstance(tree, list) else tree
        tree = tree[step]
    return tree[0] if isinstance(tree, list) and isinstance(tree[0], dict) else tree


def base_and_changed(kind: str, path: str) -> tuple[Raw, Raw]:
    """An object's spec with the first value of one field, and with its second value."""
    first, second = VALUES[kind]
    steps = path.split(".")[1:]
    base: Raw = deepcopy(first)
    if "placement" in base:  # fields of a placement refer to each other: only the one that is asked
        keep = steps[1] if steps[0] == "placement" else ""
        one = {name: each for name, each in base["placement"].items() if name == keep}
        base["placement"] = one | BESIDE.get(keep, {})
        if steps[0] in ("namespaces", "workloadSelector"):
            base["placement"] = {"gang": True}
        if steps[0] != "schedule":
            base.pop("schedule")
    if kind == "Site" and steps[0] != "drain":
        base.pop("drain")  # it closes the site, and then nothing else has an effect
    if path == "spec.taints.timeAdded":
        base["taints"][0]["effect"] = "NoExecute"
    changed = deepcopy(base)
    at(changed, steps[:-1])[steps[-1]] = at(second, steps[:-1])[steps[-1]]
    return base, changed


def object_of(kind: str, spec: Raw) -> Raw:
    name = {"DataClassScheme": "default", "Site": "m1"}.get(kind, "x")
    meta = {"name": name} | ({"namespace": "ns"} if KINDS[kind].is_namespaced else {})
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": kind,
        "metadata": meta,
        "spec": spec,
    }


def effect(kind: str, spec: Raw) -> list[object]:
    """What follows from an object for some workloads: demands, refusals, decisions."""
    return {"Site": effect_at_site, "SiteGrant": effect_of_grant}.get(kind, effect_on_demand)(
        object_of(kind, spec)
    )


def effect_on_demand(raw: Raw) -> list[object]:
    one = decode_as(raw, KINDS[raw["kind"]].type)
    tenants = [decode_as(tenant_of_ns(), KINDS["Tenant"].type)]
    contexts: dict[str, dict[str, Any]] = {
        "PlacementPolicy": {"policies": [one]},
        "ClusterPlacementPolicy": {"cluster_policies": [one]},
        "DataClassScheme": {"scheme": one},
        "Tenant": {},
    }
    context = contexts[raw["kind"]]
    tenants = [one] if raw["kind"] == "Tenant" else tenants
    named: dict[str, Any] = {"policyRef": {"name": "x"}} if raw["kind"] == "PlacementPolicy" else {}
    beside = [
        decode_as(
            workload(
                name=f"b{a}{len(more)}", labels={"a": a, **more}, placed={f"s{a}{len(more)}": 1}
            ),
            KINDS["Workload"].type,
        )
        for a in "12"
        for more in ({}, {"k": "v"}, {"k": "w", "l": "v"})
    ]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    privileged = {"spec": {"containers": [{"name": "c", "securityContext": {"privileged": True}}]}}
    manifests: list[list[Raw]] = [
        [],
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}],
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "n", "namespace": "shared"},
            }
        ],
        [pod | privileged],
    ]
    return [
        demand_or_refusal(
            workload(4, labels={"app": "w"}, dataClass=data_class, priority=50, **named)
            | {"status": {}}
            if not each
            else workload(1, dataClass="general-1", manifests=each, **named),
            tenants=tenants,
            others=beside,
            **context,
        )
        for data_class in ("general-1", "general-2", None)
        for each in manifests
    ]


def decided(sites: list[Raw], grants: list[Raw], asked: list[Raw]) -> list[object]:
    fleet = Fleet(facts_of(each, *grants) for each in sites)
    found: list[object] = []
    for each in asked:
        demand = demand_or_refusal(each)
        assert isinstance(demand, Demand), demand
        found += [choose(demand, fleet, now=NOW), explain(demand, fleet, now=NOW)]
    return found


CPUS = {**nodes(9, cpu="4", memory="8Gi"), "cpuVendor": "hygon"}
TOLERATED = {"siteTolerations": [{"operator": "Exists"}]}
GREEN: Raw = {
    "intensity": {"gco2PerKwh": 500, "origin": "measured", "observedAt": "2026-11-23T08:00:00Z"}
}


def effect_at_site(raw: Raw) -> list[object]:
    other = site("m2", CPUS, spec={"prices": {"energyCnyPerKwh": 1}})
    one = site("m1", CPUS, spec=raw["spec"], **GREEN)
    near = [{"key": "kapok.dev/tier", "operator": "In", "values": ["edge"]}]
    provided = [{"key": "kapok.dev/provider", "operator": "In", "values": ["p"]}]
    spreads = [{"by": by, "minGroups": 2} for by in ("province", "city", "metro")]
    key = {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}
    running = {"placed": {"m1": 1}}
    placements: list[tuple[Raw, Raw]] = [
        (TOLERATED, {}),
        ({}, {}),
        ({}, running),
        (TOLERATED | {"siteSelector": {"matchExpressions": near}}, {}),
        (TOLERATED | {"siteSelector": {"matchExpressions": provided}}, {}),
        *((TOLERATED | {"spread": [each]}, {}) for each in spreads),
        ({"siteTolerations": [key]}, {}),
        (
            {"siteTolerations": [key, key | {"effect": "NoExecute", "tolerationSeconds": 7200}]},
            running,
        ),
    ]
    peer = site(
        "m3",
        CPUS,
        spec={"location": {"province": "CN-GD", "city": "guangzhou", "metro": "guangzhou"}},
    )
    asked = [workload(2, placement=each, **more) for each, more in placements]
    asked.append(workload(30, placement=TOLERATED))
    waits = {"deadline": "2026-11-23T16:00:00Z", "durationSeconds": 7200}
    asked.append(workload(2, placement=TOLERATED | {"preset": "green-batch"}, schedule=waits))
    grants = [grant("m1", "m2", "m3")]
    return decided([one, other], grants, asked) + decided([one, peer], grants, asked)


def effect_of_grant(raw: Raw) -> list[object]:
    sites = [site("m1", CPUS), site("m2", CPUS)]
    listed = workload(dataClass="general-1", networkZones=["public-network"])
    asked = [
        workload(),
        listed,
        workload(protectionLevel=3),
        workload(jurisdictions=["CN-GD"]),
        workload(protectionLevel=4),
        workload(dataClass="important"),
    ]
    return decided(sites, [raw], asked)


def is_not_enforced(kind: str, path: str) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in NOT_ENFORCED.get(kind, ()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_of_every_kind_has_two_values_here(kind: str) -> None:
    if kind == "Workload":
        return  # its table is in test_not_enforced.py
    fields = set(fields_of(spec_of(kind), "spec"))
    assert [set(leaves(each, "spec")) for each in VALUES[kind]] == [fields, fields]


@pytest.mark.parametrize(("kind", "path"), ALL)
def test_a_field_changes_what_is_decided_or_is_listed_or_tested_elsewhere(
    kind: str, path: str
) -> None:
    base, changed = base_and_changed(kind, path)
    acts = effect(kind, base) != effect(kind, changed)
    elsewhere = next(
        (file for (of, start), file in ELSEWHERE.items() if kind == of and path.startswith(start)),
        None,
    )
    assert acts or is_not_enforced(kind, path) or elsewhere or (kind, path) in RECORDS, (
        f"{kind} {path} does nothing and says nothing"
    )


@pytest.mark.parametrize(("kind", "path"), sorted(ELSEWHERE))
def test_a_test_that_shows_an_effect_names_the_field(kind: str, path: str) -> None:
    text = (ROOT / ELSEWHERE[kind, path]).read_text().lower().replace("_", "")
    assert path.rpartition(".")[2].lower() in text


@pytest.mark.parametrize(("kind", "path"), sorted(RECORDS))
def test_the_facts_of_a_decision_hold_what_an_auditor_reads(kind: str, path: str) -> None:
    recorded = [
        canonical_json(facts_of(site("m1", CPUS), object_of(kind, one)))
        for one in base_and_changed(kind, path)
    ]
    assert recorded[0] != recorded[1]


LISTED = sorted((kind, path) for kind in VALUES for path in NOT_ENFORCED.get(kind, ()))


@pytest.mark.parametrize(("kind", "path"), LISTED)
def test_a_listed_field_warns_and_sets_the_condition_with_its_path(kind: str, path: str) -> None:
    _, spec = VALUES[kind]
    steps = path.split(".")[1:]
    value: Any = at(spec, steps[:-1])[steps[-1]]
    for step in reversed(steps):
        value = {step: value}
    if kind == "ClusterPlacementPolicy":
        value["namespaces"] = ["ns"]
    raw = object_of(kind, value)
    one = decode(raw)
    assert not_enforced(one) == (path,)
    assert [path in each for each in not_enforced_warnings(raw)] == [True]
    if kind == "Site":
        condition = not_enforced_condition(one, START)
    else:
        asked = decode_as(workload(), KINDS["Workload"].type)
        condition = not_enforced_condition(asked, START, policies=[one])  # type: ignore[list-item]
        assert condition is None or f"{kind} x: {path}" in condition.message
    assert condition is not None
    assert path in condition.message


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_a_field_with_its_default_value_is_not_listed(kind: str) -> None:
    least: dict[str, Raw] = {
        "Tenant": {"namespaces": ["ns"]},
        "SiteGrant": {"sites": ["m1"]},
        "Site": {"delivery": {"mode": "Pull"}, "location": {}, "energy": {}},
    }
    policy: Raw = {"failover": {}, "rebalance": {}, "schedule": {"interruptible": False}}
    spec = least.get(kind, policy if "Policy" in kind else {})
    assert not_enforced_warnings(object_of(kind, spec)) == []


def test_a_green_share_says_where_it_counts_nowhere() -> None:
    declared = object_of("Site", {"energy": {"greenShare": 0.5, "greenEvidence": " "}})
    assert not_enforced(decode(declared)) == ("spec.energy.greenShare",)
    proven = object_of("Site", {"energy": {"greenShare": 0.5, "greenEvidence": "GEC 1"}})
    assert not_enforced(decode(proven)) == ()
