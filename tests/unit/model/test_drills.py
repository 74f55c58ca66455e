"""Reports of drills: which recovery is met, and what the one sentence says."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.model.drills.drill import Drill, MeasuredWork, Verdict, runs_hub
from scheduler.model.drills.report import begun_line, drill_report

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def work(name: str = "app", **fields: object) -> MeasuredWork:
    return MeasuredWork(workload=f"ns/{name}", replicas=1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "elapsed", "verdict"),
    [
        (work(), 600, None),
        (work(rto_seconds=60, order_seconds=50, ready_seconds=60), 600, "met"),
        (work(rto_seconds=60, order_seconds=50, ready_seconds=60.1), 600, "missed"),
        (work(rto_seconds=60, order_seconds=50), 600, "missed"),
        (work(rto_seconds=60), 60, "unknown"),
        (work(rto_seconds=900, order_seconds=50), 600, "unknown"),
        (work(rto_seconds=60, kept="each site has a copy"), 600, "met"),
    ],
)
def test_a_recovery_time_is_met_missed_or_not_known(
    one: MeasuredWork, elapsed: float, verdict: Verdict | None
) -> None:
    assert one.recovery(elapsed) == verdict


def test_the_sentence_says_what_happened() -> None:
    drill = Drill(
        id="a",
        site="m1",
        by="ops",
        started_at=NOW,
        detection_seconds=44.25,
        work=(
            work("a", order_seconds=61.0, ready_seconds=63.25, to=("m2",)),
            work("b", order_seconds=62.0, rto_seconds=100),
            work("c", rto_seconds=400),
        ),
        unmeasured=2,
    )
    report = drill_report(
        drill,
        seconds=300.0,
        ended_at=NOW + timedelta(seconds=300),
        ended_by="time",
        reasons={"ns/c": "full"},
    )
    assert report["line"] == (
        "drill of m1 over 300 s (its time was over): m1 silent after 44.2 s; 2 of 5 ordered "
        "elsewhere by 62.0 s; 1 ready by 63.2 s; 1 stays: ns/c; 1 missed the recovery time"
    )
    assert (report["workloads"], report["measured"]) == (5, 3)
    assert report["rto"] == {"met": 0, "missed": 1, "unknown": 1}
    assert report["stuck"] == [
        {
            "workload": "ns/c",
            "replicas": 1,
            "reason": "full",
            "rtoSeconds": 400,
            "rpoSeconds": None,
            "rto": "unknown",
        }
    ]


def test_a_site_without_work_has_nothing_to_move() -> None:
    drill = Drill(id="a", site="m1", started_at=NOW)
    report = drill_report(drill, seconds=9, ended_at=None, ended_by=None, reasons={})
    assert report["line"] == "drill of m1 over 9 s: m1 was not silent yet; nothing runs there"
    assert begun_line(drill) == (
        "an operator has m1 treated as lost for 300 s, where 0 workloads run"
    )


def test_a_label_says_where_the_hub_runs() -> None:
    assert runs_hub({"kapok.dev/runs-hub": "true"})
    assert runs_hub({"kapok.dev/runs-hub": "broker"})
    for value in ("", "false", "False", "no", "0"):
        assert not runs_hub({"kapok.dev/runs-hub": value})
    assert not runs_hub({})
