"""Exit codes, and the options that mean the same in every command."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf, nan

import msgspec

from scheduler.model.kinds.fields import ImagePlatform

EXIT_GOOD = 0
EXIT_NO = 1
"""The call was right, and the answer is no: not placed, differs, not found, refused."""
EXIT_USAGE = 2
"""The call was wrong; argparse uses this code too."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

DATA_DIR_HELP = (
    "data directory of `kapok up` (default: $KAPOK_DATA_HOME, else ~/.local/share/kapok)"
)


class UsageError(ValueError):
    """The arguments do not fit together or name nothing usable; the message says what to write."""


def add_data_dir_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`: where the hub and the ledger of a `kapok up` are."""
    parser.add_argument("--data-dir", metavar="DIR", help=DATA_DIR_HELP)


def add_output_option(parser: argparse.ArgumentParser) -> None:
    """Adds `-o json`."""
    parser.add_argument(
        "-o", "--output", choices=["json"], help="print one JSON object on stdout, for scripts"
    )


def add_now_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--now`: the time that a decision is made for."""
    parser.add_argument(
        "--now",
        type=parse_instant,
        metavar="TIME",
        help="decide as of TIME, such as 2026-11-23T08:00:00Z or 2026-11-23T16:00:00+08:00; "
        "UTC if it names no zone (default: the current time)",
    )


def parse_instant(text: str) -> datetime:
    """Reads an RFC 3339 instant; without a time zone it is UTC.

    Returns:
        The instant in UTC, so that it has a date there too.

    Raises:
        argparse.ArgumentTypeError: the text is no instant, or none that UTC has a date for.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"invalid time {text!r}: expected RFC 3339, such as 2026-11-23T08:00:00Z"
        ) from None


def parse_name(text: str) -> str:
    """Reads the name of an object; an empty one, as of an unset variable, is none.

    Raises:
        argparse.ArgumentTypeError: the text is no name.
    """
    if not text or "/" in text:
        raise argparse.ArgumentTypeError(f"invalid name {text!r}: expected the name of an object")
    return text


def parse_workload_key(text: str) -> tuple[str, str]:
    """Reads NAMESPACE/NAME; NAME alone is in the namespace default.

    Raises:
        argparse.ArgumentTypeError: the text is neither.
    """
    parts = text.split("/") if "/" in text else ["default", text]
    match parts:
        case [str(namespace), str(name)] if namespace and name:
            return namespace, name
    raise argparse.ArgumentTypeError(f"invalid workload {text!r}: expected NAMESPACE/NAME")


def parse_platform(text: str) -> str:
    """Reads a platform of images, OS/ARCHITECTURE.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    try:
        return msgspec.convert(text, ImagePlatform)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(
            f"invalid platform {text!r}: expected OS/ARCH, such as linux/arm64"
        ) from None


def now_of(arguments: argparse.Namespace) -> datetime:
    """The value of `--now`, else the current time."""
    from scheduler.runtime.clock import SystemClock  # noqa: PLC0415 - keeps `kapok --help` quick

    given: datetime | None = arguments.now
    return SystemClock().now() if given is None else given


def seconds_between(least: float, most: float) -> Callable[[str], float]:
    """A parser of an option in seconds.

    Args:
        least: the smallest value allowed.
        most: the largest value allowed; infinity for no limit.

    Returns:
        A function for `type=` of `add_argument`; it raises `argparse.ArgumentTypeError`.
    """
    expected = f"{least:g} or more" if most == inf else f"{least:g} to {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = nan  # no comparison holds, so it is refused below
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"invalid duration {text!r}: expected seconds, {expected}"
            )
        return value

    return parse
