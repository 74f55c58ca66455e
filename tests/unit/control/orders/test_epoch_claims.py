"""A site's claim of a later index: its word moves nothing, an index that we have signed does."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.orders.epoch_claims import EpochClaims
from scheduler.control.ports.agents import IndexVersion, OrderStatusReport
from scheduler.model.kinds.workload import LAST_EPOCH
from tests.support.control_loops import FakePublisher
from tests.support.fake_clock import FakeClock
from tests.support.null_telemetry import NullTelemetry

NEWEST = (7, 5)
HUGE = (8, 1_000, 10**9, LAST_EPOCH, LAST_EPOCH + 1, 2**31 - 1, 2**53)


class CountedClaims(NullTelemetry):
    def __init__(self) -> None:
        self.claims: Counter[str] = Counter()

    def count_epoch_claim(self, result: str) -> None:
        self.claims[result] += 1


class ClaimsFixture:
    """Claims of one site, m1 with uid u, to a hub whose newest index of it is (7, 5)."""

    def __init__(self) -> None:
        self.clock, self.publisher = FakeClock(), FakePublisher()
        self.telemetry, self.proven = CountedClaims(), list[int]()
        self.claims = EpochClaims(
            publisher=self.publisher,
            clock=self.clock,
            telemetry=self.telemetry,
            repeat_seconds=5.0,
            on_proven=self.proven.append,
        )

    def hear(self, version: IndexVersion | None, proof: str = "", digest: str = "") -> None:
        self.claims.on_status(
            OrderStatusReport(
                site="m1",
                site_uid="u",
                version=version,
                digest=digest or f"index-{version}",
                orders={},
                index_proof=proof,
            ),
            site_uid="u",
            newest=NEWEST,
            digest=f"index-{NEWEST}",
        )


def test_no_number_that_a_site_says_moves_the_epoch() -> None:
    fixture = ClaimsFixture()
    for epoch in HUGE:
        fixture.hear((epoch, 1))
    assert fixture.proven == []
    assert fixture.telemetry.claims == {"unproven": len(HUGE)}
    assert fixture.publisher.log == [("proof", "m1", 7)], "asked once in a while, however often"


async def test_a_site_that_proves_nothing_is_asked_again_after_a_while() -> None:
    fixture = ClaimsFixture()
    for _ in range(3):
        fixture.hear((9, 1))
        await fixture.clock.advance(5.0)
    assert len(fixture.publisher.log) == 3


def test_a_proof_of_a_later_index_gives_its_epoch_once() -> None:
    fixture = ClaimsFixture()
    fixture.hear((9, 3))
    for _ in range(3):
        fixture.hear((9, 3), "m1 u 9 3")
    assert fixture.proven == [9]
    assert fixture.telemetry.claims == {"unproven": 1, "proven": 1, "unasked": 2}


def test_what_is_proven_counts_and_not_what_is_claimed_beside_it() -> None:
    fixture = ClaimsFixture()
    fixture.hear((10**9, 1))
    fixture.hear((10**9, 1), "m1 u 9 3")
    assert fixture.proven == [9]


def test_a_later_index_of_the_same_epoch_is_a_lost_one_too() -> None:
    for version, digest in (((7, 6), ""), (NEWEST, "another-digest")):
        fixture = ClaimsFixture()
        fixture.hear(version, digest=digest)
        fixture.hear(version, f"m1 u {version[0]} 6")
        assert fixture.proven == [7]


def test_older_indexes_of_ours_prove_nothing() -> None:
    for version in ((1, 10**6), (6, 9), (7, 1), NEWEST):
        fixture = ClaimsFixture()
        fixture.hear((9, 1))
        fixture.hear((9, 1), f"m1 u {version[0]} {version[1]}")
        assert fixture.proven == []
        assert fixture.telemetry.claims["stale"] == 1


def test_a_proof_near_the_end_of_the_counter_is_refused() -> None:
    for epoch in (LAST_EPOCH, 2**31 - 1):
        fixture = ClaimsFixture()
        fixture.hear((epoch, 1))
        fixture.hear((epoch, 1), f"m1 u {epoch} 1")
        assert fixture.proven == []
        assert fixture.telemetry.claims["too-large"] == 1


def test_a_proof_of_another_uid_is_refused() -> None:
    fixture = ClaimsFixture()
    fixture.hear((9, 1))
    fixture.hear((9, 1), "m1 another-uid 9 1")
    assert fixture.proven == []
    assert fixture.telemetry.claims["wrong-site"] == 1


@given(
    st.lists(
        st.tuples(
            st.none() | st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**53)),
            st.sampled_from(["", "m1 u 9 3", "m1 u 2 2", "m1 other 11 1", "m2 u 12 1"]),
        ),
        max_size=20,
    )
)
def test_only_what_we_have_signed_for_this_site_is_ever_proven(
    messages: list[tuple[IndexVersion | None, str]],
) -> None:
    fixture = ClaimsFixture()
    for version, proof in messages:
        fixture.hear(version, proof)
    assert set(fixture.proven) <= {9}
