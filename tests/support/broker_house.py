"""A broker with TLS and topic rules in a network namespace, on links that can go down.

The sites and the hub each have a link of their own to it: a pair of virtual interfaces. What
happens on a bad day happens here to real processes and real interfaces.
"""

import datetime as dt
import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.mqtt.production.mosquitto_files import MosquittoChoices, mosquitto_files
from tests.support.member_clusters import wait_until
from tests.support.own_network import IP, own_network
from tests.support.production_broker import SCHEDULER, Authority, ProductionBroker

PORT = 8883
_LIFE = dt.timedelta(days=10)


def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces here."""
    return os.geteuid() == 0 and Path(IP).exists() and bool(shutil.which("mosquitto"))


@dataclass(slots=True)
class BrokerHouse:
    """The broker, its two links and its papers.

    Attributes:
        folder: certificates, settings and store.
        authority: issues certificates.
        name: name of the namespace.
        network: first three numbers of its addresses.
    """

    folder: Path
    authority: Authority
    name: str = field(default_factory=lambda: f"kapok-{os.getpid()}")
    network: str = field(
        default_factory=lambda: f"10.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
    )
    _process: subprocess.Popen[bytes] | None = None

    @property
    def for_sites(self) -> ProductionBroker:
        """As sites reach it."""
        return ProductionBroker(PORT, self.folder, f"{self.network}.2")

    @property
    def for_hub(self) -> ProductionBroker:
        """As the hub reaches it."""
        return ProductionBroker(PORT, self.folder, f"{self.network}.6")

    def link(self, side: str) -> str:
        """The interface of a side, "s" (sites) or "h" (hub), outside the namespace."""
        return f"kp{side}{os.getpid()}"

    def set_link(self, side: str, state: str) -> None:
        """Takes a link "up" or "down"."""
        _ip("link", "set", self.link(side), state)

    def build(self) -> None:
        """Makes the namespace and its links."""
        self.tear_down()  # of a run that was killed, whose process had this number
        _ip("netns", "add", self.name)
        for side, ours, theirs in (("s", 1, 2), ("h", 5, 6)):
            inner = f"{self.link(side)}i"
            _ip("link", "add", self.link(side), "type", "veth", "peer", "name", inner)
            _ip("link", "set", inner, "netns", self.name)
            _ip("addr", "add", f"{self.network}.{ours}/30", "dev", self.link(side))
            _ip("link", "set", self.link(side), "up")
            self._inside(IP, "addr", "add", f"{self.network}.{theirs}/30", "dev", inner)
            self._inside(IP, "link", "set", inner, "up")
        self.authority.issue(
            "broker", addresses=(f"{self.network}.2", f"{self.network}.6"), life=_LIFE
        )
        self.authority.issue(SCHEDULER, life=_LIFE)

    def tear_down(self) -> None:
        """Ends everything."""
        self.kill()
        for words in (
            ("link", "del", self.link("s")),
            ("link", "del", self.link("h")),
            ("netns", "del", self.name),
        ):
            with suppress(subprocess.CalledProcessError):
                _ip(*words)

    def start(self) -> None:
        """Starts mosquitto on the store that is there."""
        for name, text in mosquitto_files(MosquittoChoices(folder=str(self.folder))).items():
            moved = text.replace("/var/lib/mosquitto/", f"{self.folder}/")
            user = f"user {getpass.getuser()}\n" if name.endswith(".conf") else ""
            (self.folder / name).write_text(moved + user)
        command = shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or "mosquitto"
        self._process = subprocess.Popen(
            [IP, "netns", "exec", self.name, command, "-c", str(self.folder / "mosquitto.conf")],
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._accepts)

    def kill(self) -> None:
        """Ends mosquitto as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Sends mosquitto a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def store(self) -> Path:
        """What mosquitto keeps."""
        return self.folder / "mosquitto.db"

    def save_store(self) -> bytes:
        """What mosquitto would find after a crash now."""
        self.store.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        wait_until(lambda: self.store.exists() and self.store.stat().st_size > 0)
        return self.store.read_bytes()

    def restart(self, store: bytes | None) -> None:
        """Kills mosquitto, and starts it on another store; None: an empty one."""
        self.kill()
        self.store.unlink(missing_ok=True)
        if store is not None:
            self.store.write_bytes(store)
        self.start()

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex((f"{self.network}.6", PORT)) == 0

    def _inside(self, *command: str) -> None:
        _ip("netns", "exec", self.name, *command)


@contextmanager
def broker_house(folder: Path, sites: Sequence[str]) -> Iterator[BrokerHouse]:
    """A running broker, with certificates for these sites, until the block ends.

    All of it, and what the block starts, is in a network of its own.
    """
    authority = Authority(folder, life=_LIFE)
    for site in sites:
        authority.issue(site, life=_LIFE)
    house = BrokerHouse(folder, authority)
    with own_network():
        try:
            house.build()
            house.start()
            yield house
        finally:
            house.tear_down()


def _ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True, timeout=60)
