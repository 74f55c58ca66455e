"""Deltas of the index: only the complete index that the hub has signed changes anything."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.metrics.counters import Counters
from agents.mqtt.router import MessageRouter
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.index import DESIRED_INDEX, IndexEntry, digest_of
from agents.protocol.index_delta import INDEX_DELTA, IndexDelta
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.topics import site_topic
from tests.support.wire_hub import Message, WireHub

HUB = WireHub(key=SigningKey(bytes(range(32))))
FOREIGN = WireHub(key=SigningKey(bytes(32)))
ELSEWHERE = WireHub(site="site-b", key=HUB.key)
GOLDEN = Path(__file__).parents[3] / "golden"


def entry(name: str, generation: int = 1) -> IndexEntry:
    digest = digest_of(f"{name} {generation}".encode())
    return IndexEntry(id=f"hub/{name}/{name}/1", generation=generation, digest=digest)


A, B, C, D = map(entry, "abcd")
BASE = HUB.index_of(1, [A, B], is_base=True)
BASE_OK = HUB.delta(1, BASE, [A, B])
FIRST = HUB.delta(2, BASE, [A, B, C])
SECOND = HUB.delta(3, BASE, [A, C])
NEXT_BASE = HUB.index_of(4, [A, C, D], is_base=True)
NEXT_OK = HUB.delta(4, NEXT_BASE, [A, C, D])
THIRD = HUB.delta(5, NEXT_BASE, [A, D])


class Site:
    """An intake with its router, as in the agent."""

    def __init__(self, folder: Path, hub: WireHub = HUB) -> None:
        self.folder, self.name, self.trusted = folder, hub.site, TrustedKeys([hub.key.public])
        self.restart()

    def restart(self) -> None:
        """As after a kill: only what is on disk is there."""
        self.intake = Intake(
            site=self.name,
            trusted_keys=self.trusted,
            journal=Journal(self.folder / "journal.sqlite"),
        )
        self.counters, self.indexes, self.asked = Counters(), 0, 0
        self.router = MessageRouter(
            site=self.name,
            agent="main",
            intake=self.intake,
            counters=self.counters,
            on_index=self._count_index,
            on_order_content=lambda: None,
            on_order_part=lambda: None,
            on_hub_request=lambda _word: None,
            on_base_missing=self._count_asked,
        )

    def _count_index(self) -> None:
        self.indexes += 1

    def _count_asked(self) -> None:
        self.asked += 1

    def hear(self, *messages: Message, is_retained: bool = False) -> "Site":
        for name, payload in messages:
            self.router.handle(name, payload, is_retained=is_retained)
        return self

    @property
    def runs(self) -> tuple[int, str]:
        """The sequence that it works by, and its orders by their letters."""
        index = self.intake.index
        if index is None:
            return (0, "")
        assert self.intake.echo
        assert self.intake.echo.digest == digest_of(DESIRED_INDEX.encode(index))
        return (index.sequence, "".join(one.id[4] for one in index.orders))

    @property
    def bad(self) -> dict[str, int]:
        return self.counters.bad_messages()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_base_counts_with_a_delta_only(site: Site) -> None:
    assert site.hear(BASE).runs == (0, "")
    assert site.hear(BASE_OK).runs == (1, "ab")
    assert site.hear(FIRST).runs == (2, "abc")
    assert site.hear(SECOND).runs == (3, "ac")
    assert (site.bad, site.indexes, site.asked) == ({}, 3, 0)


def test_any_deltas_may_be_lost(site: Site) -> None:
    assert site.hear(BASE, SECOND).runs == (3, "ac")
    assert site.hear(NEXT_BASE).runs == (3, "ac")
    assert site.hear(THIRD).runs == (5, "ad")
    assert site.bad == {}


def test_a_site_without_a_journal_never_works_by_the_base_of_the_past(site: Site) -> None:
    """Else it would withdraw what was added since the base."""
    assert site.hear(BASE, SECOND).indexes == 1
    assert site.runs == (3, "ac")


def test_a_delta_may_come_before_its_base(site: Site) -> None:
    assert site.hear(FIRST).runs == (0, "")
    assert (site.asked, site.intake.wants_full_index) == (1, True)
    assert site.hear(BASE).runs == (2, "abc")
    assert not site.intake.wants_full_index
    assert site.hear(THIRD).runs == (2, "abc")
    assert site.hear(NEXT_BASE).runs == (5, "ad")
    assert site.bad == {"unknown-base": 2}


def test_after_a_restart_it_goes_on_where_it_was(site: Site) -> None:
    site.hear(BASE, FIRST)
    site.restart()
    assert site.runs == (2, "abc")
    proof = site.intake.read_proof()
    assert proof
    assert proof.encode() == FIRST[1]
    assert site.hear(BASE, FIRST).runs == (2, "abc"), "what is retained comes in every session"
    assert (site.bad, site.indexes) == ({}, 0)
    assert site.hear(SECOND).runs == (3, "ac")


def test_without_its_base_a_delta_changes_nothing_and_the_whole_index_is_asked_for(
    site: Site,
) -> None:
    site.hear(BASE, FIRST, THIRD)
    assert site.runs == (2, "abc")
    assert (site.asked, site.intake.wants_full_index) == (1, True)
    assert site.hear(HUB.index_of(6, [D])).runs == (6, "d")
    assert not site.intake.wants_full_index
    assert site.hear(NEXT_BASE, THIRD).runs == (6, "d"), "older than what it works by"
    assert site.bad == {"unknown-base": 1, "stale": 1}


def test_a_whole_index_ends_deltas_and_a_new_base_begins_them(site: Site) -> None:
    site.hear(BASE, FIRST, HUB.index_of(3, [A]), HUB.delta(9, BASE, [A, B]))
    assert site.runs == (3, "a")
    assert site.bad == {"unknown-base": 1}
    assert site.hear(NEXT_BASE, NEXT_OK).runs == (4, "acd")


def changed(message: Message, **more: object) -> Message:
    delta: IndexDelta = INDEX_DELTA.decode(HUB.payload_of(message))
    more = {"sequence": 9, "digest": digest_of(b""), **more}
    return HUB.sealed("desired/delta", INDEX_DELTA.encode(replace(delta, **more)))  # type: ignore[arg-type]


def renamed(message: Message) -> Message:
    return (site_topic("site-a", "desired/delta"), message[1])


HOSTILE: dict[str, tuple[Callable[[], Message], dict[str, int]]] = {
    "rolled back": (lambda: FIRST, {"stale": 1}),
    "the empty one of the base": (lambda: BASE_OK, {"stale": 1}),
    "repeated": (lambda: SECOND, {}),
    "empty": (lambda: (SECOND[0], b""), {}),
    "of another site": (
        lambda: renamed(ELSEWHERE.delta(9, ELSEWHERE.index_of(1, [A]), [B])),
        {"signature": 1},
    ),
    "that names another site": (
        lambda: changed(SECOND, site="site-b"),
        {"wrong-site": 1},
    ),
    "of an earlier site of this name": (
        lambda: changed(SECOND, site_uid="uid-0"),
        {"wrong-site": 1},
    ),
    "of another base": (lambda: THIRD, {"unknown-base": 1}),
    "with another digest": (lambda: changed(SECOND), {"digest": 1}),
    "that removes an unknown order": (
        lambda: changed(SECOND, removed=("hub/z/z/1",)),
        {"unknown-order": 1},
    ),
    "that removes an order twice": (
        lambda: changed(SECOND, removed=(B.id, B.id)),
        {"malformed": 1},
    ),
    "that lists an order twice": (
        lambda: changed(SECOND, orders=(C, C)),
        {"malformed": 1},
    ),
    "of another key": (lambda: FOREIGN.delta(9, FOREIGN.index_of(1, [A]), [B]), {"unknown-key": 1}),
    "an index on its topic": (lambda: renamed(HUB.index_of(9, [])), {"signature": 1}),
    "a delta on the topic of the index": (
        lambda: (site_topic("site-a", "desired"), HUB.delta(9, BASE, [])[1]),
        {"signature": 1},
    ),
    "no delta": (lambda: HUB.sealed("desired/delta", b"{}"), {"malformed": 1}),
    "no JSON": (lambda: (SECOND[0], b"\x00"), {"malformed": 1}),
    "at the end of the counter": (
        lambda: HUB.delta(2**53, BASE, [A]),
        {"too-large": 1},
    ),
    "that inflates to too much": (
        lambda: HUB.sealed("desired/delta", b'{"x":"' + b" " * 5_000_000 + b'"}'),
        {"too-large": 1},
    ),
    "of too many orders": (
        lambda: HUB.sealed(
            "desired/delta",
            b'{"base":"b","digest":"d","epoch":1,"orders":[],"removed":['
            + b",".join([b'"x"'] * 20_001)
            + b'],"sequence":9,"site":"site-a","siteUid":"u"}',
        ),
        {"too-large": 1},
    ),
    "a base of the past": (lambda: HUB.index_of(0, [], is_base=True), {"stale": 1}),
    "a base that lists an order twice": (
        lambda: HUB.index_of(9, [D, D], is_base=True),
        {"malformed": 1},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_deltas_are_counted_by_name_and_change_nothing(site: Site, name: str) -> None:
    make, counted = HOSTILE[name]
    site.hear(BASE, FIRST, SECOND)
    site.hear(make())
    assert (site.runs, site.bad) == ((3, "ac"), counted)
    assert site.hear(HUB.delta(10, BASE, [A, B, D])).runs == (10, "abd"), "it goes on"
    site.restart()
    assert site.runs == (10, "abd")


@pytest.mark.parametrize("step", ["step-5", "step-7", "step-8"])
def test_the_journal_of_a_version_before_opens_and_takes_deltas(tmp_path: Path, step: str) -> None:
    def kept(name: str) -> bytes:
        return gzip.decompress((GOLDEN / step / f"{name}.gz").read_bytes())

    (tmp_path / "journal.sqlite").write_bytes(kept("journal.sqlite"))
    hub = WireHub(site="gz-core", key=SigningKey(kept("hub.key")), epoch=2)
    site = Site(tmp_path, hub)
    assert site.intake.index
    before = site.intake.index.orders
    assert before
    base = hub.index_of(1, before, is_base=True)
    site.hear(base, hub.delta(2, base, [*before, A]))
    assert site.bad == {}
    assert site.intake.index.orders == tuple(sorted((*before, A), key=lambda one: one.id))


def test_the_journal_is_one_that_a_version_before_reads(site: Site) -> None:
    """What is kept is the complete index, as if it had come whole."""
    site.hear(BASE, SECOND)
    [kept] = site.intake.journal.accepted_indexes("site-a")
    index = DESIRED_INDEX.decode(kept.payload)
    assert (index.sequence, [one.id for one in index.orders]) == (3, [A.id, C.id])
    assert (kept.epoch, kept.sequence, kept.digest) == (1, 3, digest_of(kept.payload))
