"""What held evictions back is recorded: freezes, words of operators, held domains."""

from scheduler.control.failover.freeze_word import FreezeWord
from scheduler.control.ports.not_recorded import NotRecorded
from tests.support.storm_rig import SETTLE, StormRig

FROZEN = FreezeWord(is_frozen=True, since="2026-11-24T08:00:00Z", why="works", by="li", id="w1")


def lines(rig: StormRig) -> list[str]:
    return [one["line"] for one in rig.loops.recorder.evictions]


async def test_a_start_in_a_fleet_that_reports_is_not_recorded() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        await rig.record.sync()
        assert rig.loops.recorder.evictions == []


async def test_a_freeze_of_an_operator_and_its_thaw_are_recorded_with_their_reasons() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        await rig.say(FROZEN)
        await rig.say(FreezeWord(is_frozen=False, why="works over", by="wang", id="w2"))
        rig.pass_seconds(1, *rig.names)
        await rig.record.sync()
        frozen, thawed = rig.loops.recorder.evictions
        assert frozen["frozen"] is True
        assert frozen["line"] == "li freezes evictions: works"
        assert (frozen["reason"], frozen["by"], frozen["word"]["id"]) == ("operator", "li", "w1")
        assert thawed["frozen"] is False
        assert thawed["line"] == "wang thaws evictions: works over"


async def test_a_storm_is_recorded_with_the_silent_sites_and_its_end_too() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[3:])
        await rig.record.sync()
        storm = rig.loops.recorder.evictions[-1]
        assert (storm["frozen"], storm["reason"]) == (True, "fleet")
        assert "3 sites fell silent together" in storm["line"]
        assert storm["silentSites"] == 3
        assert storm["silent"] == ["m0", "m1", "m2"]
        rig.pass_seconds(SETTLE * 3, *rig.names)
        await rig.record.sync()
        assert "may be replaced again" in lines(rig)[-1]
        assert rig.loops.recorder.evictions[-1]["frozen"] is False


async def test_a_held_domain_is_recorded_with_its_end() -> None:
    rig = StormRig(sites=12, province="CN-GS")
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(60, *rig.names[2:])
        await rig.record.sync()
        (held,) = rig.loops.recorder.evictions
        assert held["frozen"] is False
        assert held["held"][0]["name"] == "CN-GS"
        assert held["line"].startswith("the province CN-GS is held until 20")
        rig.pass_seconds(SETTLE * 4, *rig.names)
        await rig.record.sync()
        assert rig.loops.recorder.evictions[-1]["held"] == []


async def test_the_next_leader_records_only_what_is_new() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.say(FROZEN)
        await rig.record.sync()
        assert len(rig.loops.recorder.evictions) == 1
        later = StormRig()
        later.loops.recorder.evictions = rig.loops.recorder.evictions
    async with later.loops.started(*later.objects()):
        await later.record.sync()
        await later.say(FROZEN)
        later.pass_seconds(SETTLE + 1, *later.names)
        await later.record.sync()
        assert len(later.loops.recorder.evictions) == 1
        await later.say(FreezeWord(is_frozen=False, by="wang", id="w2"))
        later.pass_seconds(1, *later.names)
        await later.record.sync()
        assert [one["frozen"] for one in later.loops.recorder.evictions] == [True, False]


async def test_a_freeze_holds_while_the_ledger_is_full_and_is_recorded_afterwards() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.record.sync()
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        rig.loops.recorder.evictions_fault = NotRecorded("the disk is full")
        await rig.say(FROZEN)
        await rig.record.sync()
        assert rig.gate.why_not("m0")
        assert rig.loops.recorder.evictions == []
        rig.loops.recorder.evictions_fault = None
        await rig.record.sync()
        assert lines(rig) == ["li freezes evictions: works"]
