"""The gate of evictions, its budget, and the words of operators."""

from scheduler.control.failover.freeze_word import (
    EVICTIONS_MAP,
    FREEZE_MAP,
    NO_WORD,
    FreezeWord,
    freeze_body,
    read_evictions,
    read_word,
)
from scheduler.control.failover.storm_gate import CONDITION
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Busy
from scheduler.model.storm import StormState
from tests.support.storm_rig import LIMITS, SETTLE, StormRig


async def test_before_the_word_of_operators_is_read_nothing_is_evicted() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        rig.pass_seconds(SETTLE + 1, *rig.names)
        assert "not been read" in rig.gate.why_not("m0")
        assert rig.gate.take(5) == 0
        await rig.sync.sync()
        assert rig.gate.why_not("m0") == ""
        assert rig.reasons() == ["EvictionsFrozen", "EvictionsAllowed"]
        assert rig.counts.freezes == [], "that is how every start begins"


async def test_one_silent_site_is_evicted_within_the_budget() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(70, *rig.names[1:])
        assert rig.loops.sites.states["m0"].health.is_absent
        assert rig.gate.why_not("m0") == ""
        assert rig.gate.take(1000) == 50, "what five seconds allow"
        assert rig.gate.take(1000) == 0
        assert rig.gate.next_seconds() == 0.1, "until one more may start"
        rig.pass_seconds(1, *rig.names[1:])
        assert rig.gate.take(3) == 3
        assert rig.gate.take(1000) == 7
        assert rig.gate.condition_of("m0") is None


async def test_a_storm_takes_the_budget_away_and_marks_the_silent_sites() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[3:])
        assert rig.gate.take(1000) == 0
        assert "3 sites fell silent together" in rig.gate.why_not("m4")
        condition = rig.gate.condition_of("m0")
        assert condition is not None
        assert (condition.type, condition.reason) == (CONDITION, "ManySitesSilent")
        assert rig.gate.condition_of("m4") is None, "it reports"
        assert rig.gate.next_seconds() == 1.0
        assert rig.counts.freezes == ["fleet"]
        rig.pass_seconds(SETTLE + 1, *rig.names[1:])
        assert rig.gate.why_not("m0") == ""
        assert rig.gate.take(1000) < 50, "the bucket was emptied"
        assert rig.reasons()[-1] == "EvictionsAllowed"


async def test_a_lost_session_shuts_the_gate_before_the_next_look() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        assert rig.gate.why_not("m0") == ""
        rig.connected = None
        assert "no session" in rig.gate.why_not("m0")
        assert rig.gate.take(1) == 0
        rig.pass_seconds(600)
        assert rig.gate.take(1) == 0
        rig.connected = rig.loops.clock.monotonic()
        rig.pass_seconds(30, *rig.names[1:])
        assert "not received all sites since" in rig.gate.why_not("m0")
        rig.pass_seconds(SETTLE, *rig.names[1:])
        assert rig.gate.why_not("m0") == ""


async def test_a_process_that_stood_still_trusts_no_silence() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        rig.loops.clock._seconds += 300  # noqa: SLF001 - a jump, which wakes no loop
        assert rig.gate.take(1) == 0
        assert "stood still" in rig.gate.why_not("m0")


async def test_a_silent_province_is_held_for_its_time() -> None:
    rig = StormRig(sites=12, province="CN-GS")
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[2:])
        assert "province CN-GS fell silent as a whole" in rig.gate.why_not("m0")
        assert rig.gate.why_not("m5") == ""
        condition = rig.gate.condition_of("m0")
        assert condition is not None
        assert condition.reason == "DomainLost"
        assert (await _held(rig))[0]["name"] == "CN-GS"
        rig.pass_seconds(SETTLE, *rig.names[2:])
        assert rig.gate.why_not("m0") == ""
        assert rig.gate.after_ratio("m0") == 2.0
        assert rig.gate.after_ratio("m5") == 1.0
        assert "DomainSilent" in rig.reasons()


async def test_sites_of_a_silent_failure_domain_are_held_though_their_city_reports() -> None:
    rig = StormRig(sites=12, ring="ring-1")
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[2:])
        assert "the failure domain ring-1 fell silent as a whole" in rig.gate.why_not("m0")
        assert rig.gate.why_not("m5") == ""
        (held,) = await _held(rig)
        assert (held["kind"], held["name"]) == ("failure domain", "ring-1")
        rig.pass_seconds(SETTLE, *rig.names[2:])
        assert (rig.gate.after_ratio("m0"), rig.gate.after_ratio("m5")) == (2.0, 1.0)


