"""How a language writes lists, instants and unknown values inside a sentence.

A template names its values in braces, with the kind after a colon and, after a bar, what is written
for an empty value: `{there:list|no nodes}`. The kinds:

| kind | value | in English |
|---|---|---|
| none, `n` | a name, or a whole number | as it is |
| `raw` | text of others | as it is |
| `g`, `.4f`, … | a number | by Python's format specification |
| `list`, `or`, `and`, `then` | texts or sentences | joined by `, `, ` or `, ` and `, `; ` |
| `more` | how many are left out | ` and 3 more`; nothing for 0 |
| `sites` | pairs of a site and its replicas | `m1 (2), m2 (1)` |
| `noted` | pairs of a name and a text about it | `m1 (taint), m2 (being drained)` |
| `counts` | pairs of a reason and how many sites | `3 too-far, 9 data-class` |
| `plus` | labels that count together | `a + b` |
| `sayings` | texts or sentences | joined by `, ` |
| `at`, `exact`, `iso` | an instant | RFC 3339: whole seconds, all decimals, with the offset |
| `amount(NAME)` | an amount of the resource that the value NAME names | as a quantity |
| `said`, `parts` | a sentence or text; sentences one after the other | as they are |
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from scheduler.model.formatters import format_rfc3339, format_rfc3339_exact
from scheduler.model.quantities import format_amount

Value = str | int | float | datetime | Sequence["Value"] | None
"""What a sentence may have as a value; a `Sentence` is a text. None: unknown."""
Say = Callable[[str], str]
"""Writes a nested sentence or text in the language of the one around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What a language has between, and in place of, values.

    Attributes:
        list: what is between the items of a list.
        or_: what is between alternatives.
        and_: what is between items that all count.
        then: what is between sentences.
        colon: what is between a name and a sentence about it.
        more: how many items are left out; `{count}` is their number.
        pair: a site with its replicas, or a name with a text; `{name}` and `{count}`.
        tally: how many sites have a reason; `{name}` and `{count}`.
        unknown: in place of an unknown value.
        instant: the format of an instant (as of `strftime`); empty: RFC 3339.
        no_space_after: marks after a value that make the space before the next word.
    """

    list: str = ", "
    or_: str = " or "
    and_: str = " and "
    then: str = "; "
    colon: str = ": "
    more: str = " and {count} more"
    pair: str = "{name} ({count})"
    tally: str = "{count} {name}"
    unknown: str = "unknown"
    instant: str = ""
    no_space_after: tuple[str, ...] = ()


ENGLISH = Phrases()


class Slot(NamedTuple):
    """A place of a template that a value is written to."""

    name: str
    kind: str
    if_empty: str


_SLOT = re.compile(r"\{(\w+)(?::([^|}]*))?(?:\|([^}]*))?\}")


@lru_cache(maxsize=2048)
def split_template(template: str) -> tuple[str | Slot, ...]:
    """The texts and slots of a template, in order."""
    parts: list[str | Slot] = []
    end = 0
    for found in _SLOT.finditer(template):
        parts.append(template[end : found.start()])
        parts.append(Slot(found[1], found[2] or "", found[3] or ""))
        end = found.end()
    return tuple([part for part in (*parts, template[end:]) if part])


def fill(
    template: str, values: Mapping[str, Value], phrases: Phrases = ENGLISH, say: Say = str
) -> str:
    """A template with its values, as a language writes them.

    Args:
        template: the sentence of a catalogue, with slots.
        values: by name; one that is missing is unknown.
        phrases: of the language.
        say: how the language writes a nested sentence.
    """
    if phrases is ENGLISH:
        plain, names = _plain_format(template)
        if plain and values.keys() == names and _PLAIN.issuperset(map(type, values.values())):
            return plain.format_map(values)
    written: list[str] = []
    for part in split_template(template):
        if not isinstance(part, str):
            written.append(_write(part, values, phrases, say))
        elif written and written[-1].endswith(phrases.no_space_after):
            written.append(part.removeprefix(" "))
        else:
            written.append(part)
    return "".join(written)


_PLAIN = frozenset({str, int})


@lru_cache(maxsize=2048)
def _plain_format(template: str) -> tuple[str, frozenset[str]]:
    """The template for `str.format`, and its names, where these are names and whole numbers.

    Else the text is empty. An explanation of 1,000 sites has 30,000 sentences, most of them such.
    """
    slots = [part for part in split_template(template) if isinstance(part, Slot)]
    is_plain = all(slot.kind in {"", "n"} and not slot.if_empty for slot in slots)
    return template.replace(":n}", "}") if is_plain else "", frozenset(each.name for each in slots)


def _write(slot: Slot, values: Mapping[str, Value], phrases: Phrases, say: Say) -> str:
    value = values.get(slot.name)
    if not isinstance(value, int | float | None) and not value:
        return slot.if_empty
    if value is None:
        return slot.if_empty or phrases.unknown
    if isinstance(value, str):
        return say(value) if slot.kind == "said" else str(value)
    if isinstance(value, datetime):
        return _write_instant(value, slot.kind, phrases)
    if isinstance(value, int | float):
        return _write_number(value, slot.kind, values, phrases)
    return _write_items(value, slot, phrases, say)


def _write_instant(value: datetime, kind: str, phrases: Phrases) -> str:
    if phrases.instant:
        return value.astimezone(UTC).strftime(phrases.instant)
    if kind == "iso":
        return value.isoformat()
    return format_rfc3339_exact(value) if kind == "exact" else format_rfc3339(value)


def _write_number(value: float, kind: str, values: Mapping[str, Value], phrases: Phrases) -> str:
    if kind == "more":
        return phrases.more.format(count=value) if value > 0 else ""
    if kind.startswith("amount("):
        return format_amount(str(values.get(kind[len("amount(") : -1])), int(value))
    return format(value, "" if kind in {"", "n"} else kind)


def _write_items(items: Sequence[Value], slot: Slot, phrases: Phrases, say: Say) -> str:
    if slot.kind in {"sites", "noted", "counts"}:
        form = phrases.tally if slot.kind == "counts" else phrases.pair
        return phrases.list.join(_write_pair(item, form, phrases, say) for item in items)
    between = {
        "or": phrases.or_,
        "and": phrases.and_,
        "then": phrases.then,
        "parts": "",
        "plus": " + ",
    }
    return between.get(slot.kind, phrases.list).join(
        _write_item(item, slot, phrases, say) for item in items
    )


def _write_pair(item: Value, form: str, phrases: Phrases, say: Say) -> str:
    if not isinstance(item, tuple | list):
        return str(item)
    name, second = item
    shown = say(second) if isinstance(second, str) else second
    return form.format(name=name, count=phrases.unknown if shown is None else shown)


def _write_item(item: Value, slot: Slot, phrases: Phrases, say: Say) -> str:
    if item is None:
        return phrases.unknown
    # A plain text in a list is a name; a sentence of any kind knows its slug.
    is_said = slot.kind in {"parts", "plus", "then", "sayings"} or type(item) is not str
    if isinstance(item, str) and item and is_said:
        return say(item)
    return slot.if_empty if item == "" else str(item)
