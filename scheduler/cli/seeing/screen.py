"""The terminal as a screen of lines that are drawn again, with keys that are read one by one.

Nothing here is used where stdout or stdin is no terminal, so pipes never see an escape code.
"""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, so that what was on the terminal is there again afterwards; no cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_REVERSED, _PLAIN = "\x1b[7m", "\x1b[0m"
_MAX_KEYS: Final = 64
_ARROWS: Final = {"\x1b[A": "k", "\x1b[B": "j"}


class Stopped(Exception):
    """A signal asks the program to end; `code` is its exit code."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def is_terminal() -> bool:
    """Whether stdin and stdout are terminals that understand escape codes."""
    is_capable = os.environ.get("TERM", "") not in ("", "dumb")
    return is_capable and sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def open_screen() -> Iterator["Screen"]:
    """The screen for the time of the context; the terminal is then as it was, whatever happens.

    Raises:
        Stopped: SIGTERM or SIGHUP was received inside the context.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = termios.tcgetattr(sys.stdin)
    handlers = [signal.signal(number, stop) for number in signals]
    try:
        tty.setcbreak(sys.stdin)  # Ctrl-C still interrupts
        sys.stdout.write(_ENTER)
        yield Screen()
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


class Screen:
    """Draws lines and reads keys."""

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        return shutil.get_terminal_size()

    def draw(self, lines: Sequence[str], *, reversed_lines: int = 1) -> None:
        """Draws lines from the top, each already fit to the width and without hidden characters.

        Args:
            lines: the lines.
            reversed_lines: so many from the top are shown in reverse.
        """
        shown = [
            f"{_REVERSED}{line}{_PLAIN}" if number < reversed_lines else line
            for number, line in enumerate(lines)
        ]
        text = "\r\n".join(line + _CLEAR_LINE for line in shown)
        sys.stdout.write(_HOME + text + _CLEAR_REST)
        sys.stdout.flush()

    def keys(self, *, within_seconds: float) -> list[str]:
        """The keys that are pressed, waiting at most so long for the first."""
        ready, _, _ = select.select([sys.stdin], [], [], within_seconds)
        if not ready:
            return []
        text = os.read(sys.stdin.fileno(), _MAX_KEYS).decode(errors="replace")
        for sequence, key in _ARROWS.items():
            text = text.replace(sequence, key)
        return [] if "\x1b" in text else list(text)
