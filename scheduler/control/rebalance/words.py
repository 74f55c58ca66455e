"""An operator's word that a workload may move now to save cost, `kapok rebalance`. Pure.

It is the time at which it was said, as an annotation of the Workload, and holds for ten minutes:
long enough for the scheduler to look, and over before it could be a surprise. It lifts nothing but
the mode Advise: the least saving, the moves of the hour, the day between two moves and every rule
hold.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from scheduler.model.formatters import format_rfc3339

REBALANCE_ANNOTATION: Final = "rebalance.kapok.dev/asked-at"
_HOLDS = timedelta(minutes=10)
_AHEAD = timedelta(minutes=1)  # clocks differ
_MAX_CHARACTERS = 40


def is_asked(annotations: Mapping[str, str], now: datetime) -> bool:
    """Whether a word holds now; what is no time is no word."""
    text = annotations.get(REBALANCE_ANNOTATION, "")
    if not text or len(text) > _MAX_CHARACTERS:
        return False
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return at.tzinfo is not None and -_AHEAD <= now - at <= _HOLDS


def write_asked(now: datetime) -> dict[str, str]:
    """The annotation of a word that is said now."""
    return {REBALANCE_ANNOTATION: format_rfc3339(now)}
