"""`kapok get volumes`: claims that workloads left behind, and at which site.

They are no objects of the hub: the status of each workload lists them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from scheduler.cli.support.output import print_json, print_notice, print_table
from scheduler.control.ports.hub import Object

VOLUME_KINDS = ("volumes", "volume")
"""What names them on the command line."""


def print_volumes(workloads: Sequence[Object], *, as_json: bool, now: datetime) -> None:
    """Prints what the workloads left behind."""
    left = [row for one in workloads for row in left_volumes(one)]
    if as_json:
        print_json({"volumes": left})
    elif left:
        print_table([_VOLUME_HEADERS, *(volume_row(one, now) for one in left)], fixed=3)
    else:
        print_notice("no volumes found")


_VOLUME_HEADERS = ("NAMESPACE", "WORKLOAD", "SITE", "CLAIMS", "STATE", "AGE")


def left_volumes(workload: Object) -> list[Object]:
    """What `status.remains` of a workload lists: claims at sites that it has left."""
    meta = workload["metadata"]
    return [
        {
            "namespace": meta["namespace"],
            "workload": meta["name"],
            "site": one["site"],
            "claims": one.get("claims") or [],
            "state": one.get("message") or "kept",
            "since": one.get("since"),
        }
        for one in (workload.get("status") or {}).get("remains") or ()
    ]


def volume_row(one: Object, now: datetime) -> tuple[str, ...]:
    """The cells of one row."""
    return (
        one["namespace"],
        one["workload"],
        one["site"],
        ",".join(one["claims"]) or "-",
        one["state"],
        _format_age(one["since"], now),
    )


def _format_age(text: str | None, now: datetime) -> str:
    if not text:
        return ""
    then = datetime.fromisoformat(text)
    seconds = max(0, int((now - then.astimezone(UTC)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:  # 90 minutes read better as "90m" than as "1h"
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
