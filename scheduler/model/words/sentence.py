"""`Message` and `Sentence`: what is said, as English text with a slug and named values beside it.

A `Sentence` is a text, so records, statuses and tests have the same bytes as without it. What
becomes JSON of a record is made plain by `str()`. A catalogue (`scheduler/words`) finds by the slug
what another language says, and writes the values itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Self

import msgspec

from scheduler.model.formatters import format_rfc3339_exact
from scheduler.model.words.phrases import Value, fill


class Sentence(str):
    """A text in English that keeps what it says.

    Attributes:
        slug: of the message; the same in every language.
        values: what its slots hold, by name.
    """

    __slots__ = ("slug", "values")

    slug: str
    values: Mapping[str, Value]

    def __new__(cls, text: str, slug: str = "", values: Mapping[str, Value] | None = None) -> Self:
        """A text with its slug and values; without a slug no catalogue has it."""
        self = str.__new__(cls, text)
        self.slug = slug
        self.values = {} if values is None else values
        return self


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence with slots.

    Messages are module constants beside the code that says them; the catalogue of English is
    written from them (`make catalogues`), and a test compares.

    Attributes:
        slug: stable; the rule or topic, a dot, and the case: `data-class.too-high`.
        template: in English; `phrases.py` lists the kinds of slots.
    """

    slug: str
    template: str

    def __call__(self, **values: Value) -> Sentence:
        """The sentence with these values."""
        return Sentence(fill(self.template, values), self.slug, values)


NEXT = Message("next", "; {sentence:said}")
"""One more sentence, after another."""
JOINED = Message("joined", "{parts:parts}")


def joined(*parts: str) -> Sentence:
    """Sentences one after the other, as one; empty ones are left out."""
    return JOINED(parts=tuple(part for part in parts if part))


def json_of(sentence: str) -> dict[str, Any]:
    """`message` and `values` of a sentence, as JSON data; both empty for a plain text."""
    if not isinstance(sentence, Sentence):
        return {"message": "", "values": {}}
    return {"message": sentence.slug, "values": _json_values(sentence.values)}


def json_bytes(value: object) -> bytes:
    """JSON of plain data in which texts may be sentences, which msgspec does not know as texts."""
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: object) -> str:
    if isinstance(value, Sentence):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} is no JSON data")


def _json_values(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in values.items()}


def _json_value(value: Value) -> Any:  # noqa: ANN401 - JSON data has no better type
    if isinstance(value, Sentence):
        return {"sentence": str(value), **json_of(value)}
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, datetime):
        return format_rfc3339_exact(value)
    if isinstance(value, Sequence):
        return [_json_value(item) for item in value]
    return value if isfinite(value) else None


def sorted_with_unknown(names: Iterable[str]) -> tuple[str | None, ...]:
    """Distinct names in the order in which English lists them; an empty one is unknown: None."""
    return tuple([name or None for name in sorted(set(names), key=lambda one: one or "unknown")])
