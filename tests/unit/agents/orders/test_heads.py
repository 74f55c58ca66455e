"""The agent keeps the last hundred heads of the hub's ledger, and gives them when asked."""

from pathlib import Path

from agents.metrics.counters import Counters
from agents.mqtt.router import MessageRouter
from agents.orders.heads import load_heads
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.bounds import MAX_LEDGER_HEADS
from agents.protocol.hub_requests import WANT_LEDGER_HEADS
from agents.protocol.index import LedgerHead
from agents.protocol.keys import SigningKey, TrustedKeys
from tests.support.wire_hub import WireHub

HUB = WireHub(key=SigningKey(bytes(range(32))))


def started(folder: Path) -> Intake:
    return Intake(
        site="site-a",
        trusted_keys=TrustedKeys([HUB.key.public]),
        journal=Journal(folder / "journal.sqlite"),
    )


def head(seq: int, digest: str = "sha256:a") -> LedgerHead:
    return LedgerHead(first=1, seq=seq, hash=digest, previous="", at="2026", key="k", signature="s")


def seqs(folder: Path) -> list[int]:
    return [one.head.seq for one in load_heads(folder / "journal.sqlite", "site-a")]


def test_heads_are_kept_with_their_index_and_each_once(tmp_path: Path) -> None:
    intake = started(tmp_path)
    intake.accept_index(HUB.index(1)[1])
    assert seqs(tmp_path) == []
    for sequence, seq in ((2, 7), (3, 7), (4, 9)):
        intake.accept_index(HUB.index(sequence, ledger_head=head(seq))[1])
    held = load_heads(tmp_path / "journal.sqlite", "site-a")
    assert [(one.head.seq, one.epoch, one.sequence) for one in held] == [(9, 1, 4), (7, 1, 2)]
    assert started(tmp_path).journal.ledger_heads("site-a") == held
    assert load_heads(tmp_path / "journal.sqlite", "site-b") == ()
    assert load_heads(tmp_path / "none.sqlite", "site-a") == ()


def test_a_hundred_heads_are_kept_and_shorter_ledgers_do_not_displace_the_longest(
    tmp_path: Path,
) -> None:
    intake = started(tmp_path)
    intake.accept_index(HUB.index(1, ledger_head=head(5_000))[1])
    for sequence in range(2, MAX_LEDGER_HEADS + 30):
        intake.accept_index(HUB.index(sequence, ledger_head=head(sequence, "sha256:b"))[1])
    kept = seqs(tmp_path)
    assert len(kept) == MAX_LEDGER_HEADS
    assert (kept[0], kept[-1]) == (MAX_LEDGER_HEADS + 29, 5_000)


def test_a_request_for_heads_reaches_the_agent(tmp_path: Path) -> None:
    asked = list[str]()
    router = MessageRouter(
        site="site-a",
        agent="agent",
        intake=started(tmp_path),
        counters=Counters(),
        on_index=lambda: None,
        on_order_content=lambda: None,
        on_order_part=lambda: None,
        on_hub_request=asked.append,
    )
    router.handle(*HUB.request(WANT_LEDGER_HEADS))
    assert asked == [WANT_LEDGER_HEADS]
