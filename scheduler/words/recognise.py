"""Finds which message a recorded English text is, and its values.

Records, statuses and events hold English only, and those of older versions hold no slug. The
templates of the English catalogue are read backwards here: literal text must match, slots match by
their kind. A text may be one message and what follows it (`; …`, ` (…`), or several. An answer
counts only if it gives the very same text in English again, so a text is never said wrongly in
another language: what is not recognised stays English.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial

from scheduler.model.words.phrases import ENGLISH, Slot, Value, fill, split_template
from scheduler.model.words.sentence import NEXT, Sentence, joined

_MAX_CHARACTERS = 2048
_MAX_SEGMENTS = 24
"""Places where a message may end, of a text; more are not tried."""
_REMEMBERED = 4096
_TAIL = re.compile(r"[;,:.] | \(| and ")
"""What a message begins with that only follows another."""
_NUMBER = r"[-+]?(?:\d[\d.e+-]*|inf|nan)"
_INSTANT = r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)"
_NEXT = re.compile(re.escape(ENGLISH.then))
_NAME = "(?:(?!: ).)+?"
"""What is before a colon is another message's."""
_PAIRS = r"\S+ \(.+?\)(?:, \S+ \(.+?\))*"
_PATTERNS = {
    "n": r"-?\d+",
    "more": r"(?: and \d+ more)?",
    "parts": "",  # what follows is recognised on its own
    "at": _INSTANT,
    "exact": _INSTANT,
    "iso": _INSTANT,
    "sites": _PAIRS,
    "noted": _PAIRS,
    "list": "[^()]+?",
    "said": ".+?",
    "raw": ".+?",
    "sayings": ".+?",
    "then": ".+?",
}
_PAIR = re.compile(r"(\S+) \((.+?)\)(?:, |$)")
_TALLY = re.compile(r"(\d+) (\S+)")


class Recogniser:
    """Templates, read backwards.

    Args:
        messages: the templates of English, by slug.
    """

    def __init__(self, messages: Mapping[str, str]) -> None:
        order = sorted(messages, key=lambda slug: -_literal_length(messages[slug]))
        self._messages = dict(messages)
        patterns = [_Pattern(slug, messages[slug]) for slug in order if _is_said(messages[slug])]
        self._tails = [each for each in patterns if _TAIL.match(each.template)]
        self._heads = [each for each in patterns if not _TAIL.match(each.template)]
        self._starts = _starts_of([each.template for each in self._tails])
        self.recognise = lru_cache(_REMEMBERED)(self._recognise)

    def _recognise(self, text: str) -> tuple[Sentence, ...]:
        """The messages that a text consists of, one after the other; empty: it is not known."""
        if len(text) > _MAX_CHARACTERS:
            return ()
        ends = [found.start() for found in self._starts.finditer(text) if found.start()]
        return self._parse(text, [*ends[:_MAX_SEGMENTS], len(text)])

    def recognise_beginning(self, text: str) -> tuple[tuple[Sentence, ...], str]:
        """The messages that a text begins with, and the rest of it, which is not known.

        A status holds so many characters, and another version adds sentences of its own.
        """
        found = self.recognise(text)
        if found or len(text) > _MAX_CHARACTERS:
            return found, "" if found else text
        ends = [each.start() for each in _NEXT.finditer(text)]
        for end in reversed(ends[:_MAX_SEGMENTS]):
            if found := self.recognise(text[:end]):
                return found, text[end:]
        return (), text

    def _parse(self, text: str, ends: list[int]) -> tuple[Sentence, ...]:
        """The messages of a text: each as short as it can be, so that more follow."""
        parsed: dict[int, tuple[Sentence, ...]] = {}

        def parse(begin: int) -> tuple[Sentence, ...]:
            if begin not in parsed:
                parsed[begin] = next(filter(None, map(partial(parse_until, begin), ends)), ())
            return parsed[begin]

        def parse_until(begin: int, end: int) -> tuple[Sentence, ...]:
            if end <= begin:
                return ()
            head = self._match_at(text[begin:end], is_first=not begin)
            rest = parse(end) if head is not None and end < len(text) else ()
            return () if head is None or (end < len(text) and not rest) else (head, *rest)

        return parse(0)

    def _match_at(self, text: str, *, is_first: bool) -> Sentence | None:
        if is_first:
            return self._match(text, self._heads)
        follows = self._match(text, self._tails)
        if follows is None and text.startswith(ENGLISH.then):
            another = self._match(text.removeprefix(ENGLISH.then), self._heads)
            follows = None if another is None else NEXT(sentence=another)
        return follows

    def _match(self, text: str, patterns: list["_Pattern"]) -> Sentence | None:
        for pattern in patterns:
            values = pattern.values_of(text)
            if values is not None and fill(pattern.template, values) == text:
                nested = {name: self._nested(str(values[name])) for name in pattern.said}
                return Sentence(text, pattern.slug, values | nested)
        return None

    def _nested(self, text: str) -> str:
        found = self.recognise(text)
        return found[0] if len(found) == 1 else joined(*found) if found else text


