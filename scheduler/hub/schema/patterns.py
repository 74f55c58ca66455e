"""Matches the `pattern`s of schemas, in a time that the pattern cannot make long.

Kubernetes uses Go's regexp, whose time grows with pattern times value. Python's `re` is quicker for
plain patterns and needs ages for others, such as `^(a+)+$`. Hence a plain pattern is tried by `re`,
every other one by RE2, the library that Go's regexp is modelled on, which the CEL evaluator brings.
RE2 compiles the pattern for each value again; what would take it long is refused by name.
"""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

_MAX_STEPS = 1_000_000
"""The most steps of `re` for one value, about 20 ms."""
_PLAIN_LENGTH = 256
"""A pattern is plain if a value of this length takes no more steps."""
_MAX_SIZE = 500
"""The most atoms of a pattern, with all repetitions written out."""
_MAX_TEXT_LENGTH = 2_000
_QUICK_SIZE = 20
"""RE2 compiles a pattern of so few atoms in some 20 microseconds."""
_MAX_WORK = 100_000
"""The most atoms times characters of one value."""
_UNICODE_CLASS_SIZE, _OPEN_CLASS_SIZE = 150, 5
_TOKEN = re.compile(
    r"(?P<unicode>\\[pP](?:\{[^}]*\}|.))|(?P<escape>\\.)"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?[^:)]*[:>])?)|(?P<close>\))|(?P<or>\|)"
    r"|(?P<repeat>[*+?]|\{\d+(?:,\d*)?\})[?+]?|(?P<atom>.)",
    re.DOTALL,
)


class PatternError(ValueError):
    """RE2 does not know the pattern, or it is too large."""


@dataclass(slots=True)
class _Group:
    """What a group holds, as far as it is read."""

    size: int = 0
    varies: bool = False
    """Whether it has a repetition or a choice."""
    last_size: int = 0
    last_varies: bool = False


class _Shape:
    """The size of a pattern and how often `re` may have to try again."""

    def __init__(self, pattern: str) -> None:
        self.size = 0
        self.is_nested = False
        """Whether something repeats that itself varies, so that the tries may multiply."""
        self.widths: list[int] = []
        """How many numbers of repetitions each part may have; 0: any."""
        self.is_anchored = pattern.startswith("^") and "|" not in pattern.split("(", maxsplit=1)[0]
        if len(pattern) > _MAX_TEXT_LENGTH:
            self.size, self.is_nested = len(pattern), True
            return
        groups = [_Group()]
        for token in _TOKEN.finditer(pattern):
            kind = token.lastgroup or "atom"
            self._add(groups, kind, token[kind])
        self.size = sum(group.size for group in groups)

    def _add(self, groups: list[_Group], kind: str, text: str) -> None:
        group = groups[-1]
        if kind == "open":
            groups.append(_Group())
        elif kind == "close":
            if len(groups) > 1:
                inner = groups.pop()
                self._add_atom(groups[-1], inner.size + 1, varies=inner.varies)
        elif kind == "or":
            group.varies = True
        elif kind == "repeat":
            self._repeat(group, text)
        elif kind == "unicode":
            self._add_atom(group, _UNICODE_CLASS_SIZE, varies=False)
        else:
            is_open = not text.isascii() or text == "." or text.startswith("[^")
            count = len(re.findall(r"\\[pPDSW]|[^\x00-\x7f]", text)) if kind == "set" else 0
            size = (_OPEN_CLASS_SIZE if is_open else 1) + count * _UNICODE_CLASS_SIZE
            self._add_atom(group, size, varies=False)

    def _add_atom(self, group: _Group, size: int, *, varies: bool) -> None:
        group.size += size
        group.varies |= varies
        group.last_size, group.last_varies = size, varies

    def _repeat(self, group: _Group, text: str) -> None:
        low, high = _limits_of(text)
        times = max(low, 1) if high is None else high
        if text != "?" and group.last_varies:
            self.is_nested = True
        if low != high:
            self.widths.append(0 if high is None else high - low + 1)
            group.varies = True
        group.size += group.last_size * (max(times, 1) - 1)
        group.last_size *= max(times, 1)

    def steps(self, length: int) -> int:
        """The most steps of `re` for a value of this length."""
        found = 1 if self.is_anchored else length + 1
        for width in self.widths:
            found *= min(width or length + 1, length + 1)
            if found > _MAX_STEPS:
                break
        return found

    def longest_plain(self) -> int:
        """The longest value on which `re` takes no more than `_MAX_STEPS`, up to 8 MiB."""
        low, high = 0, 2**23
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.steps(middle) <= _MAX_STEPS else (low, middle - 1)
        return low


