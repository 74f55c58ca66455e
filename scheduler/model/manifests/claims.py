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
