"""Hypothesis strategies for the wire's types, from the type hints that the codec compiles."""

import dataclasses
import types
import typing
from typing import Any, Literal

from hypothesis import strategies as st

from agents.protocol.bounds import (
    MAX_NUMBER,
    AtMost,
    Between,
    InstantText,
    NotEmpty,
    Printable,
    QuantityValues,
    RemainingKeys,
)

_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFFF), min_size=0, max_size=12
)
_LINES = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"], include_characters=" ").filter(
        str.isprintable
    ),
    max_size=12,
)
_FEW = 3
Hint = Any
"""A type expression."""


def messages(record: Hint) -> st.SearchStrategy[Any]:
    """Values of a wire dataclass, within its bounds."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields = {each.name: _values(hints[each.name]) for each in dataclasses.fields(record)}
    return st.builds(record, **fields)


def json_trees() -> st.SearchStrategy[Any]:
    """Any JSON value, small."""
    leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _TEXT
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
        max_leaves=12,
    )


def _values(hint: Hint, marks: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    origin: Hint = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if origin is typing.Annotated:
        return _values(hint.__origin__, marks + tuple(hint.__metadata__))
    if origin in (types.UnionType, typing.Union):
        return st.one_of([_values(each, marks) for each in inner])
    if origin is tuple:
        return st.lists(_values(inner[0]), max_size=_FEW).map(tuple)
    if origin is dict:
        return _maps(inner[0], inner[1], marks)
    return st.sampled_from(inner) if origin is Literal else _scalars(hint, marks)


def _maps(key: Hint, entry: Hint, marks: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    keys = _values(key)
    if any(isinstance(mark, RemainingKeys) for mark in marks):
        keys = st.sampled_from(["cpu", "memory", "pods", "nvidia.com/gpu"])
    values = _values(entry)
    if any(isinstance(mark, QuantityValues) for mark in marks):
        values = st.integers(0, 2**60 // 1000) | st.sampled_from(["7500m", "1.5Gi", "0", "1e9"])
    return st.dictionaries(keys, values, max_size=_FEW)


def _scalars(hint: Hint, marks: tuple[Any, ...]) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one per type
    span = next((mark for mark in marks if isinstance(mark, Between)), None)
    longest = next((mark.count for mark in marks if isinstance(mark, AtMost)), 12)
    if dataclasses.is_dataclass(hint):
        return messages(hint)
    if hint in (type(None), bool):
        return st.none() if hint is not bool else st.booleans()
    if hint is int:
        low, high = (span.low, span.high) if span else (-(2**63) + 1, 2**63 - 1)
        return st.integers(int(low), int(high))
    if hint is float:
        return st.floats(
            span.low if span else -MAX_NUMBER, span.high if span else MAX_NUMBER, allow_nan=False
        )
    if hint is str:
        if any(isinstance(mark, InstantText) for mark in marks):
            return st.sampled_from(["2023-12-31", "2026-01-01T00:00:00Z", "yearly 2023"])
        is_filled = any(isinstance(mark, NotEmpty) for mark in marks)
        texts = _LINES if any(isinstance(mark, Printable) for mark in marks) else _TEXT
        return texts.map(lambda text: text[:longest] or ("x" if is_filled else ""))
    leaves = st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | _TEXT
    return st.dictionaries(_TEXT, leaves | st.lists(leaves, max_size=2), max_size=2)
