"""Which sites hold which heads of the ledger, and what of it is written into the hub."""

from dataclasses import dataclass, field, replace

from agents.protocol.keys import SigningKey
from scheduler.control.ports.agents import OrderStatusReport
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE
from scheduler.control.ports.ledger import SignedHead
from scheduler.control.state.ledger_heads import CONFIG_MAP, LedgerHeads, read_heads
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import is_signed_by, sign_head
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults
from tests.support.ledgers import NOON

HUB, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))


def head(seq: int, digest: str = "", key: SigningKey = HUB) -> SignedHead:
    return sign_head(
        key, first=1, seq=seq, digest=digest or f"hash-{seq}", previous=GENESIS, at=NOON
    )


@dataclass
class Fixture:
    """A ledger of nine records."""

    clock: FakeClock = field(default_factory=FakeClock)
    asked: list[str] = field(default_factory=list)
    sent: dict[tuple[int, int], SignedHead] = field(default_factory=dict)
    is_away: bool = False

    def is_recorded(self, seq: int, digest: str) -> bool:
        if self.is_away:
            raise LedgerUnavailableError("the server does not answer")
        return seq <= 9 and digest == f"hash-{seq}"

    def __post_init__(self) -> None:
        self.heads = LedgerHeads(
            head=lambda: head(9),
            sent_head=lambda _site, version: self.sent.get(version),
            is_recorded=self.is_recorded,
            is_ours=lambda one: is_signed_by(one, [str(HUB.public)]),
            ask=self.asked.append,
            clock=self.clock,
            faults=make_faults(self.clock),
        )
        self.hub = FakeHub()

    async def held(self) -> dict[str, list[int]]:
        """Sequences of the heads that the hub's object has of each site."""
        await self.heads.write_changes(self.hub)
        newest, sites = read_heads(await self.hub.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE))
        assert [one["seq"] for one in newest if isinstance(one, dict)] == [9]
        return {
            site: [one["seq"] for one in some if isinstance(one, dict)]
            for site, some in sites.items()
        }


def status(*heads: SignedHead) -> OrderStatusReport:
    return OrderStatusReport(
        site="m1", site_uid="u", version=(1, 2), digest="d", orders={}, ledger_heads=heads
    )


async def test_a_site_holds_the_head_of_the_index_that_it_works_by() -> None:
    fixture = Fixture()
    fixture.sent[1, 2] = head(7)
    fixture.heads.on_order_status(status())
    assert await fixture.held() == {"m1": [7]}
    fixture.sent[1, 2] = head(8)
    fixture.heads.on_order_status(status())
    assert await fixture.held() == {"m1": [8]}
    fixture.heads.forget("m1")
    assert await fixture.held() == {}


async def test_a_site_is_asked_once_an_hour_and_only_an_answer_is_read() -> None:
    fixture = Fixture()
    fixture.heads.on_order_status(status(head(5)))
    assert (fixture.asked, await fixture.held()) == (["m1"], {})
    fixture.heads.on_order_status(status(head(5), head(3)))
    assert (fixture.asked, await fixture.held()) == (["m1"], {"m1": [5]})
    fixture.heads.on_order_status(status(head(8)))
    assert await fixture.held() == {"m1": [5]}


async def test_a_head_that_our_ledger_does_not_have_is_kept_if_our_key_signed_it() -> None:
    fixture = Fixture()
    fixture.heads.on_order_status(status())
    false = (head(6, "other", OTHER), replace(head(7), hash="other"))
    fixture.heads.on_order_status(status(head(4), head(8, "rewritten"), head(20), *false))
    assert await fixture.held() == {"m1": [20, 4]}


def test_what_stands_in_the_object_is_read_as_nothing_if_it_has_another_form() -> None:
    trees: list[dict[str, object]] = [{}, {"data": []}]
    trees.append({"data": {"newest.json": "[", "sites.json": "[1]"}})
    for data in trees:
        newest, sites = read_heads(data)
        assert (list(newest), dict(sites)) == ([], {})
    assert read_heads({"data": {"sites.json": '{"m1": 1}'}}) == ([], {})


async def test_a_ledger_that_is_away_loses_no_head_and_is_compared_a_minute_later() -> None:
    fixture = Fixture()
    fixture.heads.on_order_status(status())
    fixture.heads.on_order_status(status(head(4), head(20)))
    await fixture.clock.advance(3600)
    fixture.heads.on_order_status(status())
    fixture.is_away = True
    fixture.heads.on_order_status(status(head(5), head(21)))
    assert await fixture.held() == {"m1": [20, 4]}
    fixture.is_away = False
    await fixture.clock.advance(59)
    fixture.heads.on_order_status(status())
    assert len(fixture.asked) == 2
    await fixture.clock.advance(2)
    fixture.heads.on_order_status(status())
    fixture.heads.on_order_status(status(head(5), head(21)))
    assert (len(fixture.asked), await fixture.held()) == (3, {"m1": [21, 5]})
