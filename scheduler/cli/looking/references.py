"""What goes along with a decided workload, by name and version, for `kapok explain`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.references import references_of

_MAX_PRINTED: Final = 16
_CLUSTER_KINDS: Final = ("PriorityClass",)


def named_references(
    spec: WorkloadSpec | None, key: str, recorded: Sequence[Mapping[str, str]]
) -> list[dict[str, Any]]:
    """What the pod templates of a spec refer to, with what the record says of each.

    Args:
        spec: as recorded; None: it cannot be read, and only what is recorded is named.
        key: "namespace/name" of the workload.
        recorded: `references` of the record; records before have none, and a first decision is
            made before any of the objects is read.

    Returns:
        For each `kind`, `namespace` (null for a cluster-scoped one), `name`, `optional`, `digest`
        and `resourceVersion`, which are null where the record does not say.
    """
    namespace = key.partition("/")[0]
    optional: dict[tuple[str, str | None, str], bool | None] = {}
    for one in references_of(spec.manifests, namespace) if spec is not None else ():
        at = None if one.kind in _CLUSTER_KINDS else one.namespace or namespace
        optional[one.kind, at, one.name] = one.is_optional
    known = {(one["kind"], one.get("namespace"), one["name"]): one for one in recorded}
    names = optional if spec is not None else dict.fromkeys(known)
    return [
        {
            "kind": kind,
            "namespace": at,
            "name": name,
            "optional": names[kind, at, name],
            "digest": known.get((kind, at, name), {}).get("digest"),
            "resourceVersion": known.get((kind, at, name), {}).get("resourceVersion"),
        }
        for kind, at, name in sorted(names, key=lambda each: (each[0], each[1] or "", each[2]))
    ]


def format_references(references: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each object, as text for people."""
    lines = []
    for one in references[:_MAX_PRINTED]:
        where = f"{one['namespace']}/{one['name']}" if one["namespace"] else one["name"]
        version = one["digest"] or (
            f"resourceVersion {one['resourceVersion']}"
            if one["resourceVersion"]
            else "not read when this was decided"
        )
        lines.append(f"goes along: {one['kind']} {where}: {version}")
    if len(references) > _MAX_PRINTED:
        lines.append(f"goes along: {len(references) - _MAX_PRINTED} more, with -o json")
    return lines