def _limits_of(text: str) -> tuple[int, int | None]:
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if text in simple:
        return simple[text]
    low, comma, high = text.strip("{}").partition(",")
    return int(low), (int(high) if high else None if comma else int(low))


class Pattern:
    """A compiled pattern.

    Args:
        text: the pattern, in the syntax of RE2.
        max_length: the most characters of its values, as far as it is known.
    """

    def __init__(self, text: str, max_length: int = _PLAIN_LENGTH) -> None:
        self._shape = _Shape(text)
        self._plain = None if self._shape.is_nested else _compile_plain(text)
        if self._shape.steps(min(max_length, _PLAIN_LENGTH)) > _MAX_STEPS:
            self._plain = None
        self._plain_length = self._shape.longest_plain()
        self._text = text
        self._rule: Any = None

    @property
    def is_slow(self) -> bool:
        """Whether many short values would hold the event loop."""
        return self._plain is None and self._shape.size > _QUICK_SIZE

    def problem(self) -> str:
        """Why the pattern cannot be used; "" if it can."""
        if self._shape.size > _MAX_SIZE:
            return (
                f"must have at most {_MAX_SIZE} characters and classes with all repetitions "
                f"written out, has {self._shape.size}"
            )
        try:
            self._search_linear("")
        except PatternError as error:
            return str(error)
        return ""

    def matches(self, value: str) -> bool:
        """Whether a part of the value matches.

        Raises:
            PatternError: RE2 does not know the pattern, or it would take long.
        """
        # Python's $ also matches before a line feed at the end, and its \s a vertical tab.
        if (
            self._plain is not None
            and "\n" not in value
            and "\v" not in value
            and len(value) <= self._plain_length
        ):
            return self._plain.search(value) is not None
        if self._shape.size > _MAX_SIZE or self._shape.size * len(value) > _MAX_WORK:
            raise PatternError(
                f"a value of {len(value)} characters takes too long with this pattern"
            )
        return self._search_linear(value)

    def _search_linear(self, value: str) -> bool:
        if self._rule is None:
            literal = json.dumps(self._text, ensure_ascii=False)
            try:
                self._rule = _environment().compile(f"text.matches({literal})")
            except (RuntimeError, ValueError) as error:
                raise PatternError(f"is no pattern: {error}") from None
        try:
            found = self._rule.eval(data={"text": value})
        except (RuntimeError, ValueError) as error:
            raise PatternError(f"is no pattern: {error}") from None
        if found.type().name() != "BOOL":
            raise PatternError(str(found.value()).removeprefix("INVALID_ARGUMENT: "))
        return bool(found.value())


def _compile_plain(text: str) -> re.Pattern[str] | None:
    if text.count("(?") != text.count("(?:") or "{," in text or "[:" in text:
        return None  # what RE2 and Python write or read differently
    try:
        return re.compile(text, re.ASCII)
    except (re.error, RecursionError, OverflowError):
        return None


@functools.cache
def _environment() -> Any:  # noqa: ANN401 - the evaluator has no type hints
    return cel.NewEnv(variables={"text": cel.Type.STRING})
