"""Lowering a class, using a priority and writing grants need rights of their own, at every hub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore
from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import GRANTS, SCHEMES, WORKLOADS, Object, Refused
from scheduler.control.status.finalizer import FINALIZER
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.finer_rights import (
    ACCESS_CHECKS,
    CLASS_MESSAGE,
    CLASS_POLICY,
    GRANT_MESSAGE,
    GRANT_POLICY,
    PRIORITY_MESSAGE,
    PRIORITY_POLICY,
    class_need,
    grant_need,
    priority_need,
)
from scheduler.hub_process.options import server_options
from scheduler.model.kinds.fields import DATA_CLASSES
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.packaged_files import packaged_folder
from tests.support.real_hub import kubectl

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLOCK = SystemClock()
ROLES = {
    "tenant": ["kapok-tenant"],
    "data-officer": ["kapok-tenant", "kapok-data-officer"],
    "priority-user": ["kapok-tenant", "kapok-priority-user"],
}
"""The roles of people in the namespace of this test, and their ClusterRoles."""
GRANTERS = {"authority": "kapok-authority", "operator": "kapok-operator"}
NAME = "finer-rights"
MANIFESTS = packaged_folder("manifests")
OBJECTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((MANIFESTS / "admission/finer-rights.yaml").read_text(encoding="utf-8"))
)
POLICIES = {one["metadata"]["name"]: one for one in OBJECTS if one["kind"].endswith("Policy")}


def workload(**spec: object) -> Object:
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"demand": {"replicas": 1, "requests": {"cpu": "1"}}, **spec},
    }


def grant() -> Object:
    return {
        "apiVersion": GRANTS.api_version,
        "kind": GRANTS.kind,
        "metadata": {"name": NAME},
        "spec": {"sites": [NAME], "jurisdiction": "CN-GD", "authority": "a", "document": "d"},
    }


def with_token(kubeconfig: Path, token: str, target: Path) -> Path:
    """A kubeconfig of the same server for another user."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    target.write_text(yaml.safe_dump(config))
    target.chmod(0o600)
    return target


@asynccontextmanager
async def hub_of_people(
    folder: Path, server: Path | None
) -> AsyncIterator[tuple[HubClient, dict[str, HubClient]]]:
    """A hub: the client of its owner, and those of people by role."""
    async with AsyncExitStack() as stack:
        if server is None:
            options = server_options(
                data_dir=folder, port=0, max_objects=100, max_bytes=10**7, on_fault=pytest.fail
            )
            kubeconfig = (await stack.enter_async_context(serve(options))).kubeconfig_path
            store = TokenStore(folder / "tokens.json")
            tokens = {one: store.get_or_create(Identity(one, one, ("default",))) for one in ROLES}
            tokens |= {one: store.get_or_create(Identity(one, one)) for one in GRANTERS}
        else:
            kubeconfig = server
            tokens = await asyncio.to_thread(_install, server)
        owner = await stack.enter_async_context(open_hub(kubeconfig))
        clients = {}
        for name, token in tokens.items():
            path = with_token(kubeconfig, token, folder / f"{name}.kubeconfig")
            clients[name] = await stack.enter_async_context(open_hub(path))
        await _clear(owner)
        if server is not None:
            await _wait_until_in_force(clients["tenant"])
        try:
            yield owner, clients
        finally:
            await _clear(owner)


def _install(server: Path) -> dict[str, str]:
    """Installs Kapok and people at a real server; returns their tokens."""
    words = ("apply", "--server-side", "--force-conflicts", "--validate=false", "-f")
    for path in ("rbac/00-namespace.yaml", "crds", "rbac", "admission"):
        kubectl(server, *words, str(MANIFESTS / path))
    kubectl(server, "wait", "--for=condition=Established", "--timeout=50s", "crd", "--all")
    tokens = {}
    for name in (*ROLES, *GRANTERS):
        subject = ("--serviceaccount", f"default:{NAME}-{name}")
        account = ("serviceaccount", f"{NAME}-{name}", "-n", "default")
        kubectl(server, "delete", "--ignore-not-found", *account)
        kubectl(server, "create", *account)
        for role in ROLES.get(name, []):
            binding = ("rolebinding", f"{NAME}-{name}-{role}", "-n", "default")
            kubectl(server, "delete", "--ignore-not-found", *binding)
            kubectl(server, "create", *binding, "--clusterrole", role, *subject)
        if name in GRANTERS:
            grants = ("clusterrolebinding", f"{NAME}-{name}")
            kubectl(server, "delete", "--ignore-not-found", *grants)
            kubectl(server, "create", *grants, "--clusterrole", GRANTERS[name], *subject)
        create = ("create", "token", f"{NAME}-{name}", "-n", "default")
        tokens[name] = kubectl(server, *create).strip()
    return tokens


