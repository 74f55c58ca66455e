"""The embedded broker: mosquitto if it is on PATH, else the packaged one (rumqttd in a wheel).

Both listen on loopback only and accept every client there; mosquitto can listen to other machines
too, which then need certificates. The broker is not trusted: agents and scheduler sign and verify
the messages themselves. A broker that dies is restarted without its state, and the scheduler
publishes its retained messages again.
"""

import asyncio
import getpass
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from scheduler.runtime.clock import Clock
from scheduler.runtime.parent_death import command_tied_to_parent
from scheduler.runtime.printable import printable

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 4096
NO_MOSQUITTO = (
    "other machines need mosquitto, which is not on PATH: the packaged broker has no topic rules "
    "and stays on loopback. Install it (apt install mosquitto, dnf install mosquitto) and disable "
    "its own service (systemctl disable --now mosquitto), or name another broker in broker.host"
)
_READY_ATTEMPTS = 200
_READY_PAUSE_SECONDS = 0.05
_FIRST_RESTART_PAUSE_SECONDS, _MAX_RESTART_PAUSE_SECONDS = 0.5, 15.0
_STABLE_AFTER_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 5.0

# All orders of a site are published in one burst, and the default queue of 1,000 drops some.
# What waits for one slow client is bounded in bytes: by `max_queued_bytes`, and in the packaged
# broker by the segments that it keeps of each subscription's messages.
# `user` keeps the user that started us: mosquitto started by root changes to the user "mosquitto",
# and a change of user clears the death signal that ends it with its parent (prctl(2)).
_LOOPBACK_LISTENER = """listener {port} 127.0.0.1
allow_anonymous true
"""
_MOSQUITTO_LIMITS = """user {user}
persistence false
max_queued_messages 100000
max_queued_bytes 67108864
max_inflight_messages 1000
max_packet_size 1048576
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
"""

_RUMQTTD_CONFIG = """id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 1000
max_segment_size = 4194304
max_segment_count = 4
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 1000
"""

