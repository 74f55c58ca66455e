"""Recognises the data of Secrets in manifests of any form. Pure.

The data of a Secret must reach neither the ledger, which never forgets, nor the broker: a manifest
with it is refused, and `recorded.py` leaves it out of what is recorded of the refusal.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from scheduler.model.manifests.cleaning import LAST_APPLIED_ANNOTATIONS
from scheduler.model.manifests.containers import SCALARS, mapping_or_empty
from scheduler.model.manifests.texts import may_hold_letters, text_of

_MAX_REMEMBERED_LENGTH = 64
_DATA_FIELDS = frozenset({"data", "stringdata"})


def carries_secret_data(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest, or an object inside it, is a Secret with data, in whatever spelling."""
    return may_name_secret(manifest) and _has_secret_data(manifest)


def may_name_secret(value: object) -> bool:
    """Whether the word may be somewhere in a value, in whatever spelling; most have it nowhere."""
    text = text_of(value)
    return text is None or may_hold_letters(text, "secret")


def _has_secret_data(value: object) -> bool:
    if isinstance(value, Mapping):
        if is_secret(value) and (_has_data(value) or _has_data_in_annotations(value)):
            return True
        if any(is_text_of_secret(each) for each in _annotations_of(value)):
            return True
        return _any_has_secret_data(value.values())
    return isinstance(value, list | tuple) and _any_has_secret_data(value)


def _any_has_secret_data(values: Iterable[object]) -> bool:
    return any(not isinstance(each, SCALARS) and _has_secret_data(each) for each in values)


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_TEXT_OF_SECRET = re.compile(
    r"""\bkind["']?\s*:\s*["']?\s*secrets?(?:list)?\s*["']?\s*(?:[,}\]\n#]|$)"""
)
_TEXT_OF_DATA = re.compile(r"""\b(?:string)?data["']?\s*:""")


def is_text_of_secret(text: str) -> bool:
    """Whether a text is JSON or YAML of a Secret with data, as tools keep copies of objects."""
    if "ecret" not in text and "ECRET" not in text and "\\u" not in text:
        return False
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text.replace('\\"', '"')).casefold()
    return bool(_TEXT_OF_SECRET.search(plain) and _TEXT_OF_DATA.search(plain))


def _annotations_of(value: Mapping[str, Any]) -> Iterator[str]:
    """The texts of annotations, without those that are stripped."""
    for name, each in mapping_or_empty(value.get("annotations")).items():
        if isinstance(each, str) and name not in LAST_APPLIED_ANNOTATIONS:
            yield each


def _fold(text: object) -> str:
    """Letters only, so that no case, space or invisible character hides a word."""
    if type(text) is str and len(text) <= _MAX_REMEMBERED_LENGTH:
        return _fold_short(text)
    return _fold_text(text)


@lru_cache(4096)
def _fold_short(text: str) -> str:
    """As `_fold`, remembered: names of fields are the same in all manifests."""
    return _fold_text(text)


def _fold_text(text: object) -> str:
    plain = unicodedata.normalize("NFKC", str(text)).casefold()
    return "".join(each for each in plain if each.isalpha())


def is_secret(value: Mapping[str, Any]) -> bool:
    """Whether a mapping calls itself a Secret, in any spelling that some reader might take."""
    kinds = [_fold(each) for name, each in value.items() if _fold(name) == "kind"]
    return any(
        each == "secret" or (each.startswith("secret") and _has_data(value)) for each in kinds
    )


def _has_data(value: Mapping[str, Any]) -> bool:
    return any(_fold(name) in _DATA_FIELDS and bool(each) for name, each in value.items())


def _has_data_in_annotations(value: Mapping[str, Any]) -> bool:
    """Whether an annotation repeats the object with its data, as those of some tools do.

    The annotations of the known ones are stripped, and so not looked at.
    """
    notes = _annotations_of(mapping_or_empty(value.get("metadata")))
    return any(_TEXT_OF_DATA.search(each.casefold()) for each in notes)