async def _clear(owner: HubClient) -> None:
    await owner.delete(WORKLOADS, NAME, "default")
    with suppress(Exception):
        patch = {"metadata": {"finalizers": None}}
        await owner.merge_patch(WORKLOADS, NAME, patch, namespace="default")
    await owner.delete(GRANTS, NAME)


async def _wait_until_in_force(tenant: HubClient) -> None:
    """A server enforces a policy a moment after it has stored it."""
    path = WORKLOADS.path("default") + "?dryRun=All"
    for _ in range(300):
        with suppress(Refused):
            await tenant.raw("POST", path, body=workload(priority=1))
            await CLOCK.sleep(0.1)
            continue
        return
    raise AssertionError("not within 30 s")


async def refusal(write: Any) -> str:  # noqa: ANN401 - any awaitable
    """The message of a refusal."""
    with pytest.raises(Refused) as caught:
        await write
    assert caught.value.status == 403
    return str(caught.value)


async def test_a_class_is_lowered_by_a_data_officer_alone(
    tmp_path: Path, server: Path | None
) -> None:
    async with hub_of_people(tmp_path, server) as (_, people):
        tenant, officer = people["tenant"], people["data-officer"]
        await tenant.create(WORKLOADS, workload(dataClass="general-2"))

        async def set_class(client: HubClient, value: str | None) -> Object:
            patch = {"spec": {"dataClass": value}}
            return await client.merge_patch(WORKLOADS, NAME, patch, namespace="default")

        await set_class(tenant, "important")
        for value in ("general-4", "general-1", None):
            said = await refusal(set_class(tenant, value))
            assert f"'{CLASS_POLICY}' with binding '{CLASS_POLICY}' denied request" in said
            assert CLASS_MESSAGE in said
        said = await refusal(
            tenant.apply(WORKLOADS, workload(dataClass="general-1"), field_manager="x")
        )
        assert CLASS_MESSAGE in said
        await set_class(officer, "general-1")
        # What was lowered may be changed otherwise, and raised again.
        await tenant.merge_patch(WORKLOADS, NAME, {"spec": {"replicas": 2}}, namespace="default")
        await set_class(tenant, "general-3")
        assert PRIORITY_MESSAGE in await refusal(
            officer.merge_patch(WORKLOADS, NAME, {"spec": {"priority": 1}}, namespace="default")
        )


async def test_a_priority_above_0_is_given_by_a_priority_user_alone(
    tmp_path: Path, server: Path | None
) -> None:
    async with hub_of_people(tmp_path, server) as (_, people):
        tenant, user = people["tenant"], people["priority-user"]
        said = await refusal(tenant.create(WORKLOADS, workload(priority=1)))
        assert f"'{PRIORITY_POLICY}' with binding '{PRIORITY_POLICY}' denied request" in said
        assert PRIORITY_MESSAGE in said
        await tenant.create(WORKLOADS, workload(priority=-5))

        async def set_priority(client: HubClient, value: int | None) -> Object:
            patch = {"spec": {"priority": value}}
            return await client.merge_patch(WORKLOADS, NAME, patch, namespace="default")

        await set_priority(tenant, 0)
        assert PRIORITY_MESSAGE in await refusal(set_priority(tenant, 1))
        await set_priority(user, 100)
        assert PRIORITY_MESSAGE in await refusal(set_priority(tenant, 101))
        await tenant.merge_patch(WORKLOADS, NAME, {"spec": {"replicas": 2}}, namespace="default")
        await set_priority(tenant, 50)

        async def set_preemption(client: HubClient, value: str | None) -> Object:
            patch = {"spec": {"preemption": value}}
            return await client.merge_patch(WORKLOADS, NAME, patch, namespace="default")

        assert PRIORITY_MESSAGE in await refusal(set_preemption(tenant, "LowerPriority"))
        await set_preemption(user, "LowerPriority")
        await tenant.merge_patch(WORKLOADS, NAME, {"spec": {"replicas": 3}}, namespace="default")
        await set_preemption(tenant, "Never")
        await set_priority(tenant, None)


async def test_the_authority_alone_writes_grants(tmp_path: Path, server: Path | None) -> None:
    async with hub_of_people(tmp_path, server) as (owner, people):
        await people["authority"].create(GRANTS, grant())
        patch = {"spec": {"dataClass": "general-2"}}
        for client in (people["operator"], people["tenant"]):
            await refusal(client.merge_patch(GRANTS, NAME, patch))
            await refusal(client.delete(GRANTS, NAME))
        await people["authority"].merge_patch(GRANTS, NAME, patch)
        await people["authority"].delete(GRANTS, NAME)
        assert NAME not in {one["metadata"]["name"] for one in (await owner.list(GRANTS)).items}


