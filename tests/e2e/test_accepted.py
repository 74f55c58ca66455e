"""A leader with an empty ledger on the same hub rolls out nothing that was not accepted."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_up import WORKLOAD
from tests.support.kept_data import remove
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(400)]

SETTINGS = """
freshness: {hear_sites_seconds: 0.5, site_status_seconds: 0.5, silent_after_seconds: 30.0}
dispatch: {repeat_seconds: 1.0}
"""
NOISE = "".join(
    f"{one * 2654435761 % 2**32:08x}{one * one * 40503 % 2**32:08x}" for one in range(12000)
)
LARGE = (
    WORKLOAD.replace("portal", "large")
    + f"""  - apiVersion: v1
    kind: ConfigMap
    metadata: {{name: large}}
    data: {{noise: "{NOISE}"}}
"""
)
SECRET = """  - apiVersion: v1
    kind: Secret
    metadata: {name: s}
    stringData: {password: hunter2}
"""  # noqa: S105 - a Secret that is refused


def refused(manifest: str) -> str:
    return manifest.replace(":1", ":2") + SECRET


def status_of(up: Up, name: str) -> dict[str, Any]:
    found: dict[str, Any] = up.get("workloads.kapok.dev", name).get("status", {})
    return found


def condition(up: Up, name: str, kind: str) -> dict[str, Any]:
    found = [one for one in status_of(up, name).get("conditions", []) if one["type"] == kind]
    return found[0] if found else {}


def is_running(up: Up, name: str) -> bool:
    return bool(status_of(up, name).get("phase") == "Running")


def is_refused(up: Up, name: str) -> bool:
    return bool(condition(up, name, "Accepted").get("status") == "False")


def entries(site: ScriptedSite) -> dict[str, str]:
    assert site.index is not None
    return {one.id: one.digest for one in site.index.orders}


def revisions(up: Up) -> list[Any]:
    text = up.kubectl("get", "controllerrevisions", "-n", "default", "-o", "json")
    found: list[Any] = json.loads(text)["items"]
    return found


def test_a_lost_ledger_makes_no_refused_spec_run(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(site.manifest + WORKLOAD)
        up.kubectl("create", "-f", "-", text=LARGE)
        with running_sites(site):
            for name in ("portal", "large"):
                eventually(partial(is_running, up, name), within_seconds=60)
            before, contents = entries(site), dict(site.contents)
            assert len(before) == 2
            [revision] = revisions(up)
            assert revision["metadata"]["name"].startswith("large-")
            for name, manifest in (("portal", WORKLOAD), ("large", LARGE)):
                up.kubectl("replace", "-f", "-", text=refused(manifest))
                eventually(partial(is_refused, up, name), within_seconds=60)
            up.stop()
            remove(up.data_dir / "ledger.db")
            assert kapok(up, "hub", "adopt", "--lost", "ledger")["accepted"] == ["ledger"]
            indexes = len(site.indexes)
            up.start()
            eventually(lambda: len(site.indexes) > indexes, within_seconds=60)
            eventually(partial(is_refused, up, "portal"), within_seconds=60)
            assert entries(site) == before
            assert site.contents == contents
            assert condition(up, "large", "OrdersKept") == {}
            assert ":2" not in repr(site.contents)
            up.kubectl("delete", "workloads.kapok.dev", "large", "-n", "default", "--wait=false")
            eventually(lambda: revisions(up) == [], within_seconds=60)
