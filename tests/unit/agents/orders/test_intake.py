"""Desired state: the newest signed index wins, whatever arrives in whatever order."""

import base64
import json
import random
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.metrics.counters import Counters
from agents.mqtt.router import MessageRouter
from agents.orders.intake import Intake
from agents.orders.journal import Journal, JournalError, ObjectKey, load_applied_generations
from agents.protocol.bounds import MAX_ENVELOPE_BYTES
from agents.protocol.envelope import seal
from agents.protocol.hub_requests import FETCH_ORDERS, WANT_FULL_REPORT, WANT_STATUS
from agents.protocol.index import IndexEntry
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import PackedOrder
from agents.protocol.topics import order_topic, site_topic
from tests.support.counts import examples
from tests.support.wire_hub import Message, WireHub, config_map, packed

HUB = WireHub(key=SigningKey(bytes(range(32))))
UNADMITTED = WireHub(key=SigningKey(bytes(32)))
ELSEWHERE = WireHub(site="site-b", key=HUB.key)


class Site:
    """An intake with its router, as in the agent."""

    def __init__(self, folder: Path, *trusted: SigningKey) -> None:
        self.folder = folder
        self.trusted = TrustedKeys(key.public for key in (trusted or (HUB.key,)))
        self.wants: list[str] = []
        self.restart()

    def restart(self) -> None:
        """As after a kill: only what is on disk is there."""
        self.journal = Journal(self.folder / "journal.sqlite")
        self.intake = Intake(site="site-a", trusted_keys=self.trusted, journal=self.journal)
        self.counters = Counters()
        self.router = MessageRouter(
            site="site-a",
            agent="main",
            intake=self.intake,
            counters=self.counters,
            on_index=lambda: self.wants.append("index"),
            on_order_content=lambda: self.wants.append("content"),
            on_order_part=lambda: None,
            on_hub_request=self.wants.append,
            on_index_held_back=lambda: self.wants.append("held back"),
        )

    def hear(self, *messages: Message, is_retained: bool = False) -> None:
        for name, payload in messages:
            self.router.handle(name, payload, is_retained=is_retained)

    @property
    def version(self) -> tuple[int, int] | None:
        return self.intake.index.version if self.intake.index else None

    @property
    def bad(self) -> dict[str, int]:
        return self.counters.bad_messages()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def order(name: str = "web", value: str = "x", generation: int = 1) -> PackedOrder:
    [one] = packed(HUB.content(name, config_map(value=value), generation=generation))
    return one


def test_an_index_and_its_content_are_taken(site: Site) -> None:
    one = order()
    site.hear(HUB.index(1, one))
    assert site.intake.missing_entries() == (one.entry,)
    site.hear(*HUB.orders(one))
    assert site.intake.missing_entries() == ()
    content = site.intake.content_of(one.entry)
    assert content is not None
    assert content.manifests == (config_map(value="x"),)
    assert (site.wants, site.bad) == (["index", "content"], {})


def test_content_that_comes_before_its_index_is_asked_for_again(site: Site) -> None:
    one = order()
    site.hear(*HUB.orders(one), HUB.index(1, one))
    assert site.intake.missing_entries() == (one.entry,)
    site.hear(*HUB.orders(one))
    assert site.intake.missing_entries() == ()


def test_all_of_it_is_on_disk(site: Site) -> None:
    one = order()
    site.hear(HUB.index(7, one), *HUB.orders(one))
    echo = site.intake.echo
    site.restart()
    assert (site.version, site.intake.echo, site.intake.missing_entries()) == ((1, 7), echo, ())


@pytest.mark.parametrize("older", [(1, 6), (0, 99), (1, 0)])
def test_an_older_index_is_refused_also_after_a_restart(site: Site, older: tuple[int, int]) -> None:
    site.hear(HUB.index(7, order()))
    site.restart()
    site.hear(HUB.index(older[1], epoch=older[0]))
    assert site.version == (1, 7)
    assert site.bad == {"stale": 1}


def test_a_new_epoch_begins_its_own_sequence(site: Site) -> None:
    site.hear(HUB.index(7, order()), HUB.index(1, epoch=2))
    assert site.version == (2, 1)


def test_the_same_index_twice_changes_nothing(site: Site) -> None:
    site.hear(HUB.index(7), HUB.index(7))
    assert (site.wants, site.bad) == (["index"], {})


def test_two_indexes_of_one_version_but_other_content_are_named(site: Site) -> None:
    site.hear(HUB.index(7), HUB.index(7, order()))
    assert site.bad == {"stale": 1}
    assert site.intake.missing_entries() == ()


def test_an_empty_payload_means_nothing(site: Site) -> None:
    one = order()
    site.hear(HUB.index(1, one), *HUB.orders(one))
    site.hear((site_topic("site-a", "desired"), b""), (order_topic("site-a", one.entry.id), b""))
    assert site.version == (1, 1)
    assert site.intake.content_of(one.entry) is not None
    assert site.bad == {}


