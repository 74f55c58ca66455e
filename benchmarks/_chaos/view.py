"""Shows the checker a moment of the world: what is exported, and what really runs."""

import sqlite3
from dataclasses import dataclass, field

from benchmarks._chaos.checker.sight import (
    LedgerRow,
    Lowered,
    PodsSeen,
    Raw,
    Sight,
    SiteSeen,
    Write,
)
from benchmarks._chaos.site import ChaosSite
from benchmarks._chaos.world import World, settings_of
from scheduler.control.ports.hub import GRANTS, SITES, WORKLOADS

_LIE_SECONDS = 600.0
_LIES_OF_ROOM = ("capacity", "bound", "orders")
"""A site that lies about these may get more than it has; it harms itself alone."""

_NO_ROWS: tuple[LedgerRow, ...] = ()


@dataclass(slots=True)
class Viewer:
    """Looks at the world; keeps what it needs to show only what is new."""

    world: World
    _heard: dict[str, float] = field(default_factory=dict)
    _lied: dict[str, float] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)
    _sites: dict[str, Raw] = field(default_factory=dict)
    _grants: dict[str, Raw] = field(default_factory=dict)
    _leader: object = None
    _leading_since: float | None = None
    _seq: int = 0

    def look(self, *, is_whole: bool, is_calm: bool) -> Sight:
        """The present moment."""
        world = self.world
        now = world.clock.monotonic()
        if is_whole:
            world.replay_some()
        changed = self._read_objects()
        hub = world.hub
        writes = tuple(Write(one.before, one.after, one.lease_epoch, one.at) for one in hub.writes)
        removed = tuple(hub.removed)
        hub.writes.clear()
        hub.removed.clear()
        freed, hub.freed = hub.freed, {}
        leader = world.leader
        lowered = tuple(Lowered(at=now, site=s, order=o, left=n) for s, o, n in world.lowered)
        world.lowered.clear()
        replays, world.replays = tuple(world.replays), []
        return Sight(
            now=now,
            leading_since=self._leading(now),
            listening_since=None if leader is None else leader.started_at,
            sites={one.name: self._site(one, now) for one in world.sites},
            site_objects=self._sites,
            grants=self._grants,
            workloads={
                (one["metadata"]["namespace"], one["metadata"]["name"]): one
                for one in hub.every(WORKLOADS)
            },
            changed=changed,
            freed=freed,
            wall=world.clock.now() if now >= world.clock.right_from_seconds else None,
            writes=writes,
            removed=removed,
            lowered=lowered,
            ended=self._ended(),
            rows=self._rows() if writes else _NO_ROWS,
            replays=replays,
            faults=dict(world.faults),
            lease_epoch=hub.lease_epoch(),
            takings=hub.takings,
            is_alive=not any(one.task.done() for one in world.schedulers),
            is_calm=is_calm,
            is_whole=is_whole,
            report_seconds=world.story.report_seconds,
            failover_seconds=settings_of(world.story.variant).failover.after_seconds,
        )

    def _read_objects(self) -> frozenset[str]:
        """Reads Sites and grants; returns the sites that differ from the last time."""
        changed = set()
        sites = {one["metadata"]["name"]: one for one in self.world.hub.every(SITES)}
        grants = {one["metadata"]["name"]: one for one in self.world.hub.every(GRANTS)}
        for name, one in sites.items():
            if (self._sites.get(name) or {}).get("spec") != one["spec"]:
                changed.add(name)
        for name in grants.keys() | self._grants.keys():
            if grants.get(name) is not self._grants.get(name):
                changed.add(f"s{name[1:]}")
        self._sites, self._grants = sites, grants
        return frozenset(changed)

    def _leading(self, now: float) -> float | None:
        """Since when one scheduler decides, and nothing hinders it."""
        world = self.world
        leader = world.leader
        hindered = (
            world.hub.fault_ratio > 0
            or not world.broker.is_up
            or leader is None
            or leader.access.is_cut
            or len(world.schedulers) > 1
        )
        if hindered:
            self._leader, self._leading_since = None, None
        elif leader is not self._leader:
            self._leader, self._leading_since = leader, now
        return self._leading_since

    def _site(self, one: ChaosSite, now: float) -> SiteSeen:
        if one.heard_at is not None:
            self._heard[one.name] = one.heard_at
        if one.lies in _LIES_OF_ROOM:
            self._lied[one.name] = now
        index = one.disk.index
        return SiteSeen(
            cores=one.cluster.cores,
            orders={
                order: PodsSeen(
                    wanted=0 if pods.stops_at is not None else pods.replicas,
                    bound=len(pods.nodes),
                    ready=pods.ready(now),
                    epoch=pods.epoch,
                    cores=pods.cores,
                    is_ended=pods.ended,
                    is_stopping=pods.stops_at is not None,
                )
                for order, pods in one.cluster.pods.items()
            },
            version=index.version if index else None,
            is_running=one.is_running,
            is_linked=one.is_running and one.hears and one.speaks,
            heard_at=self._heard.get(one.name, 0.0),
            disks=one.disks,
            lies=now - self._lied.get(one.name, -1e9) < _LIE_SECONDS,
        )

    def _ended(self) -> tuple[tuple[str, str], ...]:
        found = []
        for site in self.world.sites:
            found += [(site.name, order) for order in site.ended_runs]
            site.ended_runs.clear()
        return tuple(found)

    def _rows(self) -> tuple[LedgerRow, ...]:
        with sqlite3.connect(self.world.folder / "ledger.db") as database:
            found = database.execute(
                "SELECT seq, id, hash, body FROM records WHERE seq > ? ORDER BY seq", (self._seq,)
            ).fetchall()
        database.close()
        rows = tuple(
            LedgerRow(seq=seq, id=name, hash=digest, body=_bytes_of(body))
            for seq, name, digest, body in found
        )
        self._seq = rows[-1].seq if rows else self._seq
        return rows


def _bytes_of(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)
