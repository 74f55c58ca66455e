"""Who an order belongs to, and which index is the newest, by kubectl against a running hub."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agents.protocol.index import DesiredIndex
from scheduler.ledger.reader import LedgerReader
from tests.hostile.test_objects import INCARNATION, deployment, phase, workload
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
FORGED = "f0f0f0f0f0"
SETTINGS = """
freshness: {hear_sites_seconds: 0.2, site_status_seconds: 0.5, silent_after_seconds: 4.0}
dispatch: {repeat_seconds: 1.0}
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One hub for all tests of this file; each leaves no Site behind."""
    with running_up(tmp_path_factory.mktemp("up"), settings=SETTINGS) as running:
        yield running


def status_of(up: Up, name: str) -> Json:
    status: Json = up.get("workloads.kapok.dev", name).get("status", {})
    return status


def is_running(up: Up, name: str) -> bool:
    return phase(up, name) == "Running"


def forged(name: str) -> str:
    """A workload whose author writes everything that could pass for an identity."""
    one = workload(name, deployment(name))
    one["metadata"]["annotations"] = {INCARNATION: FORGED}
    one["status"] = {"incarnation": FORGED, "placement": {"groups": []}, "decision": {"id": "1-1"}}
    return json.dumps(one)


def newer_index(site: ScriptedSite, before: DesiredIndex) -> DesiredIndex | None:
    return site.index if site.index and site.index.version > before.version else None


def condition(up: Up, site: str, kind: str) -> Json:
    found = up.get("sites.kapok.dev", site).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def test_nothing_that_a_tenant_writes_is_an_identity_and_a_deletion_ends_one(up: Up) -> None:
    site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], nodes=100)
    up.apply(site.manifest + forged("victim"))
    with running_sites(site):
        eventually(lambda: phase(up, "victim") == "Running")
        first = status_of(up, "victim")["incarnation"]
        assert first != FORGED
        assert list(site.contents) == [f"kapok/default/victim/{first}"]
        patch = json.dumps({"status": {"incarnation": FORGED}})
        words = ("patch", "kw", "victim", "--subresource=status", "--type=merge", "-p", patch)
        assert "status.incarnation must not change" in up.kubectl(*words, check=False)
        up.kubectl("annotate", "kw", "victim", f"{INCARNATION}={'x' * 9}", "--overwrite")
        up.kubectl("scale", "kw", "victim", "--replicas=2")
        eventually(lambda: status_of(up, "victim").get("ready") == 2)
        assert list(site.contents) == [f"kapok/default/victim/{first}"]
        up.kubectl("delete", "kw", "victim")
        up.apply(forged("victim").replace(FORGED, first))
        eventually(lambda: phase(up, "victim") == "Running")
        second = status_of(up, "victim")["incarnation"]
        assert second not in (first, FORGED)
        assert list(site.contents) == [f"kapok/default/victim/{second}"]
    with LedgerReader(up.data_dir / "ledger.db") as reader:
        kinds = [(one.kind, one.content["incarnation"]) for one in reader.records()]
    ended = kinds.index(("deletion", first))
    assert {life for _, life in kinds[:ended]} == {first}
    assert {life for _, life in kinds[ended + 1 :]} == {second}
    assert kapok(up, "ledger", "verify")["ok"]
    lines = {one["kind"]: one["line"] for one in kapok(up, "ledger", "list")["records"]}
    assert lines["deletion"] == "the workload was deleted"


def test_a_site_made_again_is_not_deaf_and_a_foreign_index_is_told(up: Up) -> None:
    first, second = (
        ScriptedSite(name, up.ready["broker"], up.ready["hubKey"], nodes=100)
        for name in ("m1", "m2")
    )
    up.apply(first.manifest)
    with running_sites(first, second):
        up.apply(json.dumps(workload("db", deployment("db"))))
        for name in ("w0", "w1", "w2"):  # the index of m1 runs ahead of a count from 1
            up.apply(json.dumps(workload(name, deployment(name))))
            eventually(partial(is_running, up, name))
        before = eventually(lambda: first.index)
        up.apply(second.manifest)
        first.is_talking = False
        up.kubectl("delete", "site", "m1")
        eventually(lambda: status_of(up, "db").get("sites") == "m2 (1)")
        up.apply(first.manifest)
        first.is_talking = True
        after = eventually(lambda: newer_index(first, before))
        assert (after.site_uid != before.site_uid, first.contents) == (True, {})
        # Until its next status the site shows the index that it had before.
        eventually(lambda: not condition(up, "m1", "ForeignIndex"))
        first.index = replace(after, sequence=10**6)
        found = eventually(lambda: condition(up, "m1", "ForeignIndex"))
        assert f"index {after.epoch}/{10**6}" in found["message"]
        first.index = after
        eventually(lambda: not condition(up, "m1", "ForeignIndex"))
