"""Freshness: what a nonce allows, what is asked when, and what agents of the version before get."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.errors import WireError
from agents.protocol.report import Report
from scheduler.mqtt.nonces import NonceBook, latest_sent_seconds, observed_seconds_of
from tests.support.fake_clock import FakeClock
from tests.support.nonces import asker_that_sends, carried, make_asker

SECONDS = st.floats(0, 1e9)


def a_report(nonces: dict[str, str] | None, *, agent: str = "main", boot: int = 1) -> Report:
    return Report(
        site="m1",
        agent=agent,
        boot_id=f"boot-{boot}",
        boot_number=boot,
        sequence=1,
        observed_seconds_ago=0.0,
        nonces=nonces,
    )


def advance(clock: FakeClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


# ------------------------------------------------------------ the age rule


@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_a_message_counts_as_no_younger_than_the_issue_of_the_next_nonce(
    arrived: float, issued: float, age: float, later: float
) -> None:
    sent = latest_sent_seconds(arrived, issued)
    assert sent <= arrived
    assert arrived - observed_seconds_of(sent, age) >= arrived - issued
    assert arrived - observed_seconds_of(sent, age) >= age * (1 - 1e-12) - 1e-6
    # An earlier next nonce, a greater age, or no proof of the newest nonce makes nothing younger.
    assert latest_sent_seconds(arrived, issued - later) <= sent
    assert observed_seconds_of(sent, age + later) <= observed_seconds_of(sent, age)
    assert sent <= latest_sent_seconds(arrived, None)


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=40), st.data())
def test_of_two_nonces_the_older_one_never_proves_more(
    gaps: list[float], data: st.DataObject
) -> None:
    clock, values = FakeClock(), []
    book = NonceBook(asker="a", secret=b"s", clock=clock)
    for gap in gaps:
        book.issue("m1")
        newest = book.newest("m1", spread_seconds=0.0)
        assert newest is not None
        values.append(newest.value)
        advance(clock, gap)
    older = data.draw(st.integers(0, len(values) - 2))
    proven = [book.sent_seconds("m1", {"a": value}) for value in (values[older], values[older + 1])]
    assert None not in proven
    assert proven[0] <= proven[1]  # type: ignore[operator]
    assert proven[0] == pytest.approx(sum(gaps[: older + 1]))
    assert book.carries_newest("m1", {"a": values[-1]})
    assert not book.carries_newest("m1", {"a": values[older]})


@pytest.mark.parametrize(
    "value", ["", "1", "1.", "1.00", "2.ffff", "x.y", "9" * 64, "-1.a", "①.a", "0001.a"]
)
def test_a_made_up_nonce_proves_nothing(value: str) -> None:
    book = NonceBook(asker="a", secret=b"s", clock=FakeClock())
    book.issue("m1")
    assert book.sent_seconds("m1", {"a": value}) is None


def test_a_nonce_of_another_scheduler_site_or_process_proves_nothing() -> None:
    clock = FakeClock()
    ours, other = make_asker(clock, asker="a"), make_asker(clock, asker="b")
    for asker in (ours, other):
        for site in ("m1", "m2"):
            asker.admit(site)
            asker.nonce_for(site)
    after_restart = NonceBook(asker="a", secret=b"another", clock=clock)
    after_restart.issue("m1")
    foreign = carried(other, "m1")
    assert ours.nonces.sent_seconds("m1", foreign) is None
    assert ours.nonces.sent_seconds("m1", {"a": foreign["b"]}) is None
    assert ours.nonces.sent_seconds("m1", carried(ours, "m2")) is None
    assert after_restart.sent_seconds("m1", carried(ours, "m1")) is None
    assert ours.nonces.sent_seconds("m1", carried(ours, "m1") | foreign) == 0.0
    assert other.nonces.sent_seconds("m1", carried(ours, "m1") | foreign) == 0.0


def test_what_is_kept_of_a_site_is_bounded_and_very_old_nonces_prove_nothing() -> None:
    book = NonceBook(asker="a", secret=b"s", clock=FakeClock())
    book.issue("m1")
    first = book.newest("m1", spread_seconds=0.0)
    assert first is not None
    for _ in range(1000):
        book.issue("m1")
    assert book.sent_seconds("m1", {"a": first.value}) is None
    assert len(book._issued["m1"].numbers) == 64  # noqa: SLF001 - the bound itself


# ------------------------------------------------------------ who is asked when


def test_a_site_is_asked_at_the_start_after_silence_and_every_interval() -> None:
    clock = FakeClock()
    asker, requests = asker_that_sends(clock, interval_seconds=300.0, silent_after_seconds=45.0)
    asker.admit("m1")
    asker.ask_due()
    assert [(nonce and nonce.number, full) for _, nonce, full, _ in requests.sent] == [(1, True)]
    for _ in range(29):
        asker.sent_seconds("m1", a_report(carried(asker, "m1")))
        advance(clock, 10.0)
        asker.ask_due()
    assert len(requests.sent) == 1, "a site that answers is left alone"
    asker.sent_seconds("m1", a_report(carried(asker, "m1")))
    advance(clock, 10.0)
    asker.ask_due()
    assert len(requests.sent) == 2, "five minutes are over"
    advance(clock, 46.0)
    for _ in range(5):
        asker.ask_due()
        advance(clock, 1.0)
    assert len(requests.sent) == 3, "it fell silent, and is asked once"


def test_what_carries_an_old_nonce_is_asked_again_and_at_most_twice_a_second() -> None:
    clock = FakeClock()
    asker, requests = asker_that_sends(clock)
    asker.admit("m1")
    asker.ask_due()
    old = carried(asker, "m1")
    advance(clock, 300.0)
    asker.ask_due()
    for _ in range(100):
        assert asker.sent_seconds("m1", a_report(old)) == 300.0
        advance(clock, 0.1)
        asker.ask_due()
    assert 3 <= len(requests.sent) <= 2 + 20


def test_ten_thousand_sites_are_asked_a_few_at_a_time_and_answer_over_two_seconds() -> None:
    clock = FakeClock()
    asker, requests = asker_that_sends(clock)
    for number in range(10_000):
        asker.admit(f"s{number}")
    asker.ask_due()
    assert len(requests.sent) == 128
    nonces = [nonce for _, nonce, _, _ in requests.sent]
    assert {one.spread_seconds for one in nonces if one} == {2.0}
    for _ in range(200):
        asker.ask_due()
    assert Counter(requests.sites()).most_common(1)[0][1] == 1
    assert len(requests.sent) == 10_000


def test_one_site_answers_almost_at_once() -> None:
    asker, requests = asker_that_sends(FakeClock())
    asker.admit("m1")
    asker.ask_due()
    nonce = requests.sent[0][1]
    assert nonce is not None
    assert nonce.spread_seconds == pytest.approx(0.02)


# ------------------------------------------------------------ the version before


def test_an_agent_without_nonces_counts_as_heard_and_is_named() -> None:
    clock = FakeClock()
    asker = make_asker(clock)
    asker.admit("m1")
    advance(clock, 5.0)
    assert asker.sent_seconds("m1", a_report(None)) == 5.0
    assert asker.agents_without_nonce("m1") == ["main"]
    asker.nonce_for("m1")
    asker.sent_seconds("m1", a_report(carried(asker, "m1")))
    assert asker.agents_without_nonce("m1") == [], "it was updated"


def test_with_the_setting_an_agent_without_nonces_is_refused_and_still_named() -> None:
    asker = make_asker(FakeClock(), requires_nonce=True)
    asker.admit("m1")
    with pytest.raises(WireError, match="require_nonce"):
        asker.sent_seconds("m1", a_report(None))
    assert asker.agents_without_nonce("m1") == ["main"]


def test_an_agent_that_knows_nonces_and_has_none_of_ours_is_not_heard_but_asked() -> None:
    clock = FakeClock()
    asker, requests = asker_that_sends(clock)
    asker.admit("m1")
    asker.ask_due()
    advance(clock, 3.0)
    for nonces in ({}, {"another": "1.aa"}):
        with pytest.raises(WireError, match="nonce"):
            asker.sent_seconds("m1", a_report(nonces))
    asker.ask_due()
    assert requests.sites() == ["m1", "m1"]


# ------------------------------------------------------------ lost counts of boots


def test_only_a_message_with_the_newest_nonce_is_told_of_a_higher_boot() -> None:
    clock = FakeClock()
    asker, requests = asker_that_sends(clock)
    asker.admit("m1")
    asker.ask_due()
    old = carried(asker, "m1")
    advance(clock, 300.0)
    asker.ask_due()
    for nonces in (None, {}, old):
        asker.on_stale_boot("m1", a_report(nonces), newest_boot=57)
        advance(clock, 2.0)
        asker.ask_due()
    assert [boot for *_, boot in requests.sent if boot] == []
    asker.on_stale_boot("m1", a_report(carried(asker, "m1")), newest_boot=57)
    advance(clock, 2.0)
    asker.ask_due()
    told = [boot for *_, boot in requests.sent if boot]
    assert [(one.agent, one.boot_id, one.above) for one in told] == [("main", "boot-1", 57)]


def test_nothing_is_kept_of_a_site_that_is_gone() -> None:
    asker, requests = asker_that_sends(FakeClock())
    asker.admit("m1")
    asker.ask_due()
    asker.on_stale_boot("m1", a_report(carried(asker, "m1")), newest_boot=2)
    asker.forget("m1")
    asker.ask_due()
    assert asker.nonce_for("m1") is None
    assert len(requests.sent) == 1
