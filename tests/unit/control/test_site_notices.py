"""What operators read about sites: a line of the log with ids, and an Event on the Site."""

import logging
from datetime import timedelta

import pytest

from scheduler.control.ports.hub import GRANTS, SITES
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, grant, nodes, site, workload


def _site(name: str) -> Raw:
    return site(name, nodes(8), observedAt="2026-11-24T08:00:00Z")


def _events(loops: ControlLoops) -> list[tuple[str, str]]:
    """Reason and Site of the events that wait; warnings first, else in order."""
    found = []
    while body := loops.events.pending.pop():  # what would be written
        if body["involvedObject"]["kind"] == "Site":
            assert body["metadata"]["namespace"] == "default"
            assert "namespace" not in body["involvedObject"]
            found.append((body["reason"], body["involvedObject"]["name"]))
    return found


def _ids(caplog: pytest.LogCaptureFixture, words: str) -> list[dict[str, str]]:
    names = ("decision", "order", "site", "grant", "workload")
    return [
        {name: getattr(one, name) for name in names if hasattr(one, name)}
        for one in caplog.records
        if words in one.getMessage()
    ]


async def test_a_site_that_is_silent_and_returns_is_said_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops, one = ControlLoops(), _site("m1")
    async with loops.started(one):
        assert _ids(caplog, "site m1 reports") == [{"site": "m1"}]
        assert _events(loops) == []  # a start is nothing that happened to the site
        for _ in range(2):
            loops.clock_events.mark_silent("m1")
        assert _ids(caplog, "site m1 is silent") == [{"site": "m1"}]
        loops.report(one)
        loops.report(one)
        assert len(_ids(caplog, "site m1 reports again; it was silent since")) == 1
        assert _events(loops) == [("Silent", "m1"), ("Returned", "m1")]


async def test_a_site_that_is_admitted_and_removed_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops = ControlLoops()
    async with loops.started(_site("m1")):
        await loops.hub.create(SITES, {**_site("m2"), "status": {}})
        loops.read_hub()
        assert _ids(caplog, "site m2 is admitted") == [{"site": "m2"}]
        assert _events(loops) == [("Admitted", "m2")]
        await loops.hub.delete(SITES, "m2")
        loops.read_hub()
        assert _ids(caplog, "site m2 is no longer admitted") == [{"site": "m2"}]


async def test_a_grant_that_appears_lapses_or_goes_is_said_with_its_sites(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops = ControlLoops()
    async with loops.started(_site("m1")):
        until = (loops.clock.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        later = grant("m1")
        later["metadata"] = {"name": "later"}
        later["spec"]["validUntil"] = until
        await loops.hub.create(GRANTS, later)
        loops.read_hub()
        assert _ids(caplog, "grant later of m1 holds") == [{"grant": "later", "site": "m1"}]
        await loops.clock.advance(3601)
        loops.clock_events._handle_grant_boundaries()  # noqa: SLF001 - what is due each second
        assert len(_ids(caplog, "grant later of m1 has lapsed")) == 1
        await loops.hub.delete(GRANTS, "later")
        loops.read_hub()
        assert len(_ids(caplog, "grant later of m1 is gone")) == 1
        assert [reason for reason, _ in _events(loops)] == [
            "GrantEnded",
            "GrantEnded",
            "Granted",
        ]


async def test_a_decision_is_said_with_its_id_and_workload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops = ControlLoops()
    async with loops.started(_site("m1"), workload(1, name="w")):
        await loops.clock.settle()
    ids = _ids(caplog, "decided ns/w: placed on m1")
    assert [(one["workload"], one["decision"]) for one in ids] == [("ns/w", "7-1")]
    stored = await loops.workload("w")
    (placed,) = [one for one in stored["status"]["conditions"] if one["type"] == "Placed"]
    assert placed["message"] == stored["status"]["decision"]["line"] == "placed on m1 (1)"