async def test_one_site_of_a_failure_domain_that_reports_holds_none_of_it() -> None:
    rig = StormRig(sites=12, ring="ring-1")
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(70, *rig.names[1:])
        assert rig.gate.why_not("m0") == ""
        assert rig.gate.after_ratio("m0") == 1.0


async def _held(rig: StormRig) -> list[dict[str, object]]:
    await rig.sync.sync()
    found = (await rig.state())["held"]
    assert isinstance(found, list)
    return found


async def test_an_operator_freezes_and_thaws_and_the_hub_says_so() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        word = FreezeWord(
            is_frozen=True, since="2026-11-24T08:00:00Z", why="works", by="li", id="w1"
        )
        await rig.say(word)
        assert rig.gate.why_not("m0").endswith(": works (li)")
        state = await rig.state()
        assert (state["frozen"], state["since"], state["why"]) == (True, word.since, "works")
        body = await rig.loops.hub.get(CONFIG_MAPS, EVICTIONS_MAP, NAMESPACE)
        assert read_evictions(body)[1] == "w1"
        rig.pass_seconds(120, *rig.names)
        assert rig.gate.take(1) == 0, "no time ends it"
        changes, rates = rig.gate.on_change, list[float]()

        def note(before: StormState, after: StormState) -> None:
            changes(before, after)
            rates.append(after.per_second)

        rig.gate.on_change = note
        await rig.say(FreezeWord(is_frozen=False, by="li", id="w2"))
        assert rig.gate.why_not("m0") == ""
        assert (await rig.state())["frozen"] is False
        assert rig.counts.freezes == ["operator"]
        assert rates == [LIMITS.full_per_second], "said once, with the rate that holds"


async def test_a_thaw_lifts_a_storm_until_the_next_one() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.say(FreezeWord(is_frozen=False, id="earlier"))
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[3:])
        assert rig.gate.why_not("m0")
        await rig.say(FreezeWord(is_frozen=False, id="w2"))
        assert rig.gate.why_not("m0") == ""
        assert (await rig.state())["frozen"] is False
        rig.pass_seconds(120, *rig.names)
        rig.pass_seconds(50, *rig.names[3:])
        assert "3 sites fell silent together" in rig.gate.why_not("m0")


async def test_a_thaw_from_before_a_take_over_lifts_no_storm() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.loops.hub.create(CONFIG_MAPS, freeze_body(FreezeWord(is_frozen=False, id="w1")))
        rig.pass_seconds(60, *rig.names)
        rig.pass_seconds(50, *rig.names[3:])
        await rig.sync.sync()
        assert "3 sites fell silent together" in rig.gate.why_not("m0")


async def test_a_freeze_outlives_the_leader() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        body = freeze_body(FreezeWord(is_frozen=True, why="works", id="w1"))
        await rig.loops.hub.create(CONFIG_MAPS, body)
        await rig.sync.sync()
        rig.pass_seconds(SETTLE + 1, *rig.names)
        assert rig.gate.why_not("m0").endswith(": works")


async def test_while_the_hub_is_away_the_last_word_holds() -> None:
    rig = StormRig()
    async with rig.loops.started(*rig.objects()):
        await rig.say(FreezeWord(is_frozen=True, why="works", id="w1"))
        rig.loops.hub.faults[EVICTIONS_MAP] = Busy("away")
        rig.pass_seconds(SETTLE + 1, *rig.names)
        await rig.sync.sync()
        assert rig.gate.why_not("m0").endswith(": works")


def test_what_nobody_can_read_freezes() -> None:
    for data in ({"frozen": "yes"}, {"why": "x"}, {"frozen": None}):
        body = {"metadata": {"resourceVersion": "7"}, "data": data}
        word = read_word(body)
        assert word.is_frozen, data
        assert FREEZE_MAP in word.why
        assert word.id == "7"


def test_without_an_object_or_its_data_no_one_has_frozen() -> None:
    assert read_word({}) == NO_WORD
    assert read_word({"data": {}}) == NO_WORD


def test_a_word_is_one_line_of_a_bounded_length() -> None:
    data = {"frozen": "true", "why": "a\nb\x1b[31m" + "x" * 9999, "by": "y" * 9999, "id": "1"}
    word = read_word({"data": data})
    assert word.why.startswith("a b [31m")
    assert len(word.why) == 500
    assert len(word.by) == 253