async def test_a_scheduler_still_writes_a_workload_with_a_priority(
    tmp_path: Path, server: Path | None
) -> None:
    async with hub_of_people(tmp_path, server) as (owner, people):
        await owner.create(WORKLOADS, workload(priority=100, dataClass="general-1"))
        patch = {"metadata": {"finalizers": [FINALIZER], "annotations": {"a": "b"}}}
        await people["tenant"].merge_patch(WORKLOADS, NAME, patch, namespace="default")


# ------------------------------------------------------------ the policies and the embedded checks


def test_the_policies_for_real_clusters_are_valid_and_have_the_same_words() -> None:
    for one in OBJECTS:
        kubernetes_validate.validate(one, "1.36", strict=True)
        assert one["metadata"]["name"] in {CLASS_POLICY, PRIORITY_POLICY, GRANT_POLICY}
    messages = {
        name: [each["message"] for each in one["spec"]["validations"]]
        for name, one in POLICIES.items()
    }
    assert messages == {
        CLASS_POLICY: [CLASS_MESSAGE],
        PRIORITY_POLICY: [PRIORITY_MESSAGE],
        GRANT_POLICY: [GRANT_MESSAGE],
    }
    kinds = {GRANTS.plural: GRANTS, SCHEMES.plural: SCHEMES, WORKLOADS.plural: WORKLOADS}
    matched = {
        (kinds[plural].group, kinds[plural].kind, name)
        for name, one in POLICIES.items()
        for rule in one["spec"]["matchConstraints"]["resourceRules"]
        for plural in rule["resources"]
    }
    built_in = {(*key, one.policy) for key, checks in ACCESS_CHECKS.items() for one in checks}
    assert matched == built_in


def right_of_policy(name: str, old: Object | None, new: Object | None) -> str | None:
    """The right that the policy asks for, evaluated as a real API server does; None: none."""
    spec = POLICIES[name]["spec"]
    environment = cel.NewEnv(variables=dict.fromkeys(("object", "oldObject"), cel.Type.DYN))

    def value_of(expression: str) -> Any:  # noqa: ANN401 - any value of CEL
        for one in reversed(spec["variables"]):
            inlined = f"({one['expression']})"
            expression = expression.replace(f"variables.{one['name']}", inlined)
        data = {"object": new, "oldObject": old}
        value = environment.compile(expression).eval(data=data).value()
        assert isinstance(value, bool | str), value
        return value

    [validation] = spec["validations"]
    free, _, asked = validation["expression"].rpartition("authorizer.")
    if free and value_of(free.rstrip(" |")):
        return None
    verb, resource = asked.partition(".check('")[2], asked.partition(".resource(")[2]
    named = asked.partition(".name(")[2].partition(").check")[0]
    assert asked.startswith("group('kapok.dev')")
    assert (".namespace(object.metadata.namespace)" in asked) is (name != GRANT_POLICY)
    plural = resource.partition(")")[0].strip("'")
    return f"{verb.partition(chr(39))[0]} {plural} {value_of(named)}"


VALUES: list[dict[str, Any]] = [{}, *({"dataClass": one} for one in DATA_CLASSES)]
PRIORITIES: list[dict[str, Any]] = [
    {},
    *({"priority": one} for one in (-5, 0, 1, 100, 10**9)),
    {"preemption": "LowerPriority"},
    {"preemption": "Never", "priority": 1},
    {"preemption": "LowerPriority", "priority": 1},
    {"preemption": "LowerPriority", "priority": -5},
]


@pytest.mark.parametrize(("before", "after"), list(product(VALUES, repeat=2)))
def test_both_hubs_ask_for_the_same_right_to_lower_a_class(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new = workload(**before), workload(**after)
    need = class_need(old, new)
    found = need and f"{need.verb} {need.resource} {need.name}"
    assert found == right_of_policy(CLASS_POLICY, old, new)


@pytest.mark.parametrize(("before", "after"), list(product([None, *PRIORITIES], PRIORITIES)))
def test_both_hubs_ask_for_the_same_right_to_use_a_priority(
    before: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    old, new = None if before is None else workload(**before), workload(**after)
    need = priority_need(old, new)
    found = need and f"{need.verb} {need.resource} {need.name}"
    assert found == right_of_policy(PRIORITY_POLICY, old, new)


@pytest.mark.parametrize(("old", "new"), [(None, grant()), (grant(), grant()), (grant(), None)])
def test_both_hubs_ask_for_the_same_right_to_write_grants(
    old: Object | None, new: Object | None
) -> None:
    need = grant_need(GRANTS.plural, old, new)
    asked = right_of_policy(GRANT_POLICY, old, new)
    assert f"{need.verb} request.resource.resource {need.name}" == asked


def test_a_deletion_of_a_workload_needs_no_further_right() -> None:
    assert class_need(workload(dataClass="core"), None) is None
    assert priority_need(workload(priority=5), None) is None
