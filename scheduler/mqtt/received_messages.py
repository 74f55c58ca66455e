"""What was received of each agent, on disk: its boot, and its newest sequence numbers.

A restarted hub refuses by it what it has received before and a broker plays again. Written every
second and at the end; a hub that is killed may forget the last second, and what is played again of
that carries no nonce of the new process.
"""

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from scheduler.runtime.clock import Clock
from scheduler.runtime.data_dir import RECEIVED_FILE, RECEIVED_MARK_FILE

_log = logging.getLogger(__name__)

RECEIVED_FORMAT: Final = 1
MAX_AGENTS_KEPT: Final = 65_536
MAX_AGENTS_KEPT_PER_SITE: Final = 256

_FLUSH_SECONDS = 1.0
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS received (
  site TEXT NOT NULL, key_id TEXT NOT NULL, agent TEXT NOT NULL,
  boot_number INTEGER NOT NULL, boot_id TEXT NOT NULL,
  report_sequence INTEGER NOT NULL, status_sequence INTEGER NOT NULL,
  PRIMARY KEY (site, key_id, agent)
) WITHOUT ROWID;
PRAGMA user_version = {RECEIVED_FORMAT};
"""
_UPSERT = "INSERT OR REPLACE INTO received VALUES (?, ?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM received WHERE site = ? AND key_id = ? AND agent = ?"

AgentKey = tuple[str, str, str]
"""Site, key id, name of the agent: a new key begins to count again."""


@dataclass(frozen=True, slots=True)
class ReceivedAgent:
    """The newest that was received of an agent.

    Attributes:
        boot_number: number of its boot.
        boot_id: id of its boot.
        report_sequence: of its newest report in that boot; -1: none.
        status_sequence: of its newest status in that boot; -1: none.
    """

    boot_number: int
    boot_id: str
    report_sequence: int = -1
    status_sequence: int = -1


@dataclass(slots=True, kw_only=True)
class ReceivedMessages:
    """What was received of all agents; kept in memory, written behind.

    An async context manager: it reads the file, and leaving it writes what is not written yet.

    Attributes:
        folder: the data directory; None: nothing is written.
    """

    folder: Path | None = None
    _by_site: "OrderedDict[str, OrderedDict[AgentKey, ReceivedAgent]]" = field(
        default_factory=OrderedDict, init=False
    )
    _count: int = field(default=0, init=False)
    _changed: dict[AgentKey, ReceivedAgent | None] = field(default_factory=dict, init=False)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.load)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.flush()
        except sqlite3.Error as error:
            _log.warning("%s: the last messages received are not written: %s", RECEIVED_FILE, error)

    def load(self) -> None:
        """Reads the file; creates it if it is missing.

        Raises:
            sqlite3.Error: it cannot be used.
            OSError: the folder cannot be written.
        """
        if self.folder is None:
            return
        path = self.folder / RECEIVED_FILE
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as database:
            database.executescript(_SCHEMA)
            rows = database.execute("SELECT * FROM received LIMIT ?", (MAX_AGENTS_KEPT,)).fetchall()
        for site, key_id, agent, *figures in rows:
            self._put((site, key_id, agent), ReceivedAgent(*figures))
        (self.folder / RECEIVED_MARK_FILE).touch(mode=0o600)

    def find(self, key: AgentKey) -> ReceivedAgent | None:
        """What was received of an agent; None: nothing."""
        agents = self._by_site.get(key[0])
        return agents.get(key) if agents is not None else None

    def note(self, key: AgentKey, received: ReceivedAgent) -> None:
        """Remembers a newer message; the agents that were received longest ago make room."""
        self._put(key, received)
        self._changed[key] = received

    async def run(self, clock: Clock) -> None:
        """Writes what changed, every second, until cancelled."""
        while True:
            await clock.sleep(_FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what changed; what cannot be written is tried again next time.

        Raises:
            sqlite3.Error: the disk is full, or the file cannot be used.
        """
        changed, self._changed = self._changed, {}
        if self.folder is None or not changed:
            return
        try:
            await asyncio.to_thread(_write, self.folder / RECEIVED_FILE, changed.items())
        except BaseException:
            self._changed = changed | self._changed
            raise

    def _put(self, key: AgentKey, received: ReceivedAgent) -> None:
        agents = self._by_site.setdefault(key[0], OrderedDict())
        self._count += key not in agents
        agents[key] = received
        agents.move_to_end(key)
        self._by_site.move_to_end(key[0])
        if len(agents) > MAX_AGENTS_KEPT_PER_SITE:
            self._remove_oldest(agents)
        elif self._count > MAX_AGENTS_KEPT:
            site = next(iter(self._by_site))
            self._remove_oldest(self._by_site[site])
            if not self._by_site[site]:
                del self._by_site[site]

    def _remove_oldest(self, agents: "OrderedDict[AgentKey, ReceivedAgent]") -> None:
        key, _ = agents.popitem(last=False)
        self._count -= 1
        self._changed[key] = None


def _write(path: Path, changed: Iterable[tuple[AgentKey, ReceivedAgent | None]]) -> None:
    changes = list(changed)
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(_DELETE, [key for key, received in changes if received is None])
        database.executemany(
            _UPSERT,
            [
                (*key, one.boot_number, one.boot_id, one.report_sequence, one.status_sequence)
                for key, one in changes
                if one is not None
            ],
        )
