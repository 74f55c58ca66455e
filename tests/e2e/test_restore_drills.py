"""Drills: a hub is restored, and nothing is placed afresh or withdrawn.

From a backup, from manifests without status (GitOps), and with a Lease that was made again. What
is lost for good, and how a start is refused: test_lost_objects.py and tests/integration/recovery.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_up import WORKLOAD
from tests.support.kept_data import remove
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(300)]

SETTINGS = """
freshness: {hear_sites_seconds: 0.5, site_status_seconds: 0.5, silent_after_seconds: 4.0}
dispatch: {repeat_seconds: 1.0}
"""
OTHER = WORKLOAD.replace("portal", "other")


def status(up: Up, name: str = "portal") -> dict[str, Any]:
    found: dict[str, Any] = up.get("workloads.kapok.dev", name).get("status") or {}
    return found


def is_running(up: Up, *names: str) -> bool:
    return all(status(up, name).get("phase") == "Running" for name in names)


def unknown_orders(up: Up) -> str:
    conditions = (up.get("sites.kapok.dev", "m1").get("status") or {}).get("conditions", [])
    return next((str(one["message"]) for one in conditions if one["type"] == "UnknownOrders"), "")


def hub(up: Up, *words: str) -> None:
    command = [str(BIN / "kapok"), "hub", *words, "--data-dir", str(up.data_dir)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def names_in(orders: Any) -> set[str]:  # noqa: ANN401 - order IDs
    return {one.split("/")[2] for one in orders}


def test_a_hub_restored_from_a_backup_goes_on_with_what_its_sites_run(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        one = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(one.manifest + WORKLOAD)
        with running_sites(one):
            eventually(lambda: is_running(up, "portal"))
            hub(up, "backup", str(tmp_path / "monday.db"))
            # After the backup: another workload, a scale, and a change of leader.
            up.apply(OTHER)
            up.kubectl("scale", "kw/portal", "--replicas=2")
            eventually(lambda: is_running(up, "portal", "other") and status(up)["replicas"] == 2)
            later = dict(one.contents)
            up.stop()
            up.start()
            eventually(lambda: one.index and one.index.epoch == status_epoch(up))
            epoch, seen = one.index.epoch if one.index else 0, len(one.listed)
            up.stop()
            hub(up, "restore", str(tmp_path / "monday.db"))
            # Agents prove the later index that they have; these sites cannot.
            answer = kapok(up, "hub", "adopt", "--epoch", str(epoch + 1))
            assert (answer["newKey"], answer["epoch"]) == (False, epoch + 1)
            assert answer["generationsLifted"] == 1
            up.start()
            eventually(lambda: "other" in unknown_orders(up))
            assert names_in(one.contents) == {"portal", "other"}
            assert one.contents.keys() == later.keys()
            # GitOps brings again what the backup lacks, without a status.
            up.apply(OTHER)
            eventually(lambda: is_running(up, "portal", "other"), within_seconds=60)
            assert one.contents.keys() == later.keys()  # the same lives, nothing afresh
            assert all(names_in(listed) == {"portal", "other"} for listed in one.listed[seen:])
            assert one.index is not None
            assert one.index.epoch > epoch  # above what the sites have seen
            # What the backup says runs again: it was scaled after it.
            eventually(lambda: status(up)["ready"] == 3)
            assert one.contents.keys() == later.keys()
            # No generation is used twice: what the site had of the lost time is below.
            highest = max(one.generation for one in later.values())
            assert status(up)["placement"]["generation"] > highest
            up.kubectl("scale", "kw/portal", "--replicas=4")
            eventually(lambda: is_running(up, "portal") and status(up)["ready"] == 4)
            portal = next(one for key, one in one.contents.items() if "portal" in key)
            assert portal.generation > highest


def status_epoch(up: Up) -> int:
    lease = up.get("lease", "kapok-scheduler", "kapok-system")
    return int(lease["spec"].get("leaseTransitions", 0))


def test_objects_applied_again_without_status_take_over_what_runs(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        one = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        manifests = one.manifest + WORKLOAD + "---\n" + OTHER
        up.apply(manifests)
        with running_sites(one):
            eventually(lambda: is_running(up, "portal", "other"))
            before, seen = dict(one.contents), len(one.listed)
            up.stop()
            remove(up.data_dir / "hub" / "objects.db")
            kapok(up, "hub", "adopt", "--lost", "objects")
            up.start()
            up.apply(manifests)
            eventually(lambda: is_running(up, "portal", "other"), within_seconds=60)
            assert one.contents.keys() == before.keys()
            assert all(names_in(listed) == {"portal", "other"} for listed in one.listed[seen:])


def test_a_lease_that_was_made_again_is_lifted_above_every_epoch(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        one = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(one.manifest + WORKLOAD)
        with running_sites(one):
            eventually(lambda: is_running(up, "portal"))
            up.stop()
            up.start()
            eventually(lambda: one.index and one.index.epoch == status_epoch(up))
            up.kubectl("scale", "kw/portal", "--replicas=2")  # a decision of this epoch
            eventually(lambda: is_running(up, "portal") and status(up)["ready"] == 2)
            before, seen = dict(one.contents), len(one.listed)
            epoch = one.index.epoch if one.index else 0
            up.kubectl("delete", "lease", "kapok-scheduler", "-n", "kapok-system")
            up.kill()
            with pytest.raises(AssertionError, match="--lost lease"):
                up.start()
            assert up.wait_until_dead() == 1
            kapok(up, "hub", "adopt", "--lost", "lease")
            up.start()
            eventually(lambda: one.index and one.index.epoch > epoch)
            up.kubectl("scale", "kw/portal", "--replicas=3")
            eventually(lambda: is_running(up, "portal") and status(up)["ready"] == 3)
            assert one.contents.keys() == before.keys()
            assert all(names_in(listed) == {"portal"} for listed in one.listed[seen:])
