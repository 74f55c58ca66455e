"""The embedded broker: mosquitto if it is on PATH, else the packaged one (rumqttd in a wheel).

Both listen on loopback only and accept every client there. The broker is not trusted: agents and
scheduler sign and verify the messages themselves. A broker that dies is restarted without its
state, and the scheduler publishes its retained messages again.
"""

import asyncio
import getpass
import logging
import os
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scheduler.runtime.clock import Clock
from scheduler.runtime.parent_death import command_tied_to_parent
from scheduler.runtime.printable import printable

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 4096
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
_MOSQUITTO_CONFIG = """listener {port} 127.0.0.1
user {user}
allow_anonymous true
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


def broker_kind() -> str:
    """The broker that this machine has: "mosquitto" or "iotcore" (the packaged one)."""
    return "mosquitto" if shutil.which("mosquitto") else "iotcore"


class EmbeddedBroker:
    """One broker process on loopback, restarted when it dies.

    Attributes:
        kind: "mosquitto" or "iotcore".
        port: the MQTT 5 port on 127.0.0.1.
    """

    def __init__(self, folder: Path, port: int, *, kind: str, clock: Clock) -> None:
        self.kind = kind
        self.port = port
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
            if _accepts_connections(self.port):
                return
            await self._clock.sleep(_READY_PAUSE_SECONDS)
        await self.stop()
        raise OSError(f"the embedded broker did not start: {' '.join(command)}")

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
            config = self._write_config("mosquitto.conf", _MOSQUITTO_CONFIG)
            return command_tied_to_parent(["mosquitto", "-c", str(config)])
        config = self._write_config("rumqttd.toml", _RUMQTTD_CONFIG)
        return [sys.executable, "-c", _PACKAGED_BROKER_SCRIPT, str(config)]

    def _write_config(self, name: str, template: str) -> Path:
        path = self._folder / name
        path.write_text(template.format(port=self.port, user=getpass.getuser()))
        return path


@asynccontextmanager
async def embedded_broker(
    folder: Path, port: int, *, clock: Clock, kind: str | None = None
) -> AsyncIterator[EmbeddedBroker]:
    """Runs an embedded broker for the time of the context.

    Args:
        folder: the folder for its configuration file.
        port: a free port on 127.0.0.1.
        clock: the clock for pauses.
        kind: "mosquitto" or "iotcore"; None takes what this machine has.

    Raises:
        OSError: the broker does not start.
    """
    broker = EmbeddedBroker(folder, port, kind=kind or broker_kind(), clock=clock)
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


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
