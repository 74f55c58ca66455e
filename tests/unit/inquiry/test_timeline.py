"""A timeline says what each record brought about, against the decision in force before it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.cli.history import format_at, format_shares
from scheduler.inquiry.timeline import read_records, timeline
from scheduler.ledger.record import GENESIS, LedgerEntry, Record, chain_entry

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = "health/appointment"


class Ledger:
    """Records in memory, read as those of a ledger."""

    def __init__(self) -> None:
        self.written: list[Record] = []

    def decide(self, phase: str, shares: dict[str, int], **more: Any) -> Record:  # noqa: ANN401
        demand = {name: more.pop(name) for name in ("evicted", "unready") if name in more}
        assignment = [{"site": site, "replicas": count} for site, count in shares.items()]
        decision = {"phase": phase, "assignment": assignment, "line": f"{phase} {shares}", **more}
        return self.write("decision", {"demand": demand, "decision": decision})

    def write(self, kind: str, content: dict[str, Any]) -> Record:
        seq = len(self.written) + 1
        entry = LedgerEntry(
            kind=kind, subject=KEY, epoch=3, at=NOON + timedelta(minutes=seq), content=content
        )
        self.written.append(chain_entry(entry, seq=seq, previous=GENESIS))
        return self.written[-1]

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        assert subject == KEY
        return [one for one in self.written if one.seq > after][:limit]

    def find(self, record_id: str) -> Record | None:
        raise NotImplementedError

    def last(self) -> Record | None:
        raise NotImplementedError

    def last_about(self, subject: str) -> Record | None:
        raise NotImplementedError

    def blob(self, digest: str) -> Any:  # noqa: ANN401
        raise NotImplementedError


def events(ledger: Ledger) -> list[str]:
    return [str(one["event"]) for one in timeline(ledger.written)]


def test_a_life_is_told_event_by_event() -> None:
    ledger = Ledger()
    ledger.write("refusal", {"refusal": {"reason": "data-class-missing", "message": "say which"}})
    ledger.decide("Refused", {}, reasons={"full": 3})
    ledger.decide("Waiting", {}, reasons={"full": 3})
    ledger.decide("Waiting", {}, startAt="2026-11-24T22:00:00Z")
    ledger.decide("Placed", {"m1": 2})
    ledger.decide("Placed", {"m1": 2})
    ledger.decide("Placed", {"m1": 3})
    ledger.decide("Placed", {"m2": 3})
    ledger.decide("Placed", {"m3": 3}, evicted=["m2"])
    ledger.decide("Placed", {"m1": 3}, ended=["m3"], endedBy={"m3": "taint maintenance"})
    ledger.decide("Waiting", {"m1": 3}, reasons={"full": 1})
    ledger.write("deletion", {"line": "the workload was deleted"})
    ledger.decide("Placed", {"m1": 1})
    assert events(ledger) == [
        *("NotAccepted", "Refused", "Waiting", "Planned", "Placed", "Kept", "Scaled", "Moved"),
        *("FailedOver", "Ended", "Kept", "Deleted", "Placed"),
    ]
    entries = list(timeline(ledger.written))
    assert entries[0]["line"] == "data-class-missing: say which"
    assert entries[7]["from"] == [{"name": "m1", "replicas": 3}]
    assert entries[7]["to"] == [{"name": "m2", "replicas": 3}]
    assert entries[9]["why"] == {"m3": "taint maintenance"}


def test_replicas_that_stay_not_ready_fail_over() -> None:
    ledger = Ledger()
    ledger.decide("Placed", {"m1": 2, "m2": 2})
    unready = [{"site": "m1", "replicas": 1, "reason": "crash", "seconds": 600}]
    ledger.decide("Placed", {"m1": 1, "m2": 3}, unready=unready)
    assert events(ledger) == ["Placed", "FailedOver"]


def test_a_decision_without_effect_changes_nothing_of_what_follows() -> None:
    ledger = Ledger()
    ledger.decide("Placed", {"m1": 2})
    undone = ledger.decide("Placed", {"m2": 2})
    ledger.write("not-carried-out", {"undoes": undone.id, "line": "another client wrote first"})
    ledger.decide("Placed", {"m1": 3})
    found = list(timeline(ledger.written))
    assert [one["event"] for one in found] == ["Placed", "Moved", "NotCarriedOut", "Scaled"]
    assert [one["carriedOut"] for one in found] == [True, False, True, True]


def test_all_pages_are_read_up_to_a_bound() -> None:
    ledger = Ledger()
    for count in range(600):
        ledger.decide("Placed", {"m1": count})
    records, is_cut = read_records(ledger, KEY, 10_000)
    assert (len(records), is_cut) == (600, False)
    records, is_cut = read_records(ledger, KEY, 300)
    assert (len(records), is_cut) == (300, True)


def test_texts_are_short() -> None:
    shares = [{"name": f"m{n}", "replicas": n} for n in range(1, 9)]
    assert format_shares(shares).endswith("m6 (6), 2 more")
    assert format_at("2026-11-24T12:00:00.123456+00:00") == "2026-11-24 12:00:00Z"