class _Pattern:
    """One template as a regular expression."""

    def __init__(self, slug: str, template: str) -> None:
        self.slug, self.template = slug, template
        parts = split_template(template)
        self._slots = [part for part in parts if isinstance(part, Slot)]
        self.said = [slot.name for slot in self._slots if slot.kind == "said"]
        self._literal = max((part for part in parts if isinstance(part, str)), key=len)
        self._regex: re.Pattern[str] | None = None

    def values_of(self, text: str) -> dict[str, Value] | None:
        """The values with which the template gives the text; None: it never does."""
        if self._literal not in text:
            return None
        if self._regex is None:
            self._regex = _regex_of(self.template)
        found = self._regex.fullmatch(text)
        if found is None:
            return None
        return {slot.name: _read(found[slot.name], slot) for slot in self._slots}


def _is_said(template: str) -> bool:
    """Whether a template has words of its own, by which a text can be known."""
    literals = (part for part in split_template(template) if isinstance(part, str))
    return any(letter.isalpha() for part in literals for letter in part)


def _literal_length(template: str) -> int:
    return sum(len(part.strip()) for part in split_template(template) if isinstance(part, str))


def _starts_of(templates: list[str]) -> re.Pattern[str]:
    """Where one of the templates may begin inside a text."""
    heads = {re.escape(ENGLISH.then), *map(_start_of, templates)}
    return re.compile("|".join(sorted(heads, key=len, reverse=True)))


def _start_of(template: str) -> str:
    head, *more = split_template(template)
    is_number = bool(more) and isinstance(more[0], Slot) and more[0].kind == "n"
    return re.escape(str(head)) + (r"(?=\d)" if is_number else "")


def _regex_of(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    pattern = ""
    for part in split_template(template):
        if isinstance(part, str):
            pattern += re.escape(part)
        elif part.name in seen:
            pattern += f"(?P={part.name})"
        else:
            seen.add(part.name)
            pattern += f"(?P<{part.name}>{_pattern_of(part)})"
    return re.compile(pattern, re.DOTALL)


def _pattern_of(slot: Slot) -> str:
    if _is_number(slot.kind):
        return _NUMBER
    pattern = _PATTERNS.get(slot.kind, _NAME)
    may_be_empty = slot.if_empty and pattern == _INSTANT
    return f"{pattern}|{re.escape(slot.if_empty)}" if may_be_empty else pattern


def _is_number(kind: str) -> bool:
    return (kind.endswith(("f", "g")) and kind.rstrip("fg").lstrip(".").isdigit()) or kind == "g"


def _read(text: str, slot: Slot) -> Value:
    """The value of a slot, from its English text."""
    if slot.if_empty and text == slot.if_empty:
        return ""
    reader = _READERS.get(slot.kind) or (_number if _is_number(slot.kind) else str)
    return reader(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _count_of_more(text: str) -> int:
    return int(text.split()[1]) if text else 0


def _pairs(text: str) -> Value:
    return tuple(
        (one[1], int(one[2]) if one[2].isdecimal() else one[2]) for one in _PAIR.finditer(text)
    )


def _tallies(text: str) -> Value:
    found = [_TALLY.fullmatch(one) for one in text.split(", ")]
    return tuple((one[2], int(one[1])) for one in found if one)


def _instant(text: str) -> Value:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _items(between: str) -> Callable[[str], Value]:
    return lambda text: tuple(None if one == "unknown" else one for one in text.split(between))


_READERS: dict[str, Callable[[str], Value]] = {
    "n": int,
    "more": _count_of_more,
    "parts": lambda _: (),
    "at": _instant,
    "exact": _instant,
    "iso": _instant,
    "sites": _pairs,
    "noted": _pairs,
    "counts": _tallies,
    "sayings": lambda text: tuple(text.split(", ")),
    "list": _items(", "),
    "or": _items(" or "),
    "and": _items(" and "),
    "then": _items("; "),
}