# The packaged broker ends when its standard input closes, which happens when this process ends.
_PACKAGED_BROKER_SCRIPT = (
    "import json, sys; from iotcore._serve import main; "
    "sys.argv[1:] = [json.dumps({'config_path': sys.argv[1]})]; main()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenListener:
    """A listener of mosquitto for other machines.

    Attributes:
        host: the address that it listens on; an unspecified one for all of this machine.
        port: its port.
        settings: the lines of mosquitto.conf about this listener: certificates and topic rules.
        has_loopback: whether there is a listener on loopback for every client too.
    """

    host: str
    port: int
    settings: str
    has_loopback: bool = False

    @property
    def own_host(self) -> str:
        """The address at which this machine reaches it."""
        address = ip_address(self.host)
        if not address.is_unspecified:
            return self.host
        return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - of IP


def broker_kind() -> str:
    """The broker that this machine has: "mosquitto" or "iotcore" (the packaged one)."""
    return "mosquitto" if shutil.which("mosquitto") else "iotcore"


class EmbeddedBroker:
    """One broker process on loopback, restarted when it dies.

    Attributes:
        kind: "mosquitto" or "iotcore".
        port: the MQTT 5 port on 127.0.0.1; with an `opened` listener only if that says so.
        opened: the listener for other machines; None: there is none. Of mosquitto only.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        kind: str,
        clock: Clock,
        opened: OpenListener | None = None,
    ) -> None:
        self.kind = kind
        self.port = port
        self.opened = opened
        self._folder = folder
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The broker's process id; 0 while none runs."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Starts the process and waits until it accepts connections.

        Raises:
            OSError: the broker does not start; the message names the command.
        """
        command = self._command()
        said, written = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=written,
            )
        except BaseException:
            os.close(said)
            raise
        finally:
            os.close(written)
        # A thread, so that a busy event loop never lets the broker wait for its log.
        threading.Thread(target=_log_lines, args=(said,), name="broker log", daemon=True).start()
        self._process = process
        for _ in range(_READY_ATTEMPTS):
            if process.returncode is not None:
                break
            if self._accepts_connections():
                return
            await self._clock.sleep(_READY_PAUSE_SECONDS)
        await self.stop()
        raise OSError(f"the embedded broker did not start: {' '.join(command)}")

    def reload(self) -> None:
        """Lets mosquitto read certificates, revocations and topic rules again; sessions stay."""
        process = self._process
        if process is not None and process.returncode is None and self.kind == "mosquitto":
            process.send_signal(signal.SIGHUP)

    def end_sessions(self) -> None:
        """Ends every session, by a new start: `keep_running` starts it with what is on disk.

        mosquitto checks certificates when a session begins, and ends no single one.
        """
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()

    def _accepts_connections(self) -> bool:
        if self.opened is None:
            return _accepts_connections("127.0.0.1", self.port)
        return _accepts_connections(self.opened.own_host, self.opened.port)

    async def keep_running(self) -> None:
        """Restarts the broker whenever it ends; runs until cancelled.

        The pause doubles with every broker that did not live long or did not start.
        """
        pause_seconds = _FIRST_RESTART_PAUSE_SECONDS
        while True:
            since_seconds = self._clock.monotonic()
            code = await self._process.wait() if self._process else None
            if self._clock.monotonic() - since_seconds >= _STABLE_AFTER_SECONDS:
                pause_seconds = _FIRST_RESTART_PAUSE_SECONDS
            _log.warning(
                "the embedded broker %s; starting it again in %.1f s",
                "is not running" if code is None else f"exited with code {code}",
                pause_seconds,
            )
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _MAX_RESTART_PAUSE_SECONDS)
            try:
                await self.start()
            except OSError as error:
                _log.warning("%s", error)

    async def stop(self) -> None:
        """Terminates the process, by SIGKILL after a time-out; may be called twice."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _command(self) -> list[str]:
        if self.kind == "mosquitto":
            config = self._write_config("mosquitto.conf", self._mosquitto_settings())
            return command_tied_to_parent(["mosquitto", "-c", str(config)])
        config = self._write_config("rumqttd.toml", _RUMQTTD_CONFIG.format(port=self.port))
        return [sys.executable, "-c", _PACKAGED_BROKER_SCRIPT, str(config)]

    def _mosquitto_settings(self) -> str:
        limits = _MOSQUITTO_LIMITS.format(user=getpass.getuser())
        loopback, opened = _LOOPBACK_LISTENER.format(port=self.port), self.opened
        if opened is None:
            return loopback + limits
        # Each listener has its own rules; the limits are those of the whole broker.
        listener = f"listener {opened.port} {opened.host}\n{opened.settings}"
        return (
            "per_listener_settings true\n"
            f"{limits}{listener}{loopback if opened.has_loopback else ''}"
        )

    def _write_config(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path


@asynccontextmanager
async def embedded_broker(
    folder: Path,
    port: int,
    *,
    clock: Clock,
    kind: str | None = None,
    opened: OpenListener | None = None,
) -> AsyncIterator[EmbeddedBroker]:
    """Runs an embedded broker for the time of the context.

    Args:
        folder: the folder for its configuration file.
        port: a free port on 127.0.0.1.
        clock: the clock for pauses.
        kind: "mosquitto" or "iotcore"; None takes what this machine has.
        opened: a listener for other machines.

    Raises:
        OSError: the broker does not start.
    """
    kind = kind or broker_kind()
    if opened is not None and kind != "mosquitto":
        raise OSError(NO_MOSQUITTO)
    broker = EmbeddedBroker(folder, port, kind=kind, clock=clock, opened=opened)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def _log_lines(descriptor: int) -> None:
    """Writes what the broker says into our log, in its form, until the broker ends."""
    with open(descriptor, "rb") as lines:
        while line := lines.readline(_MAX_LINE_BYTES):
            text = printable(line.decode(errors="replace").rstrip())
            if text:
                _log.warning("the embedded broker says: %s", text)


def mosquitto_version() -> tuple[int, int]:
    """Major and minor version of the mosquitto on PATH; (2, 0) if it does not say."""
    try:
        done = subprocess.run(
            ["mosquitto", "-h"],  # noqa: S607 - from PATH, as it is started
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return 2, 0
    found = re.search(r"version (\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (2, 0)


def _accepts_connections(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((host, port)) == 0
