"""The hub goes away, or refuses the scheduler: it waits, says so, decides nothing, and goes on."""

import logging
from functools import partial
from pathlib import Path

import pytest
import yaml

from scheduler.control.ports.hub import WORKLOADS
from tests.support.proxied_hub import ProxiedHub, Scheduler, proxied_hub, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PROBLEMS = {
    0: "unreachable",
    401: "unauthorized",
    403: "forbidden",
    429: "throttled",
    503: "failing",
}


def set_fault(hub: ProxiedHub, status: int) -> None:
    """The hub answers with a status from now on; 0: not at all."""
    hub.proxy.faults.gone, hub.proxy.faults.refuse_with = status == 0, status
    hub.proxy.cut_watches()


def lines_about(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [one for one in caplog.messages if one.startswith("the hub at") and word in one]


async def says(scheduler: Scheduler, *words: str) -> str:
    """The text of /readyz if it has all these words, else ""."""
    text = await scheduler.page("readyz")
    return text if all(word in text for word in words) else ""


async def leads(scheduler: Scheduler) -> bool:
    return await scheduler.metric("kapok_leader") == 1


async def has(scheduler: Scheduler, problem: str) -> bool:
    """Whether the metrics name a problem with the hub."""
    return await scheduler.metric(f'kapok_hub_problem{{reason="{problem}"}}') == 1


async def leads_no_more(scheduler: Scheduler) -> bool:
    """The metrics follow the page within a moment."""
    return await scheduler.metric("kapok_leader") == 0


async def test_a_hub_that_is_down_at_the_start_is_waited_for(
    tmp_path: Path, server: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with proxied_hub(tmp_path, server=server) as hub:
        set_fault(hub, 0)
        scheduler = hub.start()
        await hub.create("early")
        words = ("nothing is decided", hub.proxy.url, "unreachable since")
        await until(lambda: says(scheduler, *words))
        await until(lambda: has(scheduler, "unreachable"))
        assert await scheduler.metric("kapok_leader") == 0
        set_fault(hub, 401)
        await until(lambda: says(scheduler, "unauthorized since"))
        assert not scheduler.is_ready.is_set()
        assert await hub.status("early") == {}
        hub.proxy.faults.clear()
        await until(lambda: hub.is_placed("early"))
        await scheduler.is_ready.wait()
        await until(lambda: says(scheduler, "ok"))
        assert len(lines_about(caplog, "unreachable since")) == 1
        assert len(lines_about(caplog, "serves the scheduler again")) == 1


@pytest.mark.parametrize(
    "status", [0, 401, *(pytest.param(one, marks=pytest.mark.soak) for one in (403, 429, 503))]
)
async def test_a_leader_steps_down_in_an_outage_and_goes_on_after_it(
    tmp_path: Path, server: Path | None, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO)
    problem = PROBLEMS[status]
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await hub.create("before")
        await until(lambda: hub.is_placed("before"))
        epoch, lost = await hub.lease_epoch(), "kapok_hub_lost_leases_total"
        losses = await scheduler.metric(lost)
        set_fault(hub, status)
        await until(lambda: says(scheduler, "without the lease", f"{problem} since"))
        await until(lambda: leads_no_more(scheduler))
        await until(lambda: has(scheduler, problem))
        await hub.create("during")
        assert await hub.status("during") == {}
        hub.proxy.faults.clear()
        await until(lambda: hub.is_placed("during"))
        assert await scheduler.metric(lost) > losses
        assert len(lines_about(caplog, f"{problem} since")) == 1
        assert await hub.lease_epoch() == epoch, "no other scheduler has led meanwhile"
        assert not scheduler.task.done()
        assert await hub.is_placed("before")


async def test_what_is_forbidden_is_named_and_the_lease_is_kept(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        hub.proxy.faults.refused_paths, hub.proxy.faults.refuse_with = "/status", 403
        await hub.create("w")
        await until(lambda: says(scheduler, "forbidden", "patch workloads.kapok.dev/status"))
        await until(lambda: leads(scheduler))  # also while it is forbidden
        hub.proxy.faults.clear()
        await until(lambda: hub.is_placed("w"))
        await until(lambda: says(scheduler, "ok"))


async def test_a_token_that_is_replaced_in_the_kubeconfig_is_read_again(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        config = yaml.safe_load(hub.proxy.kubeconfig.read_text())

        def write_token(token: str) -> None:
            config["users"][0]["user"]["token"] = token
            hub.proxy.kubeconfig.write_text(yaml.safe_dump(config))

        hub.proxy.faults.token = "one"  # noqa: S105 - of this test
        write_token("one")
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        hub.proxy.faults.token = "two"  # noqa: S105 - of this test
        await until(lambda: says(scheduler, "unauthorized since"))
        write_token("two")
        await hub.create("w")
        await until(lambda: hub.is_placed("w"))
        await until(lambda: says(scheduler, "ok"))


async def test_cut_and_expired_watches_lose_nothing(tmp_path: Path, server: Path | None) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        hub.lease_seconds = 15  # no take-over is waited for, and a busy machine keeps it
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        for number in range(3):
            hub.proxy.faults.expired_watches = 8
            hub.proxy.cut_watches()
            await hub.create(f"w{number}")
            await until(partial(hub.is_placed, f"w{number}"))
        hub.proxy.cut_watches()
        await hub.client.delete(WORKLOADS, "w0", "default")
        await until(lambda: is_gone(hub, "w0"))


async def is_gone(hub: ProxiedHub, name: str) -> bool:
    listing = await hub.client.list(WORKLOADS)
    return all(one["metadata"]["name"] != name for one in listing.items)
