"""`--now`: the time that a decision is made for."""

import argparse
from datetime import UTC, datetime

from scheduler.runtime.clock import SystemClock


def add_now_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--now` to a command."""
    parser.add_argument(
        "--now",
        type=parse_time,
        metavar="TIME",
        help="decide as if it were TIME, as 2026-11-23T08:00:00Z (default: the machine's clock)",
    )


def parse_time(text: str) -> datetime:
    """Reads an instant; without a zone it is UTC.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-23T08:00:00Z"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def now_of(arguments: argparse.Namespace) -> datetime:
    """The time that was asked for, else the machine's."""
    asked: datetime | None = arguments.now
    return SystemClock().now() if asked is None else asked
