"""What the events of a story do to the world, and how they end."""

from collections.abc import Iterable
from datetime import timedelta

from benchmarks._chaos import story as stories
from benchmarks._chaos.clock import START
from benchmarks._chaos.reports import LIES
from benchmarks._chaos.site import ChaosSite
from benchmarks._chaos.story import Event
from benchmarks._chaos.world import Happen, World
from scheduler.control.ports.hub import GRANTS, SITES, WORKLOADS, Object
from scheduler.model.formatters import format_rfc3339

_DEPOSED_SECONDS = 70.0
_TROUBLE_SECONDS = 60.0
_CLOCK_SECONDS = 60.0


async def happen(world: World, event: Event) -> None:
    """Lets an event happen now."""
    if event.kind == "scheduler-kill":
        for one in list(world.schedulers):
            await world.kill_scheduler(one)
        if world.own_hub is None or not world.own_hub.has_moved_in:
            world.start_scheduler()  # else its pod starts it again
        return
    if event.kind == "deposed":
        _depose(world)
        return
    HAPPENINGS[event.kind](world, event)


def _depose(world: World) -> None:
    """The leader's writes come late, another one takes over, and the first goes on for a while."""
    if len(world.schedulers) != 1 or world.own_hub is not None:
        return
    old = world.schedulers[0]
    old.access.delays_writes = old.is_deposed = True
    world.start_scheduler()
    for seconds in (20.0, 30.0, 45.0, _DEPOSED_SECONDS):
        world.later(seconds, world.hub.land_late)
    world.doomed.append((world.clock.monotonic() + _DEPOSED_SECONDS, old))


def _off(world: World, event: Event, *, loses_disk: bool) -> None:
    site = world.sites[event.site]
    if not site.is_running:
        return
    site.power_off()
    world.later(event.seconds, lambda: site.power_on(loses_disk=loses_disk))


def _cut(world: World, sites: Iterable[ChaosSite], seconds: float, *, up: bool = True) -> None:
    """Cuts links; `up` too, or only what the sites hear."""
    for site in sites:
        number = int(site.name[1:])
        until = world.clock.monotonic() + seconds
        world.cut_until[number] = max(world.cut_until.get(number, 0.0), until)
        site.hears = False
        site.speaks = site.speaks and not up
        world.broker.sites.pop(site.name, None)
        world.later(seconds, lambda site=site, number=number: _heal(world, site, number))  # type: ignore[misc]


def _heal(world: World, site: ChaosSite, number: int) -> None:
    if world.clock.monotonic() + 3 >= world.cut_until.get(number, 0.0):  # the last cut is over
        site.hears = site.speaks = True
        site.connect()


def _half_cut(world: World, event: Event) -> None:
    """Messages pass in one direction only."""
    site = world.sites[event.site]
    if event.number % 2:
        _cut(world, [site], event.seconds, up=False)
    else:
        site.speaks = False
        world.cut_until[event.site] = max(
            world.cut_until.get(event.site, 0.0), world.clock.monotonic() + event.seconds
        )
        world.later(event.seconds, lambda: _heal(world, site, event.site))


def _flap(world: World, event: Event) -> None:
    period = 30.0 + event.number % 100
    for turn in range(4):
        world.later(2 * turn * period, lambda: _cut(world, [world.sites[event.site]], period))


def _city_cut(world: World, event: Event) -> None:
    city = stories.city_of(event.site)
    numbers = range(len(world.sites))
    _cut(world, [world.sites[n] for n in numbers if stories.city_of(n) == city], event.seconds)


def _kill_broker(world: World, event: Event, *, rolls_back: bool) -> None:
    if not world.broker.is_up:
        return
    world.broker.stop()

    def start() -> None:
        own = world.own_hub
        if own is not None and own.has_moved_in and not own.broker_at:
            return  # no site runs it
        world.broker.start(rolls_back=rolls_back)
        for site in world.sites:
            site.connect()

    world.later(min(event.seconds, 60.0), start)


