"""What the ledger records of manifests: as they are applied, without what it must not hold. Pure.

The ledger never forgets. So the data of Secrets, and copies of it in annotations, are left out; a
manifest that cannot be read as one object is recorded by its kind and name only, because what it
holds is not known. Such a workload is refused, and its refusal is recorded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.model.manifests.checks import is_readable_object
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.secrets import is_secret, is_text_of_secret, may_name_secret
from scheduler.model.remembered import remembered_of_manifests

NOT_RECORDED = "(not recorded)"
_MAX_RECORDED_TEXT = 253


def recorded_manifests(manifests: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The manifests as they are recorded; remembered as those of `clean_manifests`."""
    return _recorded_of(manifests)


def _recorded(manifests: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    cleaned, _ = clean_manifests(manifests)
    return tuple(
        without_secret_data(each) if is_readable_object(each) else identity_only(each)
        for each in cleaned
    )


_recorded_of = remembered_of_manifests(_recorded)


def without_secret_data(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value without the data of Secrets: of these only kind and name are kept.

    What holds none is returned as it is, and not copied.
    """
    return _without_secret_data(value) if may_name_secret(value) else value


def _without_secret_data(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        if is_secret(value):
            return identity_only(value)
        changed = {
            key: kept
            for key, each in value.items()
            if (kept := _without_secret_data(each)) is not each
        }
        return {**value, **changed} if changed else value
    if isinstance(value, list | tuple):
        items = [_without_secret_data(each) for each in value]
        is_same = all(one is each for one, each in zip(items, value, strict=True))
        return value if is_same else items
    return NOT_RECORDED if isinstance(value, str) and is_text_of_secret(value) else value


def identity_only(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of an object whose content must not be: its kind and its name."""
    kept: dict[str, Any] = {
        field: _short(manifest[field])
        for field in ("apiVersion", "kind", "type", "immutable")
        if field in manifest
    }
    metadata = mapping_or_empty(manifest.get("metadata"))
    kept["metadata"] = {
        field: _short(metadata[field]) for field in ("name", "namespace") if field in metadata
    }
    if set(manifest) - set(kept):
        kept["data"] = NOT_RECORDED
    return kept


def _short(value: object) -> object:
    if isinstance(value, str):
        return value[:_MAX_RECORDED_TEXT]
    return value if value is None or isinstance(value, bool) else NOT_RECORDED
