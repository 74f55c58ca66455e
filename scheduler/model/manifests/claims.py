"""The storage that manifests claim, counted as quotas name it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.manifests.templates import group_kind
from scheduler.model.quantities import requests_of

STORAGE = "requests.storage"
CLAIMS = "persistentvolumeclaims"
"""The names of a ResourceQuota (core/v1): all claimed bytes, and how many claims there are."""


def claims_of(manifests: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the PersistentVolumeClaims among manifests ask for.

    Raises:
        NotAQuantity: a request cannot be read.
    """
    wanted = ("", "PersistentVolumeClaim")
    return _sum_claims(each for each in manifests if group_kind(each) == wanted)


def claims_of_template(
    template: Mapping[str, Any], claim_templates: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    """What one pod claims: by the templates of its StatefulSet, and by ephemeral volumes.

    Raises:
        NotAQuantity: a request cannot be read.
    """
    volumes = mappings_in(mapping_or_empty(template.get("spec")).get("volumes"))
    ephemeral = [
        mapping_or_empty(mapping_or_empty(each.get("ephemeral")).get("volumeClaimTemplate"))
        for each in volumes
        if each.get("ephemeral")
    ]
    return _sum_claims([*claim_templates, *ephemeral])


def _sum_claims(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in claims:
        resources = mapping_or_empty(mapping_or_empty(each.get("spec")).get("resources"))
        asked = requests_of(mapping_or_empty(resources.get("requests"))).get("storage", 0)
        total[STORAGE] = total.get(STORAGE, 0) + asked
        total[CLAIMS] = total.get(CLAIMS, 0) + 1
    return total


def with_claims_retained(
    manifests: Sequence[Mapping[str, Any]], *, is_parked: bool
) -> tuple[dict[str, Any], ...]:
    """The manifests, with StatefulSets whose claims Kubernetes does not delete by itself.

    A move deletes the set at the former site, and a taint parks it at 0 replicas: neither is the
    tenant's word to delete data. The agent deletes claims when that word comes. `whenScaled` stays
    as it is written while replicas run, since then the tenant scales.

    Args:
        manifests: the objects of one site.
        is_parked: whether they run 0 replicas for another reason than the tenant's.
    """
    changed = {"whenDeleted": "Retain", **({"whenScaled": "Retain"} if is_parked else {})}
    found = []
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        policy = mapping_or_empty(spec.get(_RETENTION))
        if group_kind(each) == ("apps", "StatefulSet") and policy:
            found.append({**each, "spec": {**spec, _RETENTION: {**policy, **changed}}})
        else:
            found.append(dict(each))
    return tuple(found)


_RETENTION = "persistentVolumeClaimRetentionPolicy"
