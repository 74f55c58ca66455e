"""A hub that has lost its objects withdraws nothing, whatever it forgot.

That a start without `adopt` is refused is shown in tests/integration/recovery.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_up import WORKLOAD
from tests.support.kept_data import remove
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SETTINGS = """
freshness: {hear_sites_seconds: 0.5, site_status_seconds: 0.5, silent_after_seconds: 4.0}
dispatch: {repeat_seconds: 1.0}
"""
OTHER = WORKLOAD.replace("portal", "other")


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def unknown_orders(up: Up) -> dict[str, Any]:
    status = up.get("sites.kapok.dev", "m1").get("status") or {}
    found = [one for one in status.get("conditions", []) if one["type"] == "UnknownOrders"]
    return found[0] if found else {}


def with_incarnation(manifest: str, order_id: str) -> str:
    annotation = f'annotations: {{kapok.dev/incarnation: "{order_id.rpartition("/")[2]}"}}'
    return manifest.replace("namespace: default}", f"namespace: default, {annotation}}}")


@pytest.mark.soak
def test_what_a_hub_forgot_runs_on_until_an_operator_says_otherwise(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        one = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(one.manifest + WORKLOAD + "---\n" + OTHER)
        with running_sites(one):
            eventually(lambda: phase(up, "portal") == phase(up, "other") == "Running")
            up.stop()
            remove(up.data_dir / "hub" / "objects.db")
            ordered = {order_id.split("/")[2]: order_id for order_id in one.contents}
            assert set(ordered) == {"portal", "other"}
            assert kapok(up, "hub", "adopt", "--lost", "objects")["accepted"] == ["objects"]
            seen = len(one.listed)
            up.start()
            up.apply(one.manifest)
            eventually(lambda: "other" in str(unknown_orders(up)))
            up.apply(with_incarnation(WORKLOAD, ordered["portal"]))
            eventually(lambda: phase(up, "portal") == "Placed")
            assert up.get("workloads.kapok.dev", "portal")["status"]["sites"] == "m1 (3)"
            time.sleep(1.0)  # noqa: TID251 - longer than a start waits for orders to become known
            assert one.listed[seen:] == []
            assert set(one.contents) == set(ordered.values())
            assert ordered["other"] in unknown_orders(up)["message"]
            kapok(up, "hub", "adopt", "--unknown-orders", "withdraw")
            eventually(lambda: one.listed[seen:])
            assert one.listed[-1] == (ordered["portal"],)
            eventually(lambda: not unknown_orders(up) and phase(up, "portal") == "Running")
