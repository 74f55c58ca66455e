"""The real API server of KAPOK_TEST_KUBECONFIG as the hub of a test.

It is a server for tests: the Lease of the scheduler is deleted, and the workloads of the namespace
`default`. A server with sites or workloads of others is refused.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from scheduler.control.fence import FENCE_NAME
from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    GRANTS,
    LEASES,
    NAMESPACE,
    SITES,
    TENANTS,
    WORKLOADS,
    Busy,
    NotFound,
    Object,
    Refused,
)
from scheduler.control.status.finalizer import FINALIZER
from scheduler.hub.client import HubClient
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.packaged_files import packaged_folder

REAL_KUBECONFIG = os.environ.get("KAPOK_TEST_KUBECONFIG", "")
SERVERS = [None, *([Path(REAL_KUBECONFIG)] if REAL_KUBECONFIG else [])]
"""Where a test runs: None is the embedded hub."""
_KUBECTL = Path(sys.executable).with_name("kubectl")
_CLOCK = SystemClock()
_OURS = {SITES: {"site-a"}, GRANTS: {"site-a-grant"}, TENANTS: {"tests"}}
_STATE = ("kapok-pending-sites", "kapok-ledger-heads", "kapok-endpoints")
_PROBE: Object = {
    "apiVersion": WORKLOADS.api_version,
    "kind": WORKLOADS.kind,
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {"demand": {"replicas": 1, "requests": {"cpu": "1"}}},
}
_NEWER_LEASE: Object = {
    "apiVersion": LEASES.api_version,
    "kind": LEASES.kind,
    "metadata": {"name": LEASE_NAME, "namespace": NAMESPACE},
    "spec": {"leaseTransitions": 9},
}


def kubectl(kubeconfig: Path, *words: str) -> str:
    """Runs the real kubectl; returns its output."""
    done = subprocess.run(
        [str(_KUBECTL), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"KUBECONFIG": str(kubeconfig), "HOME": "/nonexistent", "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def scheduler_token(kubeconfig: Path) -> str:
    """A token of the scheduler's service account, which has the rights of manifests/rbac."""
    return kubectl(kubeconfig, "create", "token", "-n", NAMESPACE, "kapok-scheduler").strip()


@asynccontextmanager
async def prepared(client: HubClient, kubeconfig: Path, *, is_fenced: bool) -> AsyncIterator[None]:
    """Installs Kapok on a real server, as an operator does, and leaves nothing of the test there.

    Args:
        client: has all rights.
        kubeconfig: of the server.
        is_fenced: whether the policy of the fence is in force.
    """
    folder = packaged_folder("manifests")
    # The server itself refuses unknown fields of what is applied on its side.
    words = ("apply", "--server-side", "--force-conflicts", "--validate=false", "-f")
    for path in ("rbac/00-namespace.yaml", "crds", "rbac", "admission"):
        kubectl(kubeconfig, *words, str(folder / path))
    kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=50s", "crd", "--all")
    await _clear(client)
    if not is_fenced:  # a binding that is deleted freezes the parameter in kube-apiserver
        patch = '{"spec": {"validationActions": ["Audit"]}}'
        binding = f"validatingadmissionpolicybinding/{FENCE_NAME}"
        kubectl(kubeconfig, "patch", "--type=merge", "-p", patch, binding)
    await _wait_until_in_force(client, is_fenced=is_fenced)
    await _clear(client)
    try:
        yield
    finally:
        await _clear(client)


async def _clear(client: HubClient) -> None:
    for item in (await client.list(WORKLOADS)).items:
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        assert namespace == "default", f"a server for tests has no workload {namespace}/{name}"
        await client.delete(WORKLOADS, name, namespace)
        with suppress(NotFound):
            patch = {"metadata": {"finalizers": None}}
            await client.merge_patch(WORKLOADS, name, patch, namespace=namespace)
    for resource, names in _OURS.items():
        for item in (await client.list(resource)).items:
            name = item["metadata"]["name"]
            assert name in names, f"a server for tests has no {resource.kind} {name}"
            await client.delete(resource, name)
    await client.delete(LEASES, LEASE_NAME, NAMESPACE)
    for name in _STATE:
        await client.delete(CONFIG_MAPS, name, NAMESPACE)


async def _wait_until_in_force(client: HubClient, *, is_fenced: bool) -> None:
    """A server enforces a policy a moment after it has stored it."""
    await client.create(LEASES, _NEWER_LEASE)

    async def has_finalizer() -> bool:
        await client.delete(WORKLOADS, "probe", "default")
        with suppress(NotFound):
            patch = {"metadata": {"finalizers": None}}
            await client.merge_patch(WORKLOADS, "probe", patch, namespace="default")
        try:
            created = await client.create(WORKLOADS, _PROBE)
        except Busy:  # a policy does not know a new kind at once
            return False
        return FINALIZER in created["metadata"].get("finalizers", [])

    async def fence_is_as_wanted() -> bool:
        try:
            await client.merge_patch(
                WORKLOADS,
                "probe",
                {"status": {"epoch": 1}},
                namespace="default",
                subresource="status",
            )
        except Refused:
            return is_fenced
        return not is_fenced

    await _until(has_finalizer)
    await _until(fence_is_as_wanted)


async def _until(probe: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await probe():
            return
        await _CLOCK.sleep(0.1)
    raise AssertionError(f"not within 60 s: {probe.__name__}")
