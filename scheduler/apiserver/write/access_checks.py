"""Writes that need a further right of the writer, as a ValidatingAdmissionPolicy asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scheduler.apiserver.base.errors import GroupResource, forbidden
from scheduler.apiserver.kinds.admission import AllowsFunc
from scheduler.hub.schema.json_types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededRight:
    """A right that a write needs.

    Attributes:
        verb: a verb of RBAC, such as `lower`.
        resource: the plural of a resource in the API group of the written object; it need not be
            served.
        name: the name that `resourceNames` of a role may limit the right to.
        message: what the writer reads without the right.
    """

    verb: str
    resource: str
    name: str
    message: str


FindNeedFunc = Callable[[JsonObject | None, JsonObject | None], NeededRight | None]
"""Called with the old object and the new one, None where there is none; None needs no right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCheck:
    """A check of writes to a kind, but not to its subresources.

    Attributes:
        policy: name of the policy that a real API server has for it.
        find_need: what a write needs.
    """

    policy: str
    find_need: FindNeedFunc

    def check(
        self,
        names: GroupResource,
        old: JsonObject | None,
        new: JsonObject | None,
        allows: AllowsFunc,
    ) -> None:
        """Refuses a write whose writer lacks the right.

        Raises:
            ApiError: 403, in the words of a real API server.
        """
        need = self.find_need(old, new)
        meta = (new or old or {}).get("metadata", {})
        namespace = str(meta.get("namespace") or "")
        if need is None or allows(need.verb, need.resource, namespace, need.name):
            return
        denied = f"ValidatingAdmissionPolicy '{self.policy}' with binding '{self.policy}' denied"
        raise forbidden(names, str(meta.get("name") or ""), f"{denied} request: {need.message}")


AccessChecks = Mapping[tuple[str, str], tuple[AccessCheck, ...]]
"""Checks by group and kind of the written object."""


def check_access(
    checks: AccessChecks,
    names: GroupResource,
    old: JsonObject | None,
    new: JsonObject | None,
    allows: AllowsFunc,
) -> None:
    """Refuses a write whose writer lacks a right that a check of its kind asks for.

    Raises:
        ApiError: 403.
    """
    for check in checks.get((names.group, names.kind), ()):
        check.check(names, old, new, allows)
