"""The live views: what each shows, what an event holds, and what a reader may see."""

import asyncio
import json
from dataclasses import replace
from typing import Any, Literal

import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload
from scheduler.web.live.attention import attention_items
from scheduler.web.live.document import Document, SharedView
from scheduler.web.live.feed import LOOK_SECONDS, LiveFeed, ViewKey
from scheduler.web.live.fleet_index import FleetIndex
from scheduler.web.live.history import History
from scheduler.web.live.views import VIEWS, LiveState, render_view
from scheduler.web.sessions import Sight
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults

ALL = Sight()
TENANT = Sight(frozenset({"default"}), has_sites=True, has_grants=False)
STRANGER = Sight(frozenset(), has_sites=False, has_grants=False)


@pytest.fixture
def scene() -> WebState:
    state = WebState(FakeClock())
    state.admit(4)
    state.report_all()
    state.place(6)
    state.refuse(3)
    return state


def live_state(scene: WebState) -> LiveState:
    snapshot, index, history = scene.take_snapshot(), FleetIndex(), History()
    index.update(snapshot)
    history.note_health(index)
    history.sample(index, snapshot.at)
    return LiveState(snapshot, index, history)


def values_of(document: Document) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in document.values.items()}


def event(data: bytes) -> dict[str, Any]:
    """The last event of some."""
    found: dict[str, Any] = json.loads(data.split(b"data: ")[-1])
    return found


def put(scene: WebState, name: str, **status: object) -> None:
    """Replaces fields of a workload's status, as a watch event would: with another object."""
    works = scene.sources.registry.workloads
    one = works["default", name]
    works["default", name] = msgspec.structs.replace(
        one, status=msgspec.structs.replace(one.status, **status)
    )


def test_an_event_holds_what_changed_and_nothing_else() -> None:
    shared = SharedView()
    first = Document({"a": b"1", "b": b"2"}, {"rows": {"x": b"1", "y": b"2"}})
    shared.advance(first, shared.next_event(first, "T1"))
    assert event(shared.since(0, "T1")) == {
        "first": True,
        "values": {"a": 1, "b": 2, "now": "T1"},
        "tables": {"rows": {"x": 1, "y": 2}},
    }
    assert shared.next_event(Document(dict(first.values), dict(first.tables)), "T2") == b""
    second = Document({"a": b"1"}, {"rows": {"x": b"3", "z": b"4"}})
    shared.advance(second, shared.next_event(second, "T2"))
    assert event(shared.since(1, "T2")) == {
        "values": {"b": None, "now": "T2"},
        "tables": {"rows": {"x": 3, "z": 4, "y": None}},
    }
    assert event(shared.since(2, "T3")) == {"values": {"now": "T3"}}, "it lives, nothing changed"


def test_a_reader_that_is_far_behind_gets_the_newest_whole() -> None:
    shared = SharedView()
    for number in range(1, 100):
        document = Document({"n": str(number).encode()})
        shared.advance(document, shared.next_event(document, "T"))
    assert shared.since(97, "T").count(b"data: ") == 2
    late = event(shared.since(3, "T"))
    assert (late["first"], late["values"]["n"]) == (True, 99)


def test_counts_follow_each_change_of_a_workload(scene: WebState) -> None:
    index = FleetIndex()
    index.update(scene.take_snapshot())
    assert index.phase_counts(ALL) == {"Refused": 3, "Running": 6}
    version = index.version
    index.update(scene.take_snapshot())
    assert index.version == version, "nothing changed"
    put(scene, "work-00000", phase="Degraded")
    index.update(scene.take_snapshot())
    assert index.phase_counts(ALL) == {"Degraded": 1, "Refused": 3, "Running": 5}
    assert index.count_at("site-00000", ALL) == 2
    put(scene, "work-00000", phase="Waiting", placement=type(_work(scene).status.placement)())
    del scene.sources.registry.workloads["default", "large-00000"]
    index.update(scene.take_snapshot())
    assert index.phase_counts(ALL) == {"Refused": 2, "Running": 5, "Waiting": 1}
    assert index.count_at("site-00000", ALL) == 1
    fresh = FleetIndex()
    fresh.update(scene.take_snapshot())
    assert (fresh.phases, fresh.by_phase, fresh.by_site) == (
        index.phases,
        index.by_phase,
        index.by_site,
    )


def _work(scene: WebState) -> Workload:
    return scene.sources.registry.workloads["default", "work-00000"]


def test_the_overview_says_what_there_is_and_what_wants_attention(scene: WebState) -> None:
    put(scene, "work-00001", phase="Degraded", reason="SiteSilent")
    found = values_of(render_view(live_state(scene), "overview", "", ALL))
    assert found["phases"] == {"Degraded": 1, "Refused": 3, "Running": 5}
    assert (found["sites"], found["reporting"]) == (4, 4)
    assert found["trend"]["Degraded"] == [1]
    assert [(one["slug"], one["values"].get("n")) for one in found["attention"][:2]] == [
        ("degraded", None),
        ("many-refused", 3),
    ]
    assert found["attention"][0]["path"] == ["workloads", "default", "work-00001"]


