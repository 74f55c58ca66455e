"""What stands in the hub about drills is read as it was written, and garbage asks for nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.control.drills.drill_word import (
    DrillState,
    DrillWord,
    RefusedWord,
    drill_state_body,
    drill_word_body,
    read_drill_state,
    read_drill_word,
)
from scheduler.model.drills.drill import Drill, MeasuredWork

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WORD = DrillWord(
    id="a1", action="lose", site="m1", seconds=300.5, by="ops", why="yearly", said_at=NOW
)
WORK = tuple(
    MeasuredWork(workload=f"ns/{number}", replicas=1, to=("m2",), order_seconds=1.5)
    for number in range(1000)
)
DRILL = Drill(id="a1", site="m1", by="ops", for_seconds=300.0, started_at=NOW, work=WORK)


def test_a_word_is_read_as_it_was_written() -> None:
    assert read_drill_word(drill_word_body(WORD)) == WORD
    assert read_drill_word(drill_word_body(DrillWord())) == DrillWord()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {"action": "destroy", "site": 7},
        {"seconds": "soon", "saidAt": "yesterday", "why": "\x00\x1b[31m" * 999},
        {"saidAt": "2026-11-24T08:00:00"},
    ],
)
def test_garbage_asks_for_nothing(data: Any) -> None:  # noqa: ANN401 - any JSON
    word = read_drill_word({"data": data})
    assert (word.id, word.action, word.seconds, word.said_at) == ("", "", 0.0, None)
    assert "\x1b" not in word.why
    assert len(word.why) <= 500


def test_a_state_is_read_as_it_was_written() -> None:
    state = DrillState(
        running=DRILL,
        last={"id": "a0", "moves": []},
        refused=RefusedWord(id="b", reason="DrillRuns", message="one runs"),
    )
    assert read_drill_state(drill_state_body(state, "b")) == (state, "b")
    for text in ("", "[]", "{", '{"running": {"site": ""}}', '{"running": 7}', "\ud800"):
        body = {"data": {"state": text, "word": "b"}}
        assert read_drill_state(body) == (DrillState(), "b")
    assert read_drill_state({"data": 5}) == (DrillState(), "")
    assert read_drill_state({}) == (DrillState(), "")


def test_what_is_too_large_for_the_hub_is_shortened_and_says_so() -> None:
    rows = [{"workload": f"ns/{number}", "reason": "x" * 3000} for number in range(1000)]
    body = drill_state_body(DrillState(last={"id": "a", "stuck": rows, "moves": []}), "a")
    assert len(body["data"]["state"]) < 1_000_000
    read, _ = read_drill_state(body)
    assert read.last is not None
    assert read.last["shortened"] is True
    assert 0 < len(read.last["stuck"]) < 1000
    long = tuple(MeasuredWork(workload="ns/" + "x" * 3000, replicas=1) for _ in range(1000))
    running = Drill(id="a", site="m1", started_at=NOW, work=long)
    read, _ = read_drill_state(drill_state_body(DrillState(running=running), "a"))
    assert read.running is not None
    assert len(read.running.work) + read.running.unmeasured == 1000
    assert 0 < len(read.running.work) < 1000
