"""What a report costs the scheduler: from the payload as it arrives to the figures of its site.

A report is verified, decoded, checked and turned into figures by the scheduler's own code; what the
connection with the broker costs is not in it. `ratio` is the CPU time of a report over that of the
one Ed25519 verification that it cannot do without; the two are measured in turn. An agent whose
site has not changed sends a heartbeat, which has no signature.

    python -m benchmarks ingest --json
    python -m benchmarks ingest --reports 500 --nodes 100
"""

import argparse
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.envelope import seal
from agents.protocol.heartbeat.chain import ReportedHeartbeats, SentChain
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    FreeRow,
    OrderBoundPods,
    Report,
    ReportedEnergy,
    ReportedExecutor,
    ReportedHost,
    ReportedNodeClass,
    ReportedPower,
)
from agents.protocol.topics import site_topic
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.nonces import NonceBook
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.faults import Faults

_CASES = ("full-changed", "full-unchanged", "delta-changed", "delta-unchanged", "heartbeat")
_SITES = 20
_ROUNDS = 5
_CLASSES, _CORES, _GIB = 2, 64, 2**30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's own arguments."""
    parser.add_argument(
        "--reports", type=int, default=200, metavar="N", help="of each site (default: %(default)s)"
    )
    parser.add_argument(
        "--nodes", type=int, default=20, metavar="N", help="of each site (default: %(default)s)"
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row for each case: full reports and deltas, changed and unchanged, and heartbeats."""
    return [_measure(case, arguments) for case in _CASES]


@dataclass(slots=True)
class _Received:
    """Takes every event and keeps the number of reports; any other event is an error."""

    reports: int = 0

    def on_report(self, _report: object) -> None:
        self.reports += 1


class _Refusals:
    """Telemetry that keeps why messages were refused."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()

    def count_bad_message(self, kind: str) -> None:
        self.reasons.add(kind)

    def __getattr__(self, _name: str) -> Any:  # noqa: ANN401 - any other method of the port
        return lambda *_words, **_more: None


@dataclass(slots=True)
class _Site:
    """A site that reports."""

    name: str
    nodes: int
    key: SigningKey
    chance: random.Random
    sequence: int = 0
    base: Report | None = None
    chain: SentChain | None = None
    free: list[int] = field(default_factory=list)

    def messages(self, case: str, count: int) -> Iterator[bytes]:
        """A full report, and so many messages of the case."""
        self.free = [self.chance.randrange(1_000, 60_000) for _ in range(self.nodes)]
        self.base = self._report()
        yield self._sealed(REPORT.encode(self.base))
        if case == "heartbeat":
            yield from self._heartbeats(count)
            return
        for _ in range(count):
            if case.endswith("-changed"):
                self.free[self.chance.randrange(self.nodes)] = self.chance.randrange(1_000, 60_000)
            report = self._report()
            if case.startswith("full"):
                yield self._sealed(REPORT.encode(report))
            else:
                yield self._sealed(REPORT_DELTA.encode(compute_delta(self.base, report)))

    def _heartbeats(self, count: int) -> Iterator[bytes]:
        """So many heartbeats, and before each chain the report that names it."""
        for _ in range(count):
            heartbeat = self.chain.next_heartbeat() if self.chain else None
            if heartbeat is None:
                self.chain = SentChain(site_topic(self.name, "report"), self.chance.randbytes)
                said = ReportedHeartbeats(anchor=self.chain.anchor, observed_within_seconds=0.5)
                heartbeat = self._sealed(REPORT.encode(replace(self._report(), heartbeats=said)))
            yield heartbeat

    def _report(self) -> Report:
        self.sequence += 1
        classes = tuple(
            ReportedNodeClass(
                labels={"topology.kubernetes.io/zone": f"z{each}", "kubernetes.io/os": "linux"},
                architecture="amd64",
                cpu_vendor="hygon",
                free=tuple(self._row(free) for free in self.free[each::_CLASSES]),
            )
            for each in range(_CLASSES)
        )
        report = Report(
            agent="main",
            boot_id="b" * 16,
            boot_number=1,
            sequence=self.sequence,
            observed_seconds_ago=0.1,
            site=self.name,
            interval_seconds=10.0,
            node_classes=classes,
            orders=tuple(
                OrderBoundPods(id=f"hub/team/app-{each}/i", generation=1, bound=3)
                for each in range(self.nodes)
            ),
            api_kinds=tuple(f"group{each}/v1/Kind{each}" for each in range(30)),
            power=ReportedPower(watts=4_000.0 + self.sequence, origin="measured"),
            energy=ReportedEnergy(counter_id="c", it_joules=1e9, origin="measured"),
            host=ReportedHost(hostname="edge", processors=8, load_ratio=0.1),
            executor=ReportedExecutor(is_active=True, server_version="v1.36.0"),
        )
        return canonicalise_report(report)

    @staticmethod
    def _row(milli: int) -> FreeRow:
        memory = str(milli * _GIB // 1_000)
        return FreeRow(count=1, resources={"cpu": f"{milli}m", "memory": memory, "pods": 80})

    def _sealed(self, payload: bytes) -> bytes:
        return seal(payload, topic=site_topic(self.name, "report"), key=self.key)


def _measure(case: str, arguments: argparse.Namespace) -> dict[str, object]:
    seconds, verify_seconds, count = 0.0, 0.0, arguments.reports
    chance, received = random.Random(arguments.seed), _Received()  # noqa: S311 - a benchmark, seeded
    sites = [
        _Site(f"site-{number}", arguments.nodes, SigningKey.generate(), chance)
        for number in range(_SITES)
    ]
    refusals = _Refusals()
    ingest, per_round = _ingest_of(sites, received, refusals), max(1, count // (_SITES * _ROUNDS))
    size = 0
    streams = [(site, site.messages(case, per_round * _ROUNDS)) for site in sites]
    for site, stream in streams:
        ingest.handle(site_topic(site.name, "report"), next(stream))
    for _ in range(_ROUNDS):
        batch = [(site, next(stream)) for _ in range(per_round) for site, stream in streams]
        size = max(len(message) for _, message in batch)
        started = time.process_time()
        for site, message in batch:
            ingest.handle(site_topic(site.name, "report"), message)
        seconds += time.process_time() - started
        verify_seconds += _verify_seconds([message for _, message in batch])
    handled = received.reports - len(sites)
    if handled != per_round * _ROUNDS * len(sites):
        raise ValueError(f"{case}: not every report was taken in: {sorted(refusals.reasons)}")
    return {
        "case": case,
        "reports_per_second": round(handled / seconds),
        "us_per_report": round(seconds / handled * 1e6, 1),
        "verify_us": round(verify_seconds / handled * 1e6, 1),
        "ratio": round(seconds / verify_seconds, 2),
        "message_bytes": size,
        "rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _verify_seconds(messages: list[bytes]) -> float:
    """CPU time of verifying as many messages of the same sizes."""
    key = SigningKey.generate()
    signed = [(key.sign(message), message) for message in messages]
    started = time.process_time()
    for signature, message in signed:
        key.public.is_valid_signature(signature, message)
    return time.process_time() - started


def _ingest_of(sites: list[_Site], received: _Received, refusals: _Refusals) -> Ingest:
    clock, keyring = SystemClock(), Keyring()
    for site in sites:
        keyring.admit(site.name, [str(site.key.public)])
    nonces = NonceBook(asker="scheduler-1", secret=b"benchmark", clock=clock)
    return Ingest(
        keyring=keyring,
        listener=received,  # type: ignore[arg-type]  # nothing but reports arrives
        telemetry=refusals,
        clock=clock,
        faults=Faults(clock=clock, count=lambda _edge: None),
        asker=SiteAsker(nonces=nonces, clock=clock),
    )
