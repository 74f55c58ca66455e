"""The roles of the embedded hub grant what manifests/rbac grants, no more and no less."""

from itertools import product
from typing import Any

import pytest
import yaml

from scheduler.apiserver.auth.rbac import (
    NAMESPACED_ROLES,
    ROLES,
    AccessAttributes,
    Identity,
    is_allowed,
    resource_rules_of,
)
from scheduler.runtime.packaged_files import packaged_folder

OWN, OTHER, SYSTEM = "health", "police", "kapok-system"
OBJECTS: list[dict[str, Any]] = [
    item
    for path in sorted((packaged_folder("manifests") / "rbac").glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if item["kind"] in {"ClusterRole", "Role"}
]
CLUSTER_ROLES = {
    item["metadata"]["name"]: item for item in OBJECTS if item["kind"] == "ClusterRole"
}
SCHEDULER_ROLE = next(
    item
    for item in OBJECTS
    if item["kind"] == "Role" and item["metadata"]["name"] == "kapok-scheduler"
)
VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind"),
    *("lower", "use", "grant"),
)
NAMES = ("", "x", *{n for r in SCHEDULER_ROLE["rules"] for n in r.get("resourceNames", ())})
ASKED = sorted(
    {
        (group, resource)
        for item in OBJECTS
        for rule in item["rules"]
        for group, resource in product(rule["apiGroups"], rule["resources"])
    }
    | {("", "secrets"), ("", "pods"), ("", "namespaces"), ("", "nodes"), ("", "pods/eviction")}
    | {("kapok.dev", f"{plural}/status") for plural in ("sites", "workloads", "tenants")}
    | {("kapok.dev", "sites/approval"), ("other.example", "things"), ("apps", "deployments")}
    | {("apiextensions.k8s.io", "customresourcedefinitions")}
)


def grants(role: dict[str, Any], attributes: AccessAttributes) -> bool:
    """Kubernetes RBAC, as its documentation describes it."""
    return any(
        attributes.group in rule["apiGroups"]
        and (attributes.resource in rule["resources"] or "*" in rule["resources"])
        and attributes.verb in rule["verbs"]
        and ("resourceNames" not in rule or attributes.name in rule["resourceNames"])
        for rule in role["rules"]
    )


def expected(role: str, asked: AccessAttributes) -> bool:
    if role == "push":
        return grants(CLUSTER_ROLES["kapok-push"], asked) or (
            asked.namespace == OWN and grants(CLUSTER_ROLES["kapok-push-secrets"], asked)
        )
    if role in NAMESPACED_ROLES:
        return grants(CLUSTER_ROLES["kapok-reader"], asked) or (
            asked.namespace == OWN
            and any(grants(CLUSTER_ROLES[f"kapok-{one}"], asked) for one in {"tenant", role})
        )
    if role == "scheduler" and asked.namespace == SYSTEM and grants(SCHEDULER_ROLE, asked):
        return True
    return role == "owner" or grants(CLUSTER_ROLES[f"kapok-{role}"], asked)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_exactly_what_the_manifests_grant(role: str) -> None:
    identity = Identity("x", role, (OWN,) if role in NAMESPACED_ROLES else ())
    for (group, resource), verb, namespace, name in product(
        ASKED, VERBS, ("", OWN, OTHER, SYSTEM), NAMES
    ):
        asked = AccessAttributes(
            verb=verb, group=group, resource=resource, namespace=namespace, name=name
        )
        assert is_allowed(identity, asked) is expected(role, asked), asked


def test_every_role_for_people_and_the_scheduler_exists() -> None:
    assert {f"kapok-{role}" for role in ROLES} - {"kapok-owner"} == set(CLUSTER_ROLES) - {
        "kapok-push-secrets",  # a part of the role push, in the namespaces of the identity
    }


def test_a_tenant_without_namespaces_writes_nowhere() -> None:
    asked = AccessAttributes(verb="create", group="kapok.dev", resource="workloads", namespace=OWN)
    assert not is_allowed(Identity("x", "tenant"), asked)


def test_a_role_for_some_namespaces_has_no_rights_elsewhere() -> None:
    asked = AccessAttributes(verb="list", group="kapok.dev", resource="workloads")
    assert not is_allowed(Identity("x", "auditor", (OWN,)), asked)
    assert not is_allowed(Identity("x", "owner", (OWN,)), asked)


def test_a_rules_review_shows_the_rules_of_the_namespace() -> None:
    identity = Identity("x", "tenant", (OWN,))
    inside, outside = (list(resource_rules_of(identity, space)) for space in (OWN, OTHER))
    assert any("workloads" in rule["resources"] for rule in inside)
    assert not any("workloads" in rule["resources"] for rule in outside)