def test_an_index_under_an_unknown_key_is_refused(site: Site) -> None:
    site.hear(UNADMITTED.index(1))
    assert (site.version, site.bad) == (None, {"unknown-key": 1})


def test_an_index_of_another_site_is_refused_on_our_topic_and_on_its_own(site: Site) -> None:
    name, payload = ELSEWHERE.index(1)
    site.hear((site_topic("site-a", "desired"), payload), (name, payload))
    # Signed for our topic by the hub itself, yet naming another site: a mistake of the hub's.
    site.hear(HUB.index(1, site="site-b"))
    assert (site.version, site.bad) == (None, {"signature": 1, "wrong-site": 2})


def test_an_order_of_another_site_is_refused(site: Site) -> None:
    [foreign] = packed(ELSEWHERE.content("web", config_map()))
    site.hear(HUB.index(1, foreign))
    for _, payload in ELSEWHERE.orders(foreign):
        site.hear((order_topic("site-a", foreign.entry.id), payload))
    site.hear(*HUB.orders(foreign))  # by the hub's mistake under our topic
    assert site.intake.missing_entries() == (foreign.entry,)
    assert site.bad == {"signature": 1, "wrong-site": 1}


def test_content_of_another_generation_is_not_used(site: Site) -> None:
    one, two = order(value="x"), order(value="y", generation=2)
    site.hear(HUB.index(1, two), *HUB.orders(one))
    assert site.intake.missing_entries() == (two.entry,)
    assert site.bad == {"digest": 1}
    site.hear(*HUB.orders(two))
    assert site.intake.missing_entries() == ()


def test_content_that_nobody_asked_for_is_ignored(site: Site) -> None:
    site.hear(*HUB.orders(order()))
    assert site.journal.content_digests() == frozenset()


def test_content_that_no_index_names_any_more_is_dropped(site: Site) -> None:
    one, two = order("one"), order("two")
    site.hear(HUB.index(1, one, two), *HUB.orders(one, two), HUB.index(2, two))
    assert site.journal.content_digests() == {two.entry.digest}


def test_an_index_that_lists_an_order_twice_is_refused(site: Site) -> None:
    one, two = order(value="x"), order(value="y")
    site.hear(HUB.index(1, one, two))
    assert (site.version, site.bad) == (None, {"malformed": 1})


def big_order() -> PackedOrder:
    noise = base64.b64encode(random.Random(1).randbytes(500_000)).decode()  # noqa: S311 - no secret
    [one] = packed(HUB.content("big", config_map(value=noise)))
    return one


def test_large_content_is_whole_when_its_last_part_is_here(site: Site) -> None:
    one = big_order()
    assert one.entry.parts > 1
    site.hear(HUB.index(1, one))
    first, *others = HUB.orders(one)
    site.hear(*others, others[-1])
    assert site.intake.missing_topics_of(one.entry) == (first[0],)
    site.hear(first)
    assert site.intake.missing_entries() == ()


def test_a_key_change_is_seamless_and_then_the_old_key_is_nobody(tmp_path: Path) -> None:
    new = WireHub(key=SigningKey.generate())
    site = Site(tmp_path, HUB.key, new.key)
    site.hear(HUB.index(7), new.index(6), new.index(8))
    assert (site.version, site.bad) == ((1, 8), {"stale": 1})
    site.trusted = TrustedKeys([new.key.public])
    site.restart()
    site.hear(HUB.index(9))
    assert (site.version, site.bad) == ((1, 8), {"unknown-key": 1})


