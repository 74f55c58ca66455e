"""The epoch under attack: a site's word moves nothing, the hub's own signature moves it by one.

The last test stands where an older version could be brought: a Lease at the end of its counter.
"""

import asyncio
import json
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.protocol.envelope import seal
from agents.protocol.index import DESIRED_INDEX, DesiredIndex
from agents.protocol.keys import SigningKey
from agents.protocol.topics import site_topic
from scheduler.control.leader_election import EPOCH_ANNOTATION, LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS
from scheduler.runtime.data_dir import locked_data_directory
from scheduler.services import open_hub_client
from scheduler.settings import Settings
from tests.hostile.test_mqtt import Liar, _epoch, place
from tests.support.counters import counters
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, FAST_SETTINGS, Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
END = 2**31 - 1


def claims_counted(up: Up) -> Counter[str]:
    """`kapok_epoch_claims_total` by result."""
    return Counter(
        {
            name.partition('result="')[2].partition('"')[0]: int(value)
            for name, value in counters(up, "kapok_epoch_claims_total").items()
        }
    )


def index_of(key: SigningKey, *, site: str, uid: str, epoch: int) -> str:
    """An index as a hub with this key signs it."""
    index = DesiredIndex(site=site, site_uid=uid, epoch=epoch, sequence=1)
    return seal(DESIRED_INDEX.encode(index), topic=site_topic(site, "desired"), key=key).decode()


def claim(liar: Liar, epoch: int, *, proof: str | None = None) -> tuple[str, bytes]:
    """A status that claims a later index, with or without a proof."""
    fields: Json = {"index": {"epoch": epoch, "sequence": 1, "digest": "sha256:0"}}
    if proof is not None:
        fields["indexProof"] = proof
    return "status", liar.message({"orders": [], "missing": [], "isExecuting": True, **fields})


@pytest.mark.soak  # the gate: tests/unit/control/orders/test_epoch_claims.py, without processes
def test_only_an_index_that_the_hub_has_signed_for_the_site_moves_the_epoch(
    tmp_path: Path,
) -> None:
    settings = FAST_SETTINGS.replace("repeat_seconds: 1.0", "repeat_seconds: 0.01")
    with running_up(tmp_path, settings=settings) as up:
        honest = ScriptedSite("good", up.ready["broker"], up.ready["hubKey"])
        liar = Liar(up)
        up.apply(honest.manifest + liar.site.manifest)
        ours, epoch = SigningKey((up.data_dir / "hub.key").read_bytes()), _epoch(up)
        uid = up.get("site", "evil")["metadata"]["uid"]
        good_uid = up.get("site", "good")["metadata"]["uid"]
        proof = index_of(ours, site="evil", uid=uid, epoch=epoch + 40)
        refused = {
            "unknown-key": index_of(liar.key, site="evil", uid=uid, epoch=10**9),
            "wrong-site": index_of(ours, site="evil", uid=good_uid, epoch=epoch + 1),
            "signature": index_of(ours, site="good", uid=good_uid, epoch=epoch + 1),
            "stale": index_of(ours, site="evil", uid=uid, epoch=epoch - 1),
            "too-large": index_of(ours, site="evil", uid=uid, epoch=END),
        }

        def is_counted(*results: str) -> bool:
            counted = claims_counted(up)
            return all(counted[result] for result in results)

        def claim_and_prove(text: str) -> None:
            """In two steps: of two statuses that wait, the hub takes the newer one alone."""
            before = claims_counted(up)["unproven"]
            liar.send([claim(liar, 10**9)])
            eventually(lambda: claims_counted(up)["unproven"] > before)
            liar.send([claim(liar, 10**9, proof=text)])

        with running_sites(honest):
            liar.send([claim(liar, huge) for huge in (END, 10**9, epoch + 1)])
            for result, text in refused.items():
                claim_and_prove(text)
                eventually(partial(is_counted, result))
            assert _epoch(up) == epoch
            claim_and_prove(proof)
            eventually(lambda: _epoch(up) == epoch + 41)
            claim_and_prove(proof)
            place(up, "after")
            assert _epoch(up) == epoch + 41
            assert max(honest.indexes)[0] == epoch + 41
            eventually(lambda: is_counted("proven"))
            assert claims_counted(up)["proven"] == 1
            assert counters(up, "kapok_faults_total") == {}


async def spoil(data_dir: Path) -> None:
    """Brings the Lease and the status of a workload to the end of the epochs."""
    with locked_data_directory(data_dir) as directory:
        async with open_hub_client(Settings(), directory, on_hub_fault=print) as (_, hub):
            lease = {
                "metadata": {"annotations": {EPOCH_ANNOTATION: str(END)}},
                "spec": {"leaseTransitions": END},
            }
            await hub.merge_patch(LEASES, LEASE_NAME, lease, namespace=NAMESPACE)
            status = {"status": {"epoch": END}}
            await hub.merge_patch(
                WORKLOADS, "before", status, namespace="default", subresource="status"
            )


def adopt(up: Up, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(BIN / "kapok"),
        "hub",
        "adopt",
        *words,
        "--data-dir",
        str(up.data_dir),
        "-o",
        "json",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.soak  # the gate has it without processes: tests/integration/cli/test_adopt_epoch.py
def test_a_lease_at_the_end_of_its_counter_names_the_command_that_repairs_it(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path) as up:
        honest = ScriptedSite("good", up.ready["broker"], up.ready["hubKey"])
        up.apply(honest.manifest)
        with running_sites(honest):
            place(up, "before")
        refused = adopt(up, "--epoch")
        assert (refused.returncode, "in use by another kapok" in refused.stderr) == (1, True)
        up.stop()
        asyncio.run(spoil(up.data_dir))
        with pytest.raises(AssertionError, match="kapok hub adopt --epoch"):
            up.start()
        assert up.wait_until_dead() == 1
        assert "Traceback" not in up.log
        done = adopt(up, "--epoch")
        answer = json.loads(done.stdout)
        assert (answer["epoch"], answer["newKey"], answer["statuses"]) == (1, True, 1), answer
        old_key = up.ready["hubKey"]
        up.start()
        assert up.ready["hubKey"] == answer["hubKey"] != old_key
        assert _epoch(up) == 2
        assert up.get("workloads.kapok.dev", "before")["status"]["epoch"] <= 2
        again = ScriptedSite("good", up.ready["broker"], up.ready["hubKey"], key=honest.key)
        again.boot_number, again.runs = 2, dict.fromkeys(honest.contents, (1, 1))
        with running_sites(again):
            place(up, "after")
            assert honest.contents.keys() <= again.contents.keys(), "what ran is ordered again"
