"""Reports to systemd that the agent runs, and that its loops come round (sd_notify(3)).

Without systemd, which names its socket in NOTIFY_SOCKET, nothing is sent.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agents.runtime.clock import AgentClock

_log = logging.getLogger(__name__)

_MICROSECONDS: Final = 1e6
_MAX_DIGITS: Final = 18
_MIN_PAUSE_SECONDS: Final = 0.1
_STATUS_SECONDS: Final = 30.0
_MAX_STATUS_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """The service manager that has started this process.

    Attributes:
        address: its socket; empty: there is none. `@` means an abstract one.
        watchdog_seconds: it kills a service that is silent for so long; 0: never.
        clock: time as an input.
    """

    address: str
    watchdog_seconds: float
    clock: AgentClock

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], clock: AgentClock
    ) -> "ServiceManager":
        """The service manager that the environment names."""
        wanted = environment.get("WATCHDOG_PID", str(os.getpid()))
        text = environment.get("WATCHDOG_USEC", "0")
        is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
        seconds = int(text) / _MICROSECONDS if is_number and wanted == str(os.getpid()) else 0.0
        return cls(
            address=environment.get("NOTIFY_SOCKET", ""), watchdog_seconds=seconds, clock=clock
        )

    async def run(
        self,
        overdue: Callable[[], tuple[str, ...]] = tuple,
        describe: Callable[[], str] = str,
    ) -> None:
        """Says that the agent is ready, and then again and again that it lives.

        While a loop is overdue the watchdog gets no sign of life, so systemd restarts the agent.

        Args:
            overdue: the names of the loops that do not come round.
            describe: what the agent does now, in a few words, for `systemctl status`.
        """
        last = describe()
        self.notify("READY=1", *_status_lines(last))
        # A third, so that one late round of the event loop is forgiven.
        pause = min(self.watchdog_seconds / 3 or _STATUS_SECONDS, _STATUS_SECONDS)
        while True:
            late = overdue()
            if late:
                _log.error("no round of: %s; the watchdog restarts the agent", ", ".join(late))
            elif self.watchdog_seconds:
                self.notify("WATCHDOG=1")
            text = f"does not come round: {', '.join(late)}" if late else describe()
            if text != last:
                self.notify(*_status_lines(text))
                last = text
            await self.clock.sleep(max(_MIN_PAUSE_SECONDS, pause))

    def notify_stopping(self) -> None:
        """Says that the agent ends as asked."""
        self.notify("STOPPING=1", "STATUS=ending")

    def notify(self, *lines: str) -> None:
        """Sends assignments, such as READY=1; a socket that is gone is no reason to end."""
        if not self.address or not lines:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # noqa: FBT003 - of the standard library
                sender.sendto("\n".join(lines).encode(errors="replace"), name)
        except (OSError, ValueError):  # ValueError: a name that no socket can have
            return


def _status_lines(text: str) -> tuple[str, ...]:
    """The status as one line: what is in it cannot add an assignment."""
    line = "".join(each if each.isprintable() else " " for each in text[:_MAX_STATUS_CHARACTERS])
    return (f"STATUS={line}",) if line else ()
