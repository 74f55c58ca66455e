"""The broker dies, and sites die: what is evicted, and what is not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scheduler.control.failover.freeze_word import FREEZE_MAP, FreezeWord
from scheduler.control.failover.storm_gate import CONDITION
from scheduler.control.ports.hub import CONFIG_MAPS, EVENTS, NAMESPACE, SITES
from tests.support.proxied_hub import KEY, ProxiedHub, Scheduler, proxied_hub, until
from tests.support.scripted_site import ScriptedSite, running_sites

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(180)]

SHORT: dict[str, Any] = {
    "freshness": {
        "hear_sites_seconds": 3.0,
        "site_status_seconds": 1.0,
        "silent_after_seconds": 1.5,
    },
    "health": {"lost_after_seconds": 3.0, "first_hold_seconds": 0.0},
    "failover": {"after_seconds": 1.0, "storm": {"settle_seconds": 3.0}},
}


def more_sites(hub: ProxiedHub) -> list[ScriptedSite]:
    address = f"127.0.0.1:{hub.broker_port}"
    return [
        ScriptedSite(name, address, str(KEY.public), nodes=8, cpu="64")
        for name in ("site-b", "site-c")
    ]


async def sites_of(hub: ProxiedHub, name: str) -> list[str]:
    groups = (await hub.status(name)).get("placement", {}).get("groups", [])
    return sorted(site for one in groups for site in one["sites"])


async def is_running(hub: ProxiedHub, name: str) -> bool:
    return (await hub.status(name)).get("phase") == "Running"


async def conditions_of(hub: ProxiedHub, site: str) -> dict[str, dict[str, str]]:
    status = (await hub.client.get(SITES, site)).get("status") or {}
    return {one["type"]: one for one in status.get("conditions", ())}


async def are_absent(scheduler: Scheduler, count: int) -> bool:
    healths = [f'kapok_site_health{{health="{one}"}}' for one in ("Silent", "Lost")]
    return sum([await scheduler.metric(one) for one in healths]) == count


async def may_evict(scheduler: Scheduler) -> bool:
    text = await scheduler.page("readyz")
    return text == "ok\n"


async def test_while_the_broker_is_dead_nothing_is_evicted_and_one_dead_site_is(
    tmp_path: Path,
) -> None:
    async with proxied_hub(tmp_path) as hub:
        hub.more_settings = SHORT
        others = more_sites(hub)
        await hub.admit(*others)
        with running_sites(*others):
            scheduler = hub.start()
            await hub.create("w")
            await until(lambda: is_running(hub, "w"))
            await until(lambda: may_evict(scheduler))
            before = (await hub.status("w"))["placement"]
            assert hub.broker is not None
            await hub.broker.stop()
            await until(lambda: are_absent(scheduler, 3))
            frozen = 'kapok_evictions_frozen{reason="session"}'
            assert await scheduler.metric(frozen) == 1
            assert "no session with the broker" in await scheduler.page("readyz")
            (site,) = await sites_of(hub, "w")

            async def is_held() -> bool:
                return CONDITION in await conditions_of(hub, site)

            await until(is_held)
            lost = 'kapok_site_health{health="Lost"}'

            async def are_lost() -> bool:
                return await scheduler.metric(lost) == 3

            await until(are_lost)  # far beyond failover.after_seconds
            assert (await hub.status("w"))["placement"] == before
            await hub.broker.start()
            await until(lambda: may_evict(scheduler))
            await until(lambda: is_running(hub, "w"))
            assert (await hub.status("w"))["placement"] == before
            assert await scheduler.metric("kapok_waiting_evictions") == 0

            async def is_free() -> bool:
                return CONDITION not in await conditions_of(hub, site)

            # Statuses of Sites are written once in site_status_seconds; the gate is open before.
            await until(is_free)

            dead = next(one for one in (hub.site, *others) if one.name == site)
            dead.is_talking = False

            async def has_moved() -> bool:
                return await is_running(hub, "w") and site not in await sites_of(hub, "w")

            await until(has_moved)
            await until(lambda: said(hub, "EvictionsFrozen", "EvictionsAllowed"))


async def said(hub: ProxiedHub, *reasons: str) -> bool:
    events = (await hub.client.list(EVENTS, NAMESPACE)).items
    return set(reasons) <= {one["reason"] for one in events}


async def test_an_operators_freeze_holds_over_a_restart(tmp_path: Path) -> None:
    async with proxied_hub(tmp_path) as hub:
        hub.more_settings = SHORT
        others = more_sites(hub)
        await hub.admit(*others)
        with running_sites(*others):
            scheduler = hub.start()
            await hub.create("w")
            await until(lambda: is_running(hub, "w"))
            await until(lambda: may_evict(scheduler))
            word = FreezeWord(is_frozen=True, why="works", by="li", id="w1")
            patch = {"data": word.to_data()}
            await hub.client.merge_patch(CONFIG_MAPS, FREEZE_MAP, patch, namespace=NAMESPACE)
            (site,) = await sites_of(hub, "w")
            dead = next(one for one in (hub.site, *others) if one.name == site)
            dead.is_talking = False
            scheduler.task.cancel()
            await asyncio.wait([scheduler.task])
            again = hub.start()
            frozen = 'kapok_evictions_frozen{reason="operator"}'

            async def is_frozen() -> bool:
                return await again.metric(frozen) == 1 and await are_absent(again, 1)

            await until(is_frozen)
            assert "evictions are frozen: works (li)" in await again.page("readyz")
            assert await sites_of(hub, "w") == [site]
            patch = {"data": FreezeWord(is_frozen=False, by="li", id="w2").to_data()}
            await hub.client.merge_patch(CONFIG_MAPS, FREEZE_MAP, patch, namespace=NAMESPACE)

            async def has_moved() -> bool:
                return await is_running(hub, "w") and site not in await sites_of(hub, "w")

            await until(has_moved)
