"""How log lines are written: for people with a time, for the journal with a level (sd-daemon(3)).

The journal keeps the time of each line itself, and reads the level from a prefix such as `<6>`.
Whether standard error is the journal is in JOURNAL_STREAM: device and inode of the stream that
systemd has connected, so a child whose output goes elsewhere does not take itself for it.
"""

import logging
import os
from collections.abc import Mapping
from typing import Final, TextIO

_TIMED: Final = "%(asctime)s %(levelname)-7s %(message)s"
_SYSLOG_LEVELS: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG: Final = 7


class JournalFormatter(logging.Formatter):
    """Lines with the level as a prefix and without a time; each line of a text has the prefix."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{_syslog_level(record.levelno)}>{line}" for line in lines)


def configure_logging(level: str, stream: TextIO, environment: Mapping[str, str]) -> None:
    """Makes the root logger write to a stream.

    Args:
        level: DEBUG, INFO, WARNING or ERROR, in any case.
        stream: where lines go, usually standard error.
        environment: usually `os.environ`.
    """
    handler = logging.StreamHandler(stream)
    is_journal = writes_to_journal(stream, environment)
    handler.setFormatter(
        JournalFormatter("%(message)s") if is_journal else logging.Formatter(_TIMED)
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])


def writes_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether systemd has connected a stream to the journal."""
    named = environment.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # ValueError: not a file, or closed
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _syslog_level(level: int) -> int:
    return next((syslog for least, syslog in _SYSLOG_LEVELS if level >= least), _DEBUG)
