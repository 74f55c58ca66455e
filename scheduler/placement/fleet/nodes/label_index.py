"""Labels of many things (kinds of nodes, or sites) by key, to ask selectors of all at once.

Every value of a key has a number, and a column holds for each thing the number of its value. A
condition is then answered once for each different value, and the answers are gathered by number. A
key that nothing has needs no column. Columns are built when a demand names their key; the least
recently used are dropped, so that neither what is asked nor what is reported makes the index grow
without bound.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]

_ABSENT: Final = 0
_UNKNOWN: Final = 1
FIRST_VALUE: Final = 2
"""The numbers of "it surely has no such label", of "unknown", and of the first value."""
_MAX_BYTES = 2**24
"""What all columns may take together."""
_BYTES_PER_VALUE = 128
"""About what a different value takes in a column, besides the numbers."""
_MAX_LOG_LENGTH = 65_536
_NO_LABELS: Mapping[str, str] = {}


class LabelCondition(NamedTuple):
    """One condition on a label; with the operators of a node affinity (core/v1)."""

    key: str
    operator: str
    values: tuple[str, ...]


class _Item(NamedTuple):
    """The labels of one thing, and which more it may have."""

    labels: Mapping[str, str]
    unknown: frozenset[str]
    has_more: bool

    def code_of(self, key: str, numbers: dict[str, int]) -> int:
        """The number of its value of a key; a value that has none yet gets one."""
        value = self.labels.get(key)
        if value is not None:
            return numbers.setdefault(value, len(numbers) + FIRST_VALUE)
        return _UNKNOWN if self.has_more or key in self.unknown else _ABSENT


_NOTHING = _Item(_NO_LABELS, frozenset(), has_more=False)


class _Column:
    """The values of one key.

    Attributes:
        codes: the number of each thing's value; [things].
        numbers: the numbers of values.
        log_position: how much of the log of changes it includes.
    """

    __slots__ = ("are_integers", "codes", "integers", "log_position", "numbers")

    def __init__(self, codes: Codes, log_position: int) -> None:
        self.codes = codes
        self.numbers: dict[str, int] = {}
        self.integers: NDArray[np.int64] = np.zeros(0, np.int64)
        self.are_integers: Bools = np.zeros(0, np.bool_)
        self.log_position = log_position

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self.codes.nbytes + len(self.numbers) * _BYTES_PER_VALUE

    def answers(self, condition: LabelCondition) -> Bools:
        """Which things surely meet a condition; [things]."""
        operator, values = condition.operator, condition.values
        holds = np.zeros(len(self.numbers) + FIRST_VALUE, np.bool_)
        if operator == "In":
            holds[self._numbers_of(values)] = True
        elif operator == "NotIn":
            holds[:] = True
            holds[self._numbers_of(values)] = False
            holds[_UNKNOWN] = False
        elif operator == "Exists":
            holds[FIRST_VALUE:] = True
        elif operator == "DoesNotExist":
            holds[_ABSENT] = True
        else:
            holds[FIRST_VALUE:] = self._compare(operator, values)
        return holds.take(self.codes)

    def _numbers_of(self, values: Iterable[str]) -> list[int]:
        return [self.numbers[value] for value in values if value in self.numbers]

    def _compare(self, operator: str, values: tuple[str, ...]) -> Bools:
        right = parse_integer(values[0]) if len(values) == 1 else None
        if right is None or operator not in {"Gt", "Lt"}:
            return np.zeros(len(self.numbers), np.bool_)
        done = len(self.integers)
        if done < len(self.numbers):  # values keep the order of their numbers
            parsed = [parse_integer(each) for each in islice(self.numbers, done, None)]
            integers = np.array([each or 0 for each in parsed], np.int64)
            are_integers = np.array([each is not None for each in parsed], np.bool_)
            self.integers = np.concatenate([self.integers, integers])
            self.are_integers = np.concatenate([self.are_integers, are_integers])
        holds = self.integers > right if operator == "Gt" else self.integers < right
        found: Bools = holds & self.are_integers
        return found


def parse_integer(text: str) -> int | None:
    """An integer as `Gt` and `Lt` compare it; None: it is none, or too large."""
    return int(text) if _INTEGER.fullmatch(text) else None


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class LabelIndex:
    """The labels of things that are numbered from 0, with gaps; a gap has no labels."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._with_key: dict[str, set[int]] = {}
        self._has_more: set[int] = set()
        self._columns: OrderedDict[str, _Column] = OrderedDict()
        self._changed: list[int] = []
        self._log_start = 0

    def write(
        self,
        number: int,
        labels: Mapping[str, str],
        *,
        unknown: Iterable[str] = (),
        has_more: bool = False,
    ) -> None:
        """Replaces the labels of a thing.

        Args:
            number: of the thing.
            labels: what is known of them; the index keeps the mapping itself.
            unknown: keys that it may have or not; those of `labels` are known all the same.
            has_more: whether that is so of every other key.
        """
        while len(self._items) <= number:
            self._items.append(_NOTHING)
        self._forget_keys(number)
        item = _Item(labels, frozenset(unknown), has_more)
        self._items[number] = item
        for key in item.unknown.union(labels):
            self._with_key.setdefault(key, set()).add(number)
        if has_more:
            self._has_more.add(number)
        self._log(number)

    def clear(self, number: int) -> None:
        """Forgets the labels of a thing, which has none from now on."""
        if number < len(self._items):
            self._forget_keys(number)
            self._items[number] = _NOTHING
            self._log(number)

    def _forget_keys(self, number: int) -> None:
        item = self._items[number]
        if item is _NOTHING:
            return
        self._has_more.discard(number)
        for key in item.unknown.union(item.labels):
            having = self._with_key[key]
            having.discard(number)
            if not having:
                del self._with_key[key]

    def _log(self, number: int) -> None:
        self._changed.append(number)
        if len(self._changed) > _MAX_LOG_LENGTH:
            self._columns.clear()
            self._log_start += len(self._changed)
            self._changed.clear()

    def answers(self, condition: LabelCondition, count: int) -> Bools:
        """Which of the first `count` things surely meet a condition; [count].

        Of an unknown label nothing holds.
        """
        column = self._column(condition.key, count)
        if column is not None:
            return column.answers(condition)[:count]
        holds = condition.operator in {"NotIn", "DoesNotExist"}
        found = np.full(count, holds, np.bool_)
        if holds and self._has_more:
            found[[number for number in self._has_more if number < count]] = False
        return found

    def numbers_of(self, key: str, count: int) -> Codes:
        """The numbers of the values of a key of the first `count` things; [count].

        Below `FIRST_VALUE` a thing has no such label, as far as is known. The caller must not
        write to the array.
        """
        column = self._column(key, count)
        return np.zeros(count, np.int32) if column is None else column.codes[:count]

    def having(self, key: str, value: str, count: int) -> Bools:
        """Which of the first `count` things have a label; [count]."""
        return self.answers(LabelCondition(key, "In", (value,)), count)

    def _column(self, key: str, count: int) -> _Column | None:
        """The column of a key, up to date; None: nothing has such a label."""
        column = self._columns.get(key)
        if column is None and key not in self._with_key:
            return None
        end = self._log_start + len(self._changed)
        is_wasteful = column is not None and len(column.numbers) > 2 * len(self._items) + 64
        if column is None or is_wasteful:
            column = self._new_column(key, count, end)
        else:
            self._columns.move_to_end(key)
            if len(column.codes) < count:
                more = np.zeros(max(count, 2 * len(column.codes)) - len(column.codes), np.int32)
                column.codes = np.concatenate([column.codes, more])
            if column.log_position != end:
                for number in self._changed[column.log_position - self._log_start :]:
                    if number < len(column.codes):
                        column.codes[number] = self._items[number].code_of(key, column.numbers)
                column.log_position = end
        return column

    def _new_column(self, key: str, count: int, log_position: int) -> _Column:
        codes = np.zeros(max(count, len(self._items)), np.int32)
        column = _Column(codes, log_position)
        for number in self._has_more.union(self._with_key.get(key, ())):
            codes[number] = self._items[number].code_of(key, column.numbers)
        self._columns[key] = column
        self._columns.move_to_end(key)
        while len(self._columns) > 1 and self.size > _MAX_BYTES:
            self._columns.popitem(last=False)
        return column

    @property
    def size(self) -> int:
        """About how many bytes the columns take."""
        return sum(each.size for each in self._columns.values())
