"""A late write of a former leader is refused, or else overwritten and never adopted."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]

from scheduler.control.fence import FENCE_NAME, MESSAGE, late_status_problem
from scheduler.control.ports.hub import WORKLOADS, Object
from scheduler.model.kinds.workload import MAX_KEPT_EPOCH
from scheduler.runtime.packaged_files import packaged_folder
from tests.support.postgres import PostgresServer
from tests.support.proxied_hub import ProxiedHub, Scheduler, proxied_hub, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


async def lead_after_a_held_status(hub: ProxiedHub) -> tuple[Scheduler, Object]:
    """A leader whose PATCH of a status is held back on its way, and another one that then leads.

    Returns:
        The new leader, and the workload, which it has not written.
    """
    first, second = await start_two(hub)
    await hub.create("w")
    await until(lambda: is_ready(hub, "w"))
    hub.proxy.faults.held_paths = "/workloads/w/status"
    hub.site.is_ready = False
    await until(lambda: are_held(hub))
    hub.site.is_ready = True
    before = await hub.client.get(WORKLOADS, "w", "default")
    first.task.cancel()
    hub.proxy.faults.held_paths = ""
    await until(lambda: is_leading(second))
    await until(lambda: is_decided(hub, "new"))
    assert await hub.client.get(WORKLOADS, "w", "default") == before
    return second, before


async def start_two(hub: ProxiedHub) -> tuple[Scheduler, Scheduler]:
    """One that leads and one that stands by."""
    first = hub.start("first")
    await first.is_ready.wait()
    second = hub.start("second")
    await until(second.stands_by)
    return first, second


async def is_leading(scheduler: Scheduler) -> bool:
    return scheduler.is_ready.is_set() and await scheduler.metric("kapok_leader") == 1


async def are_held(hub: ProxiedHub) -> bool:
    return bool(hub.proxy.faults.held)


async def is_ready(hub: ProxiedHub, name: str) -> bool:
    return (await hub.status(name)).get("phase") == "Running"


async def is_decided(hub: ProxiedHub, name: str) -> bool:
    """Creates the workload if need be."""
    listed = {one["metadata"]["name"] for one in (await hub.client.list(WORKLOADS)).items}
    if name not in listed:
        await hub.create(name)
    return await hub.is_placed(name)


async def answers(hub: ProxiedHub) -> list[int]:
    """What the server answered to the writes that were held back; [] until it has, to all."""
    late = hub.proxy.faults.late_answers
    return sorted(late) if len(late) == len(hub.proxy.faults.held) else []


async def test_a_status_that_was_held_back_until_after_the_take_over_is_refused(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(tmp_path, server=server, ledger=postgres.new_database()) as hub:
        second, before = await lead_after_a_held_status(hub)
        hub.proxy.faults.release.set()
        assert set(await until(lambda: answers(hub))) == {422}
        assert await hub.client.get(WORKLOADS, "w", "default") == before
        assert await second.metric("kapok_hub_late_statuses_total") == 0


async def test_where_the_hub_takes_a_late_status_the_leader_overwrites_it_in_one_write(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(
        tmp_path, server=server, is_fenced=False, ledger=postgres.new_database()
    ) as hub:
        second, before = await lead_after_a_held_status(hub)
        hub.proxy.faults.seen.clear()
        hub.proxy.faults.release.set()
        assert (await until(lambda: answers(hub)))[0] == 200
        expected = {**before["status"], "epoch": await hub.lease_epoch()}

        async def is_overwritten() -> bool:
            return await hub.status("w") == expected

        await until(is_overwritten)
        await until(lambda: second.metric("kapok_hub_late_statuses_total"))
        writes = [one for one in hub.proxy.faults.seen if "/workloads/w/status" in one]
        assert len(writes) == 1


POLICY, BINDING = yaml.safe_load_all(
    (packaged_folder("manifests") / "admission/epoch-fence.yaml").read_text(encoding="utf-8")
)


def test_the_policy_for_real_clusters_is_valid_and_has_the_same_words() -> None:
    for one in (POLICY, BINDING):
        kubernetes_validate.validate(one, "1.36", strict=True)
        assert one["metadata"]["name"] == FENCE_NAME
    assert [one["message"] for one in POLICY["spec"]["validations"]] == [MESSAGE]


_NAMES = ("object", "oldObject", "params", "variables")
_EPOCHS = (None, 1, 5, 6, MAX_KEPT_EPOCH, MAX_KEPT_EPOCH + 1)


def denies(old: dict[str, Any], new: dict[str, Any], lease: dict[str, Any]) -> bool:
    """Whether the policy denies a write, evaluated as a real API server does."""
    environment = cel.NewEnv(variables=dict.fromkeys(_NAMES, cel.Type.DYN))
    data: dict[str, Any] = {"object": new, "oldObject": old, "params": lease, "variables": {}}
    for one in POLICY["spec"]["variables"]:
        data["variables"][one["name"]] = (
            environment.compile(one["expression"]).eval(data=data).value()
        )
    rules = [one["expression"] for one in POLICY["spec"]["validations"]]
    return not all(environment.compile(rule).eval(data=data).value() for rule in rules)


def test_the_policy_and_the_embedded_hub_refuse_the_same() -> None:
    for begun in _EPOCHS:
        lease = {"spec": {} if begun is None else {"leaseTransitions": begun}}
        for old in map(with_epoch, _EPOCHS):
            for new in map(with_epoch, _EPOCHS):
                refused = bool(late_status_problem(old, new, lease))
                assert denies(old, new, lease) == refused, (old, new, lease)


def with_epoch(epoch: int | None) -> dict[str, Any]:
    return {} if epoch is None else {"status": {"epoch": epoch}}
