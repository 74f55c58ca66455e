"""When NoExecute taints without `timeAdded` were seen first. Pure.

`tolerationSeconds` count from `timeAdded`, else from that time. As in the taint eviction controller
of Kubernetes, a restart begins to count again.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scheduler.model.kinds.fields import Taint


def taint_times_after(
    known: Mapping[Taint, datetime], taints: tuple[Taint, ...], now: datetime
) -> dict[Taint, datetime]:
    """When each such taint was seen first, once a site has these taints.

    Args:
        known: the times before.
        taints: all taints of the site.
        now: the time of the wall clock.
    """
    return {one: known.get(one, now) for one in taints if _is_undated_no_execute(one)}


def with_taint_times(
    taints: tuple[Taint, ...], seen: Mapping[Taint, datetime]
) -> tuple[Taint, ...]:
    """Taints with these times as `timeAdded`."""
    if not seen:
        return taints
    return tuple(
        msgspec.structs.replace(one, time_added=seen[one]) if one in seen else one for one in taints
    )


def _is_undated_no_execute(taint: Taint) -> bool:
    return taint.effect == "NoExecute" and taint.time_added is None
