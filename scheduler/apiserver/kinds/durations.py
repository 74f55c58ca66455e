"""Formats ages as kubectl does (k8s.io/apimachinery/pkg/util/duration, HumanDuration)."""

from datetime import datetime

_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_YEAR = 365 * _DAY

_DURATION_FORMATS = (
    (2 * _MINUTE, "s", 1, "", 0),
    (10 * _MINUTE, "m", _MINUTE, "s", 1),
    (3 * _HOUR, "m", _MINUTE, "", 0),
    (8 * _HOUR, "h", _HOUR, "m", _MINUTE),
    (2 * _DAY, "h", _HOUR, "", 0),
    (8 * _DAY, "d", _DAY, "h", _HOUR),
    (2 * _YEAR, "d", _DAY, "", 0),
    (8 * _YEAR, "y", _YEAR, "d", _DAY),
)
"""Upper limit in seconds (exclusive), unit, its seconds, finer unit, its seconds (0: none)."""


def format_human_duration(seconds: float) -> str:
    """At most two units, coarser for longer durations: `53s`, `3m20s`, `5h12m`, `47h`, `2y40d`."""
    whole = max(0, int(seconds))
    for limit, unit, size, finer, finer_size in _DURATION_FORMATS:
        if whole < limit:
            rest = whole % size // finer_size if finer_size else 0
            return f"{whole // size}{unit}" + (f"{rest}{finer}" if rest else "")
    return f"{whole // _YEAR}y"


def format_age(timestamp: object, now: datetime) -> str:
    """The time since an RFC 3339 instant, or `<unknown>` or `<invalid>` as in kubectl."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        return format_human_duration((now - datetime.fromisoformat(timestamp)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return "<invalid>"