def test_a_hub_made_anew_has_a_new_key_and_begins_anew(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hear(HUB.index(99))
    site.trusted = TrustedKeys([UNADMITTED.key.public])
    site.restart()
    assert site.version is None
    site.hear(UNADMITTED.index(1))
    assert site.version == (1, 1)


def test_the_hub_asks_and_only_known_words_are_heard(site: Site) -> None:
    site.hear(HUB.request(WANT_FULL_REPORT, "of-a-later-version", WANT_STATUS))
    site.hear(HUB.request(FETCH_ORDERS, agent="another"), HUB.request(FETCH_ORDERS, agent="main"))
    site.hear(UNADMITTED.request(WANT_STATUS))
    assert site.wants == [WANT_FULL_REPORT, WANT_STATUS, FETCH_ORDERS]
    assert site.bad == {"unknown-key": 1}


# ---------------------------------------------------------------- hostile


def bomb(name: str) -> bytes:
    return seal(zlib.compress(bytes(64 << 20), 9), topic=name, key=HUB.key, encoding="deflate")


def deep(name: str) -> bytes:
    return seal(b'{"site":' + b"[" * 100_000, topic=name, key=HUB.key)


HOSTILE: dict[str, Callable[[str], bytes]] = {
    "empty object": lambda _name: b"{}",
    "not JSON": lambda _name: b"\x00\xff garbage",
    "deep JSON": lambda _name: b"[" * 500_000,
    "YAML aliases": lambda _name: b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "oversized": lambda _name: b" " * (MAX_ENVELOPE_BYTES + 1),
    "bomb": bomb,
    "signed deep JSON": deep,
    "signed nonsense": lambda name: seal(b"[1,2]", topic=name, key=HUB.key),
    "signed NaN": lambda name: seal(b'{"epoch":NaN}', topic=name, key=HUB.key),
    "unknown key": lambda name: seal(b"{}", topic=name, key=UNADMITTED.key),
    "truncated": lambda _name: HUB.index(9)[1][:-7],
}


@pytest.mark.parametrize("kind", ["desired", "hub", "orders"])
@pytest.mark.parametrize("what", list(HOSTILE))
def test_hostile_messages_are_counted_and_change_nothing(site: Site, kind: str, what: str) -> None:
    one = order()
    site.hear(HUB.index(1, one))
    name = order_topic("site-a", one.entry.id) if kind == "orders" else site_topic("site-a", kind)  # type: ignore[arg-type]
    site.hear((name, HOSTILE[what](name)))
    assert sum(site.bad.values()) == 1
    assert site.version == (1, 1)
    site.hear(*HUB.orders(one))
    assert site.intake.missing_entries() == (), "the process goes on"


@given(name=st.text(max_size=80), payload=st.binary(max_size=80))
@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_message_whatever_raises(site: Site, name: str, payload: bytes) -> None:
    site.hear(
        (name, payload),
        (site_topic("site-a", "desired"), payload),
        (site_topic("site-a", "report"), payload),
    )
    assert site.version is None


@given(data=st.data())
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lost_doubled_and_reordered_messages_end_in_the_newest_state(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    history = [[order(name, f"{step}", step) for name in "abc"[:step]] for step in (1, 2, 3)]
    sent = [HUB.index(step, *orders) for step, orders in enumerate(history, 1)]
    sent += [message for orders in history for message in HUB.orders(*orders)]
    site.hear(*data.draw(st.lists(st.sampled_from(sent), max_size=12)))
    if data.draw(st.booleans()):
        site.restart()
    site.hear(sent[2])
    site.hear(
        *(
            m
            for m in sent
            if m[0]
            in {t for e in site.intake.missing_entries() for t in site.intake.missing_topics_of(e)}
        )
    )
    assert site.version == (1, 3)
    assert site.intake.missing_entries() == ()


# ---------------------------------------------------------------- journal


def test_a_spoilt_journal_is_moved_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    journal = Journal(path)
    assert journal.applied_generations() == {}
    assert (tmp_path / "journal.spoilt").exists()
    assert path.stat().st_mode & 0o077 == 0


def test_a_journal_that_is_only_locked_is_not_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).record_applied("x", 1)
    monkeypatch.setattr("agents.orders.journal._LOCK_SECONDS", 0.05)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="locked"):
        Journal(path).record_applied("y", 1)
    other.close()
    assert load_applied_generations(path) == {"x": 1}
    assert load_applied_generations(tmp_path / "none") == {}


def test_a_full_disk_costs_the_message_not_the_agent(site: Site) -> None:
    site.hear(HUB.index(1))
    site.journal.close()
    site.hear(HUB.index(2, order()))
    assert site.version == (1, 1)
    assert "journal_errors_total 1" in site.counters.render()


def test_what_was_done_is_kept_by_order_and_forgotten_by_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    key = ObjectKey("batch/v1", "Job", "a", "night")
    for order_id in ("x", "y"):
        journal.record_applied(order_id, 3)
        journal.record_created(order_id, [key, key])
        journal.record_finished(order_id, key, "Succeeded")
        journal.record_finished(order_id, key, "Failed")
    journal.forget_order("y")
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.applied_generations() == {"x": 3}
    assert journal.created_objects() == {"x": {key}}
    assert journal.finished_jobs_of("x") == {("Job", "a", "night"): "Succeeded"}, (
        "the first outcome stays"
    )
    assert journal.finished_jobs_of("y") == {}


def test_an_index_on_disk_that_this_version_cannot_read_is_as_none(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hear(HUB.index(1))
    site.journal._database.execute("UPDATE accepted_of_site SET payload = x'00'")  # noqa: SLF001 - a spoilt row
    site.journal._database.commit()  # noqa: SLF001
    site.restart()
    assert site.version is None


def test_a_thousand_orders_fit_into_one_index(site: Site) -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    entries = [IndexEntry(id=f"hub/ns/w{n}/1", generation=1, digest=digest) for n in range(1000)]
    name, payload = HUB.index_of(1, entries)
    site.hear((name, payload))
    assert len(site.intake.missing_entries()) == 1000
    assert len(payload) < 200_000
    assert json.loads(payload)["encoding"] == "deflate"
