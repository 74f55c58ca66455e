"""Secret data never gets into a record: the ledger cannot forget. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from scheduler.model.kinds.workload import WorkloadSpec

_DATA = ("data", "stringData")
_HIDDEN = "(not recorded)"


def without_secrets(spec: WorkloadSpec) -> WorkloadSpec:
    """The same spec without the values of inline Secrets: refused, and recorded without them."""
    if not any(_is_secret(one) for one in spec.manifests):
        return spec
    return msgspec.structs.replace(spec, manifests=tuple(map(_hidden, spec.manifests)))


def _is_secret(manifest: Mapping[str, Any]) -> bool:
    return str(manifest.get("kind")).casefold() == "secret"


def _hidden(manifest: dict[str, Any]) -> dict[str, Any]:
    if not _is_secret(manifest):
        return manifest
    kept = {key: value for key, value in manifest.items() if key not in _DATA}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):  # kubectl's last-applied annotation repeats the data
        kept["metadata"] = {key: value for key, value in metadata.items() if key != "annotations"}
    return kept | {key: _HIDDEN for key in _DATA if key in manifest}