def _api_errors(world: World, event: Event) -> None:
    world.hub.fault_ratio = 0.05 + event.number % 50 / 100
    world.later(event.seconds, lambda: _end_api_errors(world))


def _end_api_errors(world: World) -> None:
    world.hub.fault_ratio = 0.0
    world.hub.land_late()


def _hub_cut(world: World, event: Event) -> None:
    for one in world.schedulers:
        one.access.is_cut = True
        world.later(event.seconds, lambda one=one: setattr(one.access, "is_cut", False))  # type: ignore[misc]
    world.hub.end_watches(compacts=False)


def _clock_jump(world: World, event: Event) -> None:
    world.clock.jump_seconds = float(event.number % 7200 - 3600)
    until = world.clock.monotonic() + event.seconds + _CLOCK_SECONDS
    world.clock.right_from_seconds = max(world.clock.right_from_seconds, until)
    world.later(event.seconds, lambda: setattr(world.clock, "jump_seconds", 0.0))


def _with(field: str) -> Happen:
    """Sets a field of the site, and unsets it at the end."""

    def do(world: World, event: Event) -> None:
        site = world.sites[event.site]
        name, _, value = field.partition("=")
        setattr(site, name, value or True)
        world.later(event.seconds, lambda: setattr(site, name, "" if value else False))

    return do


def _edit_site(world: World, event: Event, now: Object, after: Object) -> None:
    name = f"s{event.site}"
    world.hub.edit(SITES, name, {"spec": now})
    world.later(event.seconds, lambda: world.hub.edit(SITES, name, {"spec": after}))


def _cordon(world: World, event: Event) -> None:
    _edit_site(world, event, {"cordon": True}, {"cordon": None})


def _drain(world: World, event: Event) -> None:
    """An operator empties a site and opens it again; every third time by force."""
    word = {"cordon": True, "drain": {"force": event.number % 3 == 0}}
    _edit_site(world, event, word, {"cordon": None, "drain": None})


def _maintenance(world: World, event: Event) -> None:
    """A window that begins soon, or some time from now, and that is forgotten when it is over."""
    begins = START + timedelta(seconds=world.clock.monotonic() + (60, 600, 1200)[event.number % 3])
    ends = begins + timedelta(seconds=event.seconds)
    window = {"from": format_rfc3339(begins), "until": format_rfc3339(ends), "reason": "chaos"}
    _edit_site(world, event, {"maintenance": [window]}, {"maintenance": None})


def _taint(world: World, event: Event) -> None:
    taint = {"key": "chaos", "value": "", "effect": "NoExecute"}
    _edit_site(world, event, {"taints": [taint]}, {"taints": None})


def _grant_gone(world: World, event: Event) -> None:
    world.hub.remove(GRANTS, f"g{event.site}")
    body = stories.grant_body(event.site)
    world.later(event.seconds, lambda: world.hub.put(GRANTS, body))


def _grant_lower(world: World, event: Event) -> None:
    if world.hub.find(GRANTS, f"g{event.site}") is None:
        return
    world.hub.put(GRANTS, stories.grant_body(event.site, "general-1"))
    body = stories.grant_body(event.site)
    world.later(event.seconds, lambda: world.hub.put(GRANTS, body))


