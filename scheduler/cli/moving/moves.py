"""What commands that move work share: who asks, and what went from which site to which."""

from collections.abc import Mapping, Sequence

from scheduler.control.ports.hub import ApiResource, HubError, Object
from scheduler.hub.client import HubClient

_REVIEWS = ApiResource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)


async def who_asks(client: HubClient) -> str:
    """The name by which the hub knows this client; "unknown" if it does not say."""
    body: Object = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind, "metadata": {}}
    try:
        review = await client.create(_REVIEWS, body)
    except HubError:
        return "unknown"
    return str(((review.get("status") or {}).get("userInfo") or {}).get("username") or "unknown")


def moves_between(
    title: str, before: Mapping[str, int], after: Mapping[str, int], sites: Sequence[str]
) -> list[dict[str, object]]:
    """What goes from which of `sites` to which site, in the order of their names.

    Args:
        title: the workload, as `namespace/name`.
        before: replicas by site until now.
        after: replicas by site from now on.
        sites: the sites that are left.
    """
    gained = {
        site: count - before.get(site, 0)
        for site, count in sorted(after.items())
        if count > before.get(site, 0)
    }
    moves: list[dict[str, object]] = []
    for site in sites:
        left = before.get(site, 0) - after.get(site, 0)
        for target, room in gained.items():
            moved = min(left, room)
            if moved > 0:
                moves.append({"workload": title, "from": site, "to": target, "replicas": moved})
                gained[target] -= moved
                left -= moved
    return moves


def format_answer(answer: Mapping[str, list[dict[str, object]]]) -> str:
    """Moves and what is stuck, a line each, as text for people."""
    lines = [
        f"{one['workload']}: {one['replicas']} from {one['from']} to {one['to']}"
        for one in answer["moves"]
    ]
    lines += [f"{one['workload']}: not moved: {one['reason']}" for one in answer["stuck"]]
    return "\n".join(lines)
