"""Secret data never gets into a record: the ledger cannot forget. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from scheduler.model.kinds.workload import WorkloadSpec

_SECRET_FIELDS = ("data", "stringData")
_REDACTED = "(not recorded)"


def without_secrets(spec: WorkloadSpec) -> WorkloadSpec:
    """The same spec without the values of inline Secrets: refused, and recorded without them."""
    if not any(_is_secret(one) for one in spec.manifests):
        return spec
    return msgspec.structs.replace(spec, manifests=tuple(map(_redact, spec.manifests)))


def _is_secret(manifest: Mapping[str, Any]) -> bool:
    return str(manifest.get("kind")).casefold() == "secret"


def _redact(manifest: dict[str, Any]) -> dict[str, Any]:
    if not _is_secret(manifest):
        return manifest
    kept = {key: value for key, value in manifest.items() if key not in _SECRET_FIELDS}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):  # kubectl's last-applied annotation repeats the data
        kept["metadata"] = {key: value for key, value in metadata.items() if key != "annotations"}
    return kept | {key: _REDACTED for key in _SECRET_FIELDS if key in manifest}
