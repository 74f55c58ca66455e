"""The roles that we ship: valid, with the fewest rights, and none can grant itself more."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from scheduler.control.drills.drill_word import DRILL_MAP, DRILL_STATE_MAP
from scheduler.control.failover.freeze_word import EVICTIONS_MAP, FREEZE_MAP
from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import NAMESPACE
from scheduler.control.sites.unadmitted_sites import CONFIG_MAP
from scheduler.control.state import ledger_heads
from scheduler.hub import web_address
from scheduler.model.kinds.kinds import KINDS
from scheduler.runtime.packaged_files import packaged_folder

FILES = [
    path
    for folder in ("rbac", "rbac/agent")
    for path in sorted((packaged_folder("manifests") / folder).glob("*.yaml"))
]
OBJECTS: list[dict[str, Any]] = [
    item for path in FILES for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
ROLES = {
    f"{item['kind']}/{item['metadata']['name']}": item
    for item in OBJECTS
    if item["kind"] in ("Role", "ClusterRole")
}
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
GRANTED = {"sitegrants", "dataclassschemes"}
RIGHTS_ONLY = {"dataclasses", "priorities"}
"""Resources that manifests/admission/finer-rights.yaml asks for, and no server has."""
EVERYBODY = {"authority", "operator", "administrator", "reader", "auditor"}
READERS = {
    CONFIG_MAP: {"operator"},
    EVICTIONS_MAP: EVERYBODY,
    FREEZE_MAP: EVERYBODY,
    DRILL_MAP: EVERYBODY,
    DRILL_STATE_MAP: EVERYBODY,
    ledger_heads.CONFIG_MAP: {"auditor"},
    web_address.CONFIG_MAP: EVERYBODY,
}
"""Whose commands read which ConfigMap of the hub."""


def rights(role: str) -> Iterator[tuple[str, str, str]]:
    """Every (group, resource, verb) of a role."""
    for rule in ROLES[role].get("rules", []):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_the_objects_are_valid_kubernetes(number: int) -> None:
    kubernetes_validate.validate(OBJECTS[number], "1.36", strict=True)


def test_the_namespace_comes_first_so_that_one_apply_is_enough() -> None:
    assert (OBJECTS[0]["kind"], OBJECTS[0]["metadata"]["name"]) == ("Namespace", NAMESPACE)
    homes = {item["metadata"].get("namespace") for item in OBJECTS}
    assert homes == {None, NAMESPACE}


SECRETS = {
    # Its signing key, which replicas share, in its own namespace and by name.
    "Role/kapok-scheduler": "create get patch",
    # Secrets that pod templates refer to are sealed at the hub, and applied at the site.
    "ClusterRole/kapok-scheduler": "get list watch",
    # Kubeconfigs of members, bound in the namespaces that hold them.
    "ClusterRole/kapok-push-secrets": "get",
    "ClusterRole/kapok-agent": "get list watch create patch delete",
}
"""Who may do what with Secrets."""


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_grant_itself_rights(role: str) -> None:
    for group, resource, verb in rights(role):
        assert verb not in {"*", "escalate", "bind"}
        assert verb != "impersonate" or role == "ClusterRole/kapok-agent-tenants"
        assert group != "*"
        assert resource != "secrets" or verb in SECRETS.get(role, "").split()
        assert group != "rbac.authorization.k8s.io" or verb not in WRITES


def test_the_authority_alone_writes_grants_and_classes() -> None:
    writers = {
        role
        for role in ROLES
        for group, resource, verb in rights(role)
        if group == "kapok.dev" and resource in GRANTED | {"*"} and verb in WRITES
    }
    assert writers == {"ClusterRole/kapok-authority"}


def test_finer_rights_are_given_by_roles_of_their_own() -> None:
    holders = {
        (verb, resource): role
        for role in ROLES
        for group, resource, verb in rights(role)
        if group == "kapok.dev" and verb in {"lower", "use", "grant"}
    }
    assert holders == {
        ("lower", "dataclasses"): "ClusterRole/kapok-data-officer",
        ("use", "priorities"): "ClusterRole/kapok-priority-user",
        ("grant", "sitegrants"): "ClusterRole/kapok-authority",
        ("grant", "dataclassschemes"): "ClusterRole/kapok-authority",
    }


def test_the_scheduler_alone_writes_statuses() -> None:
    writers = {
        role
        for role in ROLES
        for _, resource, verb in rights(role)
        if resource.endswith("/status") and verb in WRITES
    }
    assert writers == {"ClusterRole/kapok-scheduler"}


def test_the_scheduler_never_creates_or_deletes_what_people_write() -> None:
    for group, resource, verb in rights("ClusterRole/kapok-scheduler"):
        if group == "kapok.dev" and "/" not in resource and verb in WRITES:
            assert (resource, verb) == ("workloads", "patch")


def test_the_scheduler_may_touch_the_lease_and_its_own_lists_only() -> None:
    named = {
        (rule["resources"][0], name)
        for rule in ROLES["Role/kapok-scheduler"]["rules"]
        for name in rule.get("resourceNames", [])
    }
    maps = {("configmaps", name) for name in READERS}
    assert named == {("leases", LEASE_NAME), ("secrets", "kapok-hub-key"), *maps}
    for rule in ROLES["Role/kapok-scheduler"]["rules"]:
        assert "resourceNames" in rule or rule["verbs"] == ["create"]
        assert FREEZE_MAP not in rule.get("resourceNames", []) or rule["verbs"] == ["get"]


def test_the_commands_of_each_role_can_read_the_config_maps_they_show() -> None:
    readers: dict[str, set[str]] = {name: set() for name in READERS}
    for role, item in ROLES.items():
        for rule in item["rules"]:
            if role.startswith("ClusterRole/") and "get" in rule["verbs"]:
                for name in rule.get("resourceNames", []):
                    readers[name].add(role.removeprefix("ClusterRole/kapok-"))
    assert readers == READERS


def test_only_operators_say_that_evictions_are_frozen() -> None:
    writers = {
        role
        for role, item in ROLES.items()
        for rule in item["rules"]
        if FREEZE_MAP in rule.get("resourceNames", []) and WRITES & set(rule["verbs"])
    }
    assert writers == {"ClusterRole/kapok-operator"}


def test_an_agent_may_take_on_the_accounts_of_tenants_and_no_others() -> None:
    [rule] = ROLES["ClusterRole/kapok-agent-tenants"]["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["serviceaccounts"],
        "resourceNames": ["kapok-tenant"],
        "verbs": ["impersonate"],
    }


def test_a_push_process_reads_sites_and_named_secrets_and_writes_nothing() -> None:
    assert set(rights("ClusterRole/kapok-push")) == {
        ("kapok.dev", "sites", "get"),
        ("kapok.dev", "sites", "list"),
        ("multicluster.x-k8s.io", "clusterprofiles", "get"),  # an address and a CA, no credential
    }
    assert set(rights("ClusterRole/kapok-push-secrets")) == {("", "secrets", "get")}
    bound = {item["roleRef"]["name"] for item in OBJECTS if item["kind"].endswith("Binding")}
    assert "kapok-push-secrets" not in bound  # people bind it, in one namespace


def test_auditors_and_readers_only_read() -> None:
    for role in ("ClusterRole/kapok-auditor", "ClusterRole/kapok-reader"):
        assert {verb for _, _, verb in rights(role)} == {"get", "list", "watch"}


def test_a_tenant_writes_its_own_kinds_only() -> None:
    written = {
        resource for _, resource, verb in rights("ClusterRole/kapok-tenant") if verb in WRITES
    }
    assert written == {"workloads", "workloads/scale", "placementpolicies"}


def test_every_resource_of_ours_exists() -> None:
    known = {kind.plural for kind in KINDS.values()} | {"*"} | RIGHTS_ONLY
    for role in ROLES:
        for group, resource, _ in rights(role):
            assert group != "kapok.dev" or resource.partition("/")[0] in known


_RULE = re.compile(
    r"((?:^# .*\n)+)?^- apiGroups: .*\n(?:  (?:resources|resourceNames): .*\n)+  verbs: \[(.*)\]$",
    re.MULTILINE,
)
"""A rule with the comment above it."""


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_verb_has_its_reason_above_its_rule(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = _RULE.findall(text)
    assert len(found) == text.count("- apiGroups:")
    for comment, verbs in found:
        words = set(re.findall(r"[a-z]+", comment))
        assert set(verbs.split(", ")) <= words, (verbs, comment)