def test_each_kind_of_trouble_is_seen_though_one_is_frequent(scene: WebState) -> None:
    state = live_state(scene)
    snapshot = replace(state.snapshot, is_ready=[False, False, False, True])
    state.index.update(snapshot)
    items = attention_items(snapshot, state.index, ALL)
    assert items[0].slug == "many-site-silent"
    assert items[0].values == {"n": 3, "workloads": 5}
    assert "many-refused" in [one.slug for one in items]


def test_a_loss_that_is_not_survived_wants_attention_and_is_said_at_the_site(
    scene: WebState,
) -> None:
    def loss(status: Literal["True", "False"]) -> Condition:
        message = f"why {status}: default/work-00001"
        return Condition(type="SurvivesLoss", status=status, reason="R", message=message)

    scene.sources = replace(
        scene.sources, losses=lambda: {"site-00001": loss("False"), "site-00002": loss("True")}
    )
    state = live_state(scene)
    items = [one for one in attention_items(state.snapshot, state.index, ALL) if "loss" in one.slug]
    assert [(one.slug, one.values["site"]) for one in items] == [("loss-proved", "site-00001")]
    assert items[0].path == ("sites", "site-00001")
    detail = values_of(render_view(state, "site", "site-00001", ALL))["detail"]
    assert detail["conditions"][-1]["message"] == "why False: default/work-00001"
    # It names workloads, which not all who see sites may see.
    hidden = values_of(render_view(state, "site", "site-00001", TENANT))["detail"]
    assert "SurvivesLoss" not in [one["type"] for one in hidden["conditions"]]
    assert not [
        one for one in attention_items(state.snapshot, state.index, TENANT) if "loss" in one.slug
    ]


def test_a_tenant_sees_its_own_and_no_use_by_others(scene: WebState) -> None:
    works = scene.sources.registry.workloads
    other = works.pop(("default", "work-00002"))
    meta = msgspec.structs.replace(other.metadata, namespace="police")
    works["police", "work-00002"] = msgspec.structs.replace(other, metadata=meta)
    state = live_state(scene)
    for view in VIEWS:
        name = "site-00002" if view == "site" else ""
        document = render_view(state, view, name, TENANT)
        rows = [row for table in document.tables.values() for row in table.values()]
        assert b"police" not in b"".join([*document.values.values(), *rows])
    row = json.loads(render_view(state, "fleet", "", TENANT).tables["sites"]["site-00002"])
    assert row["workloads"] == 0
    assert not {"used", "inFlight", "reserved", "inFlightReplicas"} & set(row)
    full = json.loads(render_view(state, "fleet", "", ALL).tables["sites"]["site-00002"])
    assert (full["workloads"], "used" in full) == (1, True)
    overview = values_of(render_view(state, "overview", "", TENANT))
    assert overview["trend"] is None
    assert not any("grant" in one["slug"] for one in overview["attention"])
    detail = values_of(render_view(state, "site", "site-00000", TENANT))["detail"]
    assert detail["grants"] is None


def test_without_the_right_to_sites_none_is_shown(scene: WebState) -> None:
    state = live_state(scene)
    assert render_view(state, "fleet", "", STRANGER).tables["sites"] == {}
    assert values_of(render_view(state, "site", "site-00000", STRANGER))["site"] is None
    found = values_of(render_view(state, "overview", "", STRANGER))
    assert not {"sites", "watts", "reporting"} & set(found)
    assert (found["phases"], found["attention"]) == ({}, [])


def test_a_site_shows_its_nodes_its_work_and_the_last_hour(scene: WebState) -> None:
    found = render_view(live_state(scene), "site", "site-00001", ALL)
    values = values_of(found)
    assert len(values["detail"]["nodes"]) == 20
    assert values["detail"]["nodes"][0]["free"]["count"] == 2
    assert set(found.tables["workloads"]) == {"default/work-00001", "default/work-00005"}
    assert values["health"][0]["health"] == "Reporting"
    assert len(values["history"]["times"]) == len(values["history"]["freeCores"]) == 1
    missing = values_of(render_view(live_state(scene), "site", "site-99999", ALL))
    assert missing["site"] is None


def test_the_last_hour_is_kept_and_no_more(scene: WebState) -> None:
    state = live_state(scene)
    for _ in range(500):
        state.history.sample(state.index, state.snapshot.at)
    assert len(state.history.trend()["times"]) == 120  # type: ignore[arg-type]
    kept = state.history.of_site("site-00000")
    assert {len(kept[name]) for name in kept} == {120}  # type: ignore[arg-type]


async def test_who_watches_one_view_shares_it_and_a_change_arrives(scene: WebState) -> None:
    clock = scene.clock
    assert isinstance(clock, FakeClock)
    feed = LiveFeed(scene.take_snapshot, clock, make_faults(clock))
    key = ViewKey("overview", "", ALL)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(feed.run())
        with feed.watching(key) as one, feed.watching(key) as other:
            assert one is other
            while not one.version:
                await clock.advance(LOOK_SECONDS)
            version = one.version
            put(scene, "work-00000", phase="Degraded")
            waiting = group.create_task(one.wait())
            while b'"Degraded":1' not in one.since(version, "T"):
                await clock.advance(LOOK_SECONDS)
            await waiting
        with feed.watching(key) as later:
            assert later is not one, "nothing is kept of what is not watched"
        run.cancel()
