"""What of a site's figures is written to its status."""

import msgspec

from scheduler.control.site_status_writer import truncate_status
from scheduler.model.kinds.site import FreeRow, NamespaceLimits, NodeClass, SiteStatus


def test_the_status_of_a_site_is_never_larger_than_an_object_of_the_hub_may_be() -> None:
    long = "x" * 300
    labels = {f"{long}{one}": "v" * 60 for one in range(64)}
    free: tuple[FreeRow, ...] = tuple(
        {"count": 1, **{f"{long}-{row}-{one}": 1 for one in range(60)}} for row in range(9)
    )
    classes = tuple(NodeClass(gpu_model=f"g{one}", labels=labels, free=free) for one in range(100))
    limits: dict[str, int | float | str] = {f"{long}{one}": "1.5Gi" for one in range(64)}
    namespaces = tuple(NamespaceLimits(name=f"n{one}", quota_left=limits) for one in range(500))
    short = truncate_status(SiteStatus(node_classes=classes, namespaces=namespaces))
    assert len(msgspec.json.encode(short)) <= 512 * 1024
    assert short.truncated
    assert short.node_classes
    assert short.namespaces
