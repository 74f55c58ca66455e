"""Where a workload is reachable, in its status. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from scheduler.control.status.migration import SiteView
from scheduler.model.kinds.workload import MAX_ENDPOINTS, Endpoint, WorkloadStatus


def with_endpoints(
    status: WorkloadStatus, sites: Iterable[str], views: Mapping[str, SiteView]
) -> WorkloadStatus:
    """The status with the endpoints that these sites report, by site and address.

    An endpoint of a silent site stays, because its pods may run, and is not ready.
    """
    found = [
        Endpoint(
            site=site,
            address=one.address,
            port=one.port,
            ready=one.ready and not view.is_silent,
            host=one.host,
        )
        for site in sorted(sites)
        if (view := views.get(site)) is not None and view.state is not None
        for one in sorted(view.state.endpoints)
    ]
    if not found and not status.endpoints:
        return status
    return msgspec.structs.replace(
        status,
        endpoints=tuple(found[:MAX_ENDPOINTS]),
        endpoints_left_out=max(0, len(found) - MAX_ENDPOINTS),
    )
