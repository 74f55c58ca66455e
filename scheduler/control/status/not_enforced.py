"""Fields of every kind that are accepted and not acted on yet: the condition NotEnforced.

The condition is set on Workloads, also for the policies that apply to them, and on Sites; a client
that writes an object of any kind gets a warning. A test ties the list to the code: a change that
makes a field work removes it here.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.fields import Condition, Part
from scheduler.model.kinds.policy import ClusterPlacementPolicy, PlacementPolicy
from scheduler.model.kinds.site import Site
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.identities import numbered_set_in

_MAX_LISTED = 16

_INTERRUPTIBLE = (
    "running work is never paused yet; it acts only before a start, "
    "where a budget of the month holds it"
)
_NOT_COMMON = "a ClusterPlacementPolicy does not set it; write it to a PlacementPolicy"
_DESCRIBES = "describes the site; nothing is decided by it yet"

NOT_ENFORCED: dict[str, dict[str, str]] = {
    Workload.KIND: {
        "spec.schedule.interruptible": _INTERRUPTIBLE,
    },
    PlacementPolicy.KIND: {
        "spec.schedule.interruptible": _INTERRUPTIBLE,
    },
    ClusterPlacementPolicy.KIND: {
        **{
            f"spec.placement.{name}": _NOT_COMMON
            for name in (
                "preset",
                "presetOptions",
                "strategy",
                "mode",
                "weights",
                "siteTolerations",
                "siteGroups",
                "affinity",
                "prices",
                "data",
            )
        },
        "spec.schedule": _NOT_COMMON,
        "spec.rebalance": _NOT_COMMON,
    },
    Site.KIND: {
        "spec.location.latitude": _DESCRIBES,
        "spec.location.longitude": _DESCRIBES,
        "spec.location.failureDomains": "only evictions know them: sites that share one and fell "
        "silent together are held together. No rule spreads over them yet; label the site, and "
        "spread by label:KEY",
        "spec.energy.pvPeakWatts": _DESCRIBES,
    },
}
"""What happens instead, by kind and path of the field."""


_IDENTITY = "spec.placement.identity"
_GREEN_SHARE = "spec.energy.greenShare"
_NO_EVIDENCE = "without greenEvidence it counts in no ledger and for no limit"
_NOT_NUMBERED = (
    "none of its manifests has pods with numbers (StatefulSet, Indexed Job), so replicas are "
    "divided by their count"
)


def not_enforced(one: Part) -> tuple[str, ...]:
    """Paths of fields that an object sets and nothing acts on."""
    return tuple(_found(one))


def _found(one: Part) -> dict[str, str]:
    """What happens instead, by the path of each field that is set and that nothing acts on."""
    known = NOT_ENFORCED.get(_kind_of(one), {})
    found = {path: sentence for path, sentence in known.items() if _is_set(one, path)}
    if isinstance(one, Workload) and one.spec.placement is not None:
        identity = one.spec.placement.identity
        if identity in _IDENTITIES_OF_NUMBERED and not numbered_set_in(one.spec.manifests):
            found[_IDENTITY] = _NOT_NUMBERED
    energy = one.spec.energy if isinstance(one, Site) else None
    if energy and energy.green_share and not energy.green_evidence.strip():
        found[_GREEN_SHARE] = _NO_EVIDENCE
    return found


_IDENTITIES_OF_NUMBERED = ("PerSite", "Ranges")


def not_enforced_warnings(raw: dict[str, Any]) -> list[str]:
    """The warnings for a client that writes an object; none when it does not decode."""
    try:
        one = decode(raw, allow_unknown=True)
    except NotReadable:
        return []
    return [f"{path} is not enforced: {sentence}" for path, sentence in _found(one).items()]


def not_enforced_condition(
    one: Part,
    now: datetime | None,
    *,
    policies: Iterable[PlacementPolicy | ClusterPlacementPolicy] = (),
    more: Iterable[str] = (),
) -> Condition | None:
    """The condition NotEnforced of an object; None when it sets no such field.

    Args:
        one: a Workload or a Site.
        now: the time of the transition.
        policies: those that apply to a workload; their fields are listed with their names.
        more: further sentences.
    """
    found = [*_sentences(one), *more]
    for policy in policies:
        name = f"{policy.kind} {policy.metadata.name}"
        found.extend(f"{name}: {sentence}" for sentence in _sentences(policy))
    if not found:
        return None
    return Condition(
        type="NotEnforced",
        status="True",
        reason="AcceptedNotActedOn",
        message=_join(found),
        last_transition_time=now,
    )


def _join(sentences: list[str]) -> str:
    more = len(sentences) - _MAX_LISTED
    return "; ".join(sentences[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _sentences(one: Part) -> Iterable[str]:
    return (f"{path}: {sentence}" for path, sentence in _found(one).items())


def _kind_of(one: Part) -> str:
    return str(getattr(type(one), "KIND", ""))


def _is_set(one: Part, path: str) -> bool:
    """Whether a field has another value than its default."""
    value: Any = one
    default: Any = None
    for step in path.split("."):
        if not isinstance(value, Part):
            return False
        field = _fields_of(type(value))[step]
        value, default = getattr(value, field.name), _default_of(field)
    return value != default and not (isinstance(value, Part) and _is_empty(value))


@cache
def _fields_of(kind: type[Part]) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields of a type by their names in JSON; msgspec finds them again at each call."""
    return {each.encode_name: each for each in msgspec.structs.fields(kind)}


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _is_empty(part: Part) -> bool:
    return all(
        getattr(part, field.name) == _default_of(field) for field in _fields_of(type(part)).values()
    )
