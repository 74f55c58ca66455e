"""What an identity may keep: objects and bytes, also those that others write to later."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.storage_limits import StorageLimits, StoredUsage, set_writer
from scheduler.apiserver.auth.tokens import OWNER, TokenStore
from scheduler.apiserver.base.errors import ApiError, GroupResource
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.hub.crds.generate import make_crds
from tests.support.api_raw import RawClient, raw_client

KIND = GroupResource("", "things", "Thing")
TENANT, OTHER = Identity("a", "tenant", ("default",)), Identity("b", "tenant", ("default",))
POLICIES = "/apis/kapok.dev/v1alpha1/namespaces/default/placementpolicies"


@pytest.fixture(autouse=True)
def _no_writer_is_left() -> Iterator[None]:
    yield
    set_writer(OWNER)


def write(usage: StoredUsage, key: str, old: int, new: int) -> None:
    usage.apply(("things", key), usage.check(KIND, key, ("things", key), old, new))


def test_objects_and_bytes_count_for_the_creator_until_they_are_deleted() -> None:
    usage = StoredUsage(StorageLimits(max_objects=2, max_bytes=100))
    set_writer(TENANT)
    write(usage, "x", 0, 60)
    with pytest.raises(ApiError, match=r"limited: bytes=100; .*max_bytes_per_token") as refused:
        write(usage, "y", 0, 50)
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    write(usage, "y", 0, 40)
    with pytest.raises(ApiError, match=r"limited: objects=2; .*max_objects_per_token"):
        write(usage, "z", 0, 1)
    with pytest.raises(ApiError, match="exceeded quota"):
        write(usage, "x", 60, 61)
    write(usage, "x", 60, 0)
    write(usage, "z", 0, 60)


def test_another_identity_grows_an_object_within_the_limits_of_its_creator() -> None:
    usage = StoredUsage(StorageLimits(max_bytes=100))
    set_writer(TENANT)
    write(usage, "x", 0, 90)
    set_writer(OTHER)
    with pytest.raises(ApiError, match="token a, requested: bytes=20, used: bytes=90"):
        write(usage, "x", 90, 110)
    write(usage, "y", 0, 100)


def test_the_scheduler_is_never_refused_and_what_it_creates_counts_for_who_grows_it() -> None:
    usage = StoredUsage(StorageLimits(max_objects=1, max_bytes=100))
    set_writer(TENANT)
    write(usage, "x", 0, 90)
    set_writer(OWNER)
    write(usage, "x", 90, 500)
    write(usage, "status", 0, 1_000)
    set_writer(OTHER)
    with pytest.raises(ApiError, match="token b"):
        write(usage, "status", 1_000, 1_001)


def test_a_write_that_did_not_reach_the_disk_counts_no_more() -> None:
    usage = StoredUsage(StorageLimits(max_objects=1))
    set_writer(TENANT)
    change = usage.check(KIND, "x", ("things", "x"), 0, 10)
    usage.apply(("things", "x"), change)
    usage.revert(("things", "x"), change)
    write(usage, "y", 0, 10)


def _policy(name: str) -> bytes:
    item: dict[str, Any] = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "PlacementPolicy",
        "metadata": {"name": name},
        "spec": {},
    }
    return json.dumps(item).encode()


async def _create(client: RawClient, name: str) -> tuple[int, dict[str, Any]]:
    answer = await client.request(b"POST", POLICIES.encode(), _policy(name))
    return answer.code, answer.json


async def test_the_limits_hold_for_a_token_and_after_a_restart(tmp_path: Path) -> None:
    limits = StorageLimits(max_objects=2)
    options = ApiServerOptions(data_dir=tmp_path, crds=make_crds(), storage_limits=limits)
    token = TokenStore(tmp_path / "tokens.json").get_or_create(TENANT)
    async with serve(options) as server, raw_client(server, token) as client:
        assert [(await _create(client, name))[0] for name in ("p1", "p2")] == [201, 201]
    async with serve(options) as server, raw_client(server, token) as client:
        code, status = await _create(client, "p3")
        assert (code, status["reason"], status["details"]["name"]) == (403, "Forbidden", "p3")
        assert "limited: objects=2" in status["message"]
        async with raw_client(server) as scheduler:
            assert (await _create(scheduler, "p4"))[0] == 201
        gone = await client.request(b"DELETE", f"{POLICIES}/p1".encode())
        assert gone.code == 200
        assert (await _create(client, "p3"))[0] == 201
