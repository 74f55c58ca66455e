"""The containers of a pod: requests and limits one by one, as LimitRange bounds them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.fields import Part
from scheduler.model.manifests.texts import names_in, text_of
from scheduler.model.packed_manifests import PackedManifests
from scheduler.model.quantities import requests_of
from scheduler.model.remembered import remembered_of_manifests

SCALARS = (str, int, float, type(None))
"""Types of JSON values that hold no others, for `isinstance`.

Most values are scalars, so what walks through a manifest passes over them first. Asking for a
`Mapping` instead takes several times as long.
"""

Amounts = dict[str, int]
"""Millicores for cpu, whole units for all else."""


class Container(Part, frozen=True, kw_only=True):
    """One container with its requests and limits; units as in `Amounts`."""

    name: str = ""
    is_init: bool = False
    """Whether it ends before the next starts; False for sidecars, which keep running."""
    requests: dict[str, int] = msgspec.field(default_factory=dict)
    limits: dict[str, int] = msgspec.field(default_factory=dict)

    def with_defaults(self, limits: Mapping[str, int], requests: Mapping[str, int]) -> "Container":
        """Fills in what it does not name, as the API server's LimitRanger does."""
        return msgspec.structs.replace(
            self,
            requests={**requests, **self.requests},
            limits={**limits, **self.limits},
        )


def containers_of(spec: Mapping[str, Any]) -> tuple[Container, ...]:
    """Reads the containers of a pod in the order in which they start.

    Raises:
        NotAQuantity: a request or a limit cannot be read.
    """
    found = []
    for field in ("initContainers", "containers"):
        for each in mappings_in(spec.get(field)):
            resources = mapping_or_empty(each.get("resources"))
            limits = mapping_or_empty(resources.get("limits"))
            found.append(
                Container(
                    name=str(each.get("name", "")),
                    is_init=field == "initContainers" and each.get("restartPolicy") != "Always",
                    requests=_amounts_with_zeros(
                        {**limits, **mapping_or_empty(resources.get("requests"))}
                    ),
                    limits=_amounts_with_zeros(limits),
                )
            )
    return tuple(found)


def pod_amounts(containers: Sequence[Container], amounts_field: str) -> Amounts:
    """The amounts of a whole pod: the larger of running and of starting it (KEP-753).

    Args:
        containers: in the order in which they start.
        amounts_field: `requests` or `limits`.
    """
    running: Amounts = {}
    starting: Amounts = {}
    for each in containers:
        amounts: Amounts = getattr(each, amounts_field)
        beside = _sum_amounts(running, amounts)
        starting = {
            name: max(starting.get(name, 0), beside.get(name, 0)) for name in {*starting, *beside}
        }
        running = running if each.is_init else beside
    return dict(sorted(starting.items()))


def _amounts_with_zeros(written: Mapping[str, Any]) -> Amounts:
    """Reads amounts and keeps a named 0, which LimitRange treats as set."""
    zeros = dict.fromkeys(sorted(written), 0)
    return zeros | requests_of(written)


def _sum_amounts(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


def mapping_or_empty(raw: object) -> Mapping[str, Any]:
    """A part of an unchecked object, if it is a mapping; else an empty one."""
    if type(raw) is dict:
        return raw
    return raw if raw is not None and isinstance(raw, Mapping) else {}


def mappings_in(raw: object) -> Sequence[Mapping[str, Any]]:
    """The mappings in a list of an unchecked object; empty if it is no list."""
    if not isinstance(raw, list | tuple):
        return []
    return [each for each in raw if type(each) is dict or isinstance(each, Mapping)]


def field_names(value: object) -> set[str]:
    """All names of fields in a manifest or in several, at any depth.

    A rule about fields that the manifest does not have needs no look at its pods. Of manifests as a
    spec holds them the answer is remembered.
    """
    return _field_names_in(value)


def _field_names(value: object) -> set[str]:
    text = text_of(list(value) if isinstance(value, PackedManifests) else value)
    names = None if text is None else names_in(text)
    return _field_names_inside(value) if names is None else names


def _field_names_inside(value: object) -> set[str]:
    found: set[str] = set()
    left = [value]
    while left:
        one = left.pop()
        inner: Iterable[object] = ()
        if isinstance(one, Mapping):
            found.update(one)
            inner = one.values()
        elif isinstance(one, list | tuple | PackedManifests):
            inner = one
        left += [each for each in inner if not isinstance(each, SCALARS)]
    return found


_field_names_in = remembered_of_manifests(_field_names)
