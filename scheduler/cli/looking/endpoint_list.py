"""`kapok get endpoints`: where workloads are reachable, and at which site.

They are no objects of the hub: the status of each workload lists them.
"""

from collections.abc import Sequence

from scheduler.cli.support.output import print_json, print_notice, print_table
from scheduler.control.ports.hub import Object

ENDPOINT_KINDS = ("endpoints", "endpoint")
"""What names them on the command line."""

_HEADERS = ("NAMESPACE", "WORKLOAD", "SITE", "ADDRESS", "PORT", "READY", "HOST")


def print_endpoints(workloads: Sequence[Object], *, as_json: bool, is_one: bool) -> None:
    """Prints where workloads are reachable.

    Args:
        workloads: the workloads.
        as_json: one JSON object instead of a table.
        is_one: one workload was named, so that the object is about it alone.
    """
    listed = [(one["metadata"], one.get("status") or {}) for one in workloads]
    left_out = sum(status.get("endpointsLeftOut", 0) for _, status in listed)
    rows = [
        {"workload": f"{meta['namespace']}/{meta['name']}", **_endpoint(each)}
        for meta, status in listed
        for each in status.get("endpoints") or ()
    ]
    if as_json:
        print_json(_one_as_json(workloads[0], left_out) if is_one else {"endpoints": rows})
    elif rows:
        print_table([_HEADERS, *(_cells(row) for row in rows)], fixed=4)
    else:
        print_notice("no endpoints found")
    if left_out:
        print_notice(f"{left_out} more endpoints are not listed; a workload lists 64")


def _one_as_json(workload: Object, left_out: int) -> Object:
    meta, status = workload["metadata"], workload.get("status") or {}
    found = {
        "workload": f"{meta['namespace']}/{meta['name']}",
        "endpoints": [_endpoint(each) for each in status.get("endpoints") or ()],
    }
    return found | ({"leftOut": left_out} if left_out else {})


def _endpoint(one: Object) -> Object:
    """An endpoint with the fields that a status leaves out."""
    return {**one, "ready": bool(one.get("ready"))}


def _cells(row: Object) -> tuple[str, ...]:
    namespace, _, name = row["workload"].partition("/")
    ready = "true" if row["ready"] else "false"
    return (
        *(namespace, name, row["site"], row["address"]),
        *(str(row["port"]), ready, row.get("host", "")),
    )
