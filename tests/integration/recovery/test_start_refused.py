"""A start that finds a file lost, replaced, damaged, newer or readable by others is refused.

The sentence names the file and the way out, and nothing is changed by the attempt.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from scheduler.app import run
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.leader_election import LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS
from scheduler.recovery.losses import LedgerFacts, find_hub_losses
from scheduler.runtime.data_dir import DataDirectoryError
from scheduler.services import Endpoints
from scheduler.settings import Settings
from tests.support.fake_hub import FakeHub
from tests.support.kept_data import (
    Damage,
    cut_off,
    damage_a_page,
    empty,
    files_of,
    loosen,
    make_data,
    remove,
    replace_by_folder,
    scramble,
    set_version,
)
from tests.support.sites import Raw, workload

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SECRETS = ("hub.key", "hub/tokens.json", "hub/kubeconfig", "hub/tls.key")
DATABASES = ("ledger.db", "hub/objects.db", "received.db")
FILES = (*DATABASES, *SECRETS, "hub.pub", "ports.json", "hub/tls.crt", "hub/ca.crt", "hub/port")
CASES: dict[str, tuple[str, Damage, str]] = {
    "lost objects": ("hub/objects.db", remove, "--lost objects"),
    "emptied objects": ("hub/objects.db", empty, "--lost objects"),
    "lost key": ("hub.key", remove, "--lost keys"),
    "a new key": ("hub.key", lambda path: path.write_bytes(b"k" * 32), "--lost keys"),
    "lost counts of agents": ("received.db", remove, "--lost received"),
    "emptied counts of agents": ("received.db", empty, "--lost received"),
    "lost ledger": ("ledger.db", remove, "--lost ledger"),
    "emptied ledger": ("ledger.db", empty, "--lost ledger"),
    "ports that are no object": ("ports.json", lambda path: path.write_text("[1]"), "new ports"),
    "a port out of range": ("ports.json", lambda path: path.write_text('{"a": -1}'), "new ports"),
    "tokens that are no list": (
        "hub/tokens.json",
        lambda path: path.write_text("{}"),
        "new tokens",
    ),
    "a token without a role": (
        "hub/tokens.json",
        lambda path: path.write_text('[{"token": "a", "name": "b"}]'),
        "new tokens",
    ),
    **{f"a folder as {name}": (name, replace_by_folder, "move it away") for name in FILES},
    **{f"{name} readable by a group": (name, loosen, "run: chmod 600") for name in SECRETS},
    **{f"{name} cut off": (name, cut_off, "adopt --lost") for name in (*DATABASES, "hub.key")},
    **{f"{name} scrambled": (name, scramble, "adopt --lost") for name in (*DATABASES, "hub.key")},
    **{f"{name} of a newer version": (name, set_version, "a newer Kapok") for name in DATABASES},
    **{f"{name} with a bad page": (name, damage_a_page, "damaged") for name in DATABASES},
    "ports scrambled": ("ports.json", scramble, "new ports"),
    "tokens scrambled": ("hub/tokens.json", scramble, "new tokens"),
    "a public key scrambled": ("hub.pub", scramble, "delete it"),
    "an empty key": ("hub.key", empty, "not an Ed25519 key"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept") / "data"
    asyncio.run(make_data(root))
    return root


def refusal(root: Path) -> str:
    def on_ready(endpoints: Endpoints) -> None:
        raise AssertionError(f"it started: {endpoints}")

    with pytest.raises((DataDirectoryError, BaseExceptionGroup)) as caught:
        asyncio.run(run(Settings(), root, on_ready=on_ready))
    found = caught.value
    [error] = leaf_errors(found) if isinstance(found, BaseExceptionGroup) else [found]
    assert isinstance(error, DataDirectoryError), repr(error)
    return str(error)


@pytest.mark.parametrize("case", CASES)
def test_a_start_is_refused_by_name_and_changes_nothing(
    case: str, kept: Path, tmp_path: Path
) -> None:
    name, damage, way_out = CASES[case]
    root = tmp_path / "data"
    shutil.copytree(kept, root)
    damage(root / name)
    before = files_of(root)
    sentence = refusal(root)
    assert sentence.startswith(f"{root / name}: ")
    assert way_out in sentence
    assert "\n" not in sentence
    if way_out != "--lost ledger":  # found in the statuses, so the hub was opened; see below
        assert files_of(root) == before
    assert (root / name).exists() == (damage is not remove)


def test_a_lost_keyring_is_known_by_the_ledger_beside_it(kept: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(kept, root)
    remove(root / "hub.key")
    remove(root / "hub.pub")
    assert refusal(root).startswith(f"{root / 'hub.key'}: lost: missing beside a ledger of 1 ")
    assert not (root / "hub.key").exists()


def test_two_losses_are_told_at_once(kept: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(kept, root)
    remove(root / "hub.key")
    remove(root / "hub/objects.db")
    assert refusal(root).count("kapok hub adopt") == 2


def test_a_lost_lease_is_known_by_the_ledger_and_by_the_statuses() -> None:
    ledger = LedgerFacts(records=1, epoch=7)
    decided = {**workload(), "status": {"epoch": 7}}
    for facts, objects, names in (
        (ledger, [], ["lease"]),
        (LedgerFacts(), [decided], ["lease"]),
        (LedgerFacts(), [workload()], []),
        (LedgerFacts(), [], []),
    ):
        assert asyncio.run(losses_of(facts, objects)) == names


async def losses_of(facts: LedgerFacts, objects: list[Raw]) -> list[str]:
    hub = FakeHub()
    for body in objects:
        await hub.create(WORKLOADS, body)
    found = await find_hub_losses(hub, Path("data"), facts, is_ledger_expected=False)
    return [loss.name for loss in found]


def test_a_further_scheduler_of_a_real_cluster_starts_without_a_ledger() -> None:
    async def losses(*, is_ledger_expected: bool) -> list[str]:
        hub = FakeHub()
        decided = {"epoch": 7, "decision": {"id": "7-1", "hash": "sha256:1"}}
        await hub.create(WORKLOADS, {**workload(), "status": decided})
        name = {"name": LEASE_NAME, "namespace": NAMESPACE}
        await hub.create(LEASES, {"kind": "Lease", "metadata": name})
        found = await find_hub_losses(
            hub, Path("data"), LedgerFacts(), is_ledger_expected=is_ledger_expected
        )
        return [loss.name for loss in found]

    assert asyncio.run(losses(is_ledger_expected=False)) == []
    assert asyncio.run(losses(is_ledger_expected=True)) == ["ledger"]
