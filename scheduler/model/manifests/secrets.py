"""Recognises the data of Secrets in manifests of any form. Pure.

The data of a Secret must reach neither the ledger, which never forgets, nor the broker: a manifest
with it is refused, and `recorded.py` leaves it out of what is recorded of the refusal.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from scheduler.model.manifests.cleaning import LAST_APPLIED_ANNOTATIONS
from scheduler.model.manifests.containers import mapping_or_empty

_DATA_FIELDS = frozenset({"data", "stringdata"})


def carries_secret_data(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest, or an object inside it, is a Secret with data, in whatever spelling."""
    return _has_secret_data(manifest)


def _has_secret_data(value: object) -> bool:
    if isinstance(value, Mapping):
        if is_secret(value) and (_has_data(value) or _has_data_in_annotations(value)):
            return True
        return any(_has_secret_data(each) for each in value.values())
    return isinstance(value, list | tuple) and any(_has_secret_data(each) for each in value)


def _fold(text: object) -> str:
    """Letters only, so that no case, space or invisible character hides a word."""
    plain = unicodedata.normalize("NFKC", str(text)).casefold()
    return "".join(each for each in plain if each.isalpha())


def is_secret(value: Mapping[str, Any]) -> bool:
    """Whether a mapping calls itself a Secret, in any spelling that some reader might take."""
    kinds = {_fold(each) for name, each in value.items() if _fold(name) == "kind"}
    return any(
        each == "secret" or (each.startswith("secret") and _has_data(value)) for each in kinds
    )


def _has_data(value: Mapping[str, Any]) -> bool:
    return any(_fold(name) in _DATA_FIELDS and bool(each) for name, each in value.items())


def _has_data_in_annotations(value: Mapping[str, Any]) -> bool:
    """Whether an annotation repeats the object with its data, as those of some tools do.

    The annotations of the known ones are stripped, and so not looked at.
    """
    notes = mapping_or_empty(mapping_or_empty(value.get("metadata")).get("annotations"))
    return any(
        field in str(each).casefold()
        for name, each in notes.items()
        if name not in LAST_APPLIED_ANNOTATIONS
        for field in ('"data"', '"stringdata"')
    )
