"""How log lines are written: as text for people, or as one JSON object a line for machines.

A line that is about a decision, an order, a site, a grant or a workload names it in `extra`; as
JSON these are fields of their own, so that all lines about one of them are found without a pattern.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from scheduler.runtime.printable import printable, printable_json

LogFormat: TypeAlias = Literal["text", "json"]

ID_FIELDS: Final = ("decision", "order", "site", "grant", "workload")
"""Names in `extra` that become fields; a decision by its id, a workload as NAMESPACE/NAME."""

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextLineFormatter(logging.Formatter):
    """Formats a record as text; what its message quotes from outside forges no line."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of a record, without the traceback, which comes on lines of its own."""
        record.message = printable(record.message)
        return super().formatMessage(record)


class JsonLineFormatter(logging.Formatter):
    """Formats a record as one JSON object without a line feed.

    Fields: time (RFC 3339, UTC, milliseconds), level, logger, message; those of `ID_FIELDS` that
    are known; error, with the traceback, when one was logged.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ID_FIELDS:
            value = getattr(record, name, None)
            if value:
                fields[name] = str(value)
        error = self._error_of(record)
        if error:
            fields["error"] = error
        return printable_json(json.dumps(fields, ensure_ascii=False))

    def _error_of(self, record: logging.LogRecord) -> str:
        parts = [record.exc_text or ""]
        if record.exc_info and not record.exc_text:
            parts = [self.formatException(record.exc_info)]
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(part for part in parts if part)


def set_up_logging(level: str, log_format: LogFormat) -> None:
    """Makes the root logger write to stderr.

    Args:
        level: the least level that is written.
        log_format: text or json.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLineFormatter() if log_format == "json" else TextLineFormatter())
    logging.basicConfig(level=level, handlers=[handler])
