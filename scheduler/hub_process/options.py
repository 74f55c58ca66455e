"""The embedded hub's options: its CRDs, its limits, and what it warns about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scheduler.apiserver.auth.storage_limits import StorageLimits
from scheduler.apiserver.server import ApiServerOptions
from scheduler.apiserver.write.status_checks import StatusCheck
from scheduler.control.fence import FENCE_NAME, late_status_problem
from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS
from scheduler.control.status.bare_kinds import BARE_KINDS, bare_object_warnings
from scheduler.control.status.finalizer import keep_finalizer
from scheduler.control.status.manifest_fields import removed_fields_warnings
from scheduler.control.status.not_enforced import NOT_ENFORCED, not_enforced_warnings
from scheduler.hub.crds.generate import make_crds
from scheduler.hub_process.finer_rights import ACCESS_CHECKS

EPOCH_FENCE = StatusCheck(
    name=FENCE_NAME,
    parameter=(LEASES.group, LEASES.version, LEASES.plural),
    parameter_namespace=NAMESPACE,
    parameter_name=LEASE_NAME,
    find_problem=late_status_problem,
)
"""What the embedded hub checks itself, and a real one by manifests/admission."""


def server_options(
    *,
    data_dir: Path,
    port: int,
    max_objects: int,
    max_bytes: int,
    on_fault: Callable[[str], None],
    socket_path: Path | None = None,
) -> ApiServerOptions:
    """The options of the API server that is the hub.

    Args:
        data_dir: the directory of its files.
        port: its port; 0: the recorded one, else a free one.
        max_objects: objects that the holder of a token may keep.
        max_bytes: bytes of these objects.
        on_fault: called with the place of each fault of the server.
        socket_path: a Unix socket that it serves too, without TLS.
    """
    return ApiServerOptions(
        data_dir=data_dir,
        port=port,
        socket_path=socket_path,
        crds=make_crds(),
        name="hub",
        storage_limits=StorageLimits(max_objects=max_objects, max_bytes=max_bytes),
        on_fault=on_fault,
        status_checks={WORKLOADS.kind: EPOCH_FENCE},
        # manifests/admission/withdraw-finalizer.yaml has it for others, and a test compares both.
        # So has finer-rights.yaml.
        access_checks=ACCESS_CHECKS,
        mutations={(WORKLOADS.group, WORKLOADS.kind): keep_finalizer},
        warning_funcs=dict.fromkeys(BARE_KINDS, bare_object_warnings)
        | dict.fromkeys(NOT_ENFORCED, not_enforced_warnings)
        | {WORKLOADS.kind: _workload_warnings},
    )


def _workload_warnings(raw: dict[str, Any]) -> list[str]:
    return [*not_enforced_warnings(raw), *removed_fields_warnings(raw)]