def _burst(world: World, event: Event) -> None:
    for _ in range(1 + event.number % max(2, world.story.workloads // 20)):
        world.add_workload()


def _job(world: World, event: Event) -> None:
    for _ in range(1 + event.number % 3):
        world.add_workload("Job")


def _some_workload(world: World, event: Event) -> Object | None:
    every = [
        one for one in world.hub.every(WORKLOADS) if "deletionTimestamp" not in one["metadata"]
    ]
    return every[event.number % len(every)] if every else None


def _scale(world: World, event: Event) -> None:
    found = _some_workload(world, event)
    if found is not None and "replicas" in found["spec"]:
        spread = bool(found["spec"]["placement"].get("spread"))
        replicas = 2 + 2 * (event.number % 2) if spread else 1 + event.number % 5
        world.hub.edit(
            WORKLOADS, found["metadata"]["name"], {"spec": {"replicas": replicas}}, "city"
        )


def _delete(world: World, event: Event) -> None:
    found = _some_workload(world, event)
    if found is not None:
        world.hub.remove(WORKLOADS, found["metadata"]["name"], "city")


def _selector(world: World, event: Event) -> None:
    """A policy change: the workload may run in one pool only, or anywhere again."""
    found = _some_workload(world, event)
    if found is None:
        return
    pool = ("a", "b", None)[event.number % 3]
    selector = {"matchLabels": {"pool": pool}} if pool else None
    patch = {"spec": {"placement": {"siteSelector": selector}}}
    world.hub.edit(WORKLOADS, found["metadata"]["name"], patch, "city")


def _lose_node(world: World, event: Event) -> None:
    site = world.sites[event.site]
    if site.is_running:
        site.lose_node()
        world.later(event.seconds, site.add_node)


def _own_site_off(world: World, event: Event) -> None:
    """The power of a site where the hub runs: broker and scheduler end with it."""
    host = world.own_hub.host(world, event.number) if world.own_hub else None
    if host is not None:
        host.power_off()
        world.later(event.seconds, lambda: host.power_on(loses_disk=False))


def _own_fleet_off(world: World, event: Event) -> None:
    """The power of every site: nothing runs, and all of it starts from the disks of the agents."""
    for site in world.sites:
        if site.is_running:
            site.power_off()
            world.later(event.seconds, lambda site=site: site.power_on(loses_disk=False))  # type: ignore[misc]


def _own_site_drain(world: World, event: Event) -> None:
    """An operator has the scheduler empty the site where it runs itself."""
    host = world.own_hub.host(world, event.number) if world.own_hub else None
    if host is not None:
        here = Event(event.at, "drain", int(host.name[1:]), event.seconds, event.number)
        _drain(world, here)


def _own_site_cut(world: World, event: Event) -> None:
    host = world.own_hub.host(world, event.number) if world.own_hub else None
    if host is not None:
        _cut(world, [host], event.seconds)


HAPPENINGS: dict[str, Happen] = {
    "site-off": lambda world, event: _off(world, event, loses_disk=False),
    "site-lost": lambda world, event: _off(world, event, loses_disk=True),
    "link-cut": lambda world, event: _cut(world, [world.sites[event.site]], event.seconds),
    "half-cut": _half_cut,
    "flap": _flap,
    "agent-restart": lambda world, event: world.sites[event.site].boot(),
    "agent-disk": lambda world, event: world.sites[event.site].lose_agent_disk(),
    "node-lost": _lose_node,
    "slow": _with("is_slow"),
    **{f"lie-{name}": _with(f"lies={name}") for name in LIES},
    "cordon": _cordon,
    "drain": _drain,
    "maintenance": _maintenance,
    "evicting-taint": _taint,
    "grant-gone": _grant_gone,
    "grant-lower": _grant_lower,
    "hub-cut": _hub_cut,
    "api-errors": _api_errors,
    "watches-end": lambda world, _event: world.hub.end_watches(compacts=False),
    "watches-expire": lambda world, _event: world.hub.end_watches(compacts=True),
    "broker-kill": lambda world, event: _kill_broker(world, event, rolls_back=False),
    "broker-rollback": lambda world, event: _kill_broker(world, event, rolls_back=True),
    "clock-jump": _clock_jump,
    "city-cut": _city_cut,
    "fleet-cut": lambda world, event: _cut(
        world, [s for n, s in enumerate(world.sites) if n % 4 != event.number % 4], event.seconds
    ),
    "burst": _burst,
    "scale": _scale,
    "delete": _delete,
    "selector": _selector,
    "job": _job,
    "own-site-off": _own_site_off,
    "own-site-drain": _own_site_drain,
    "own-site-cut": _own_site_cut,
    "own-fleet-off": _own_fleet_off,
    "old-disk": lambda world, event: world.sites[event.site].roll_disk_back(),
}
"""What each kind does; no seed draws the last one, which breaks a promise on purpose."""
