"""Reports to systemd that the agent runs, and that its event loop turns (sd_notify(3)).

Without systemd, which names its socket in NOTIFY_SOCKET, nothing is sent.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.runtime.clock import AgentClock

_MICROSECONDS: Final = 1e6
_MIN_PAUSE_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """The service manager that has started this process.

    Attributes:
        address: its socket; empty: there is none. `@` stands for an abstract one.
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
        is_ours = wanted == str(os.getpid()) and text.isascii() and text.isdecimal()
        seconds = int(text) / _MICROSECONDS if is_ours else 0.0
        return cls(
            address=environment.get("NOTIFY_SOCKET", ""), watchdog_seconds=seconds, clock=clock
        )

    async def run(self) -> None:
        """Says that the agent is ready, and then again and again that it lives."""
        self.notify("READY=1")
        while True:
            if not (self.address and self.watchdog_seconds):
                await self.clock.sleep(_IDLE_SECONDS)
                continue
            self.notify("WATCHDOG=1")
            # A third, so that one late round of the event loop is forgiven.
            await self.clock.sleep(max(_MIN_PAUSE_SECONDS, self.watchdog_seconds / 3))

    def notify(self, state: str) -> None:
        """Sends one state; a socket that is gone is no reason to end."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # noqa: FBT003 - of the standard library
                sender.sendto(state.encode(), name)
        except OSError:
            return
