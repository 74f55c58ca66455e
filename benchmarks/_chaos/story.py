"""The events of a simulated day, drawn from a seed, as plain data.

An event holds its own end (`seconds`), so that any part of a story is a story: the shrinker leaves
events out and nothing stays half done.
"""

import random
from dataclasses import dataclass, field
from typing import Any

SITE_EVENTS = {
    "site-off": 8,
    "site-lost": 2,
    "link-cut": 8,
    "half-cut": 4,
    "flap": 3,
    "agent-restart": 4,
    "agent-disk": 2,
    "node-lost": 4,
    "slow": 4,
    "lie-capacity": 2,
    "lie-epoch": 2,
    "lie-bound": 2,
    "lie-unbound": 2,
    "lie-orders": 2,
    "cordon": 2,
    "drain": 4,
    "maintenance": 3,
    "evicting-taint": 2,
    "grant-gone": 2,
    "grant-lower": 2,
}
"""What happens to one site, and how often."""

HUB_EVENTS = {
    "scheduler-kill": 30,
    "deposed": 4,
    "hub-cut": 3,
    "api-errors": 6,
    "watches-end": 4,
    "watches-expire": 3,
    "broker-kill": 4,
    "broker-rollback": 3,
    "clock-jump": 3,
    "city-cut": 2,
    "fleet-cut": 1,
}
"""What happens to the hub, the broker, the schedulers or many sites, and how often."""

USER_EVENTS = {
    "burst": 4,
    "scale": 8,
    "delete": 5,
    "selector": 3,
    "job": 5,
}
"""What users do, and how often."""

OWN_EVENTS = {"own-site-off": 3, "own-site-drain": 4, "own-site-cut": 1, "own-fleet-off": 1}
"""What happens to a site where the hub itself runs, in a story that has it run on the fleet."""

KILLS = {"scheduler-kill": 16, "deposed": 2, "broker-kill": 1, "broker-rollback": 1}
"""What kills a process, and how often, in a story that asks for more kills."""

_KILL_PAUSES = (0.1, 0.3, 0.6, 1.0, 3.0)
"""Times between two kills, as shares of their mean: some are killed while they start."""

_REST_SECONDS = 900.0
"""The end of a story is quiet, so that what is wrong then stays wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens.

    Attributes:
        at: seconds since the start.
        kind: a key of the tables above.
        site: the site's number; -1: none.
        seconds: how long it lasts; 0: it is over at once.
        number: a number for what is drawn when it happens.
    """

    at: float
    kind: str
    site: int = -1
    seconds: float = 0.0
    number: int = 0

    def __str__(self) -> str:
        where = f" site {self.site}" if self.site >= 0 else ""
        lasts = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.at:8.0f} s {self.kind}{where}{lasts} #{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happens, and to what.

    Attributes:
        seed: of everything that is drawn.
        minutes: how long it lasts, in simulated minutes.
        sites: number of sites.
        workloads: number of workloads at the start.
        report_seconds: time between two reports of a site.
        events: what happens, in order of time.
        variant: how the scheduler is set, a key of `world.VARIANTS`.
        has_own_hub: broker and schedulers are work of the fleet, see `own_hub`.
    """

    seed: int
    minutes: float
    sites: int
    workloads: int
    report_seconds: float = 10.0
    events: tuple[Event, ...] = field(default=())
    variant: str = "kapok"
    has_own_hub: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts, in simulated seconds."""
        return self.minutes * 60.0


def draw_story(
    seed: int,
    *,
    minutes: float,
    sites: int,
    workloads: int,
    report_seconds: float,
    mean_pause_seconds: float,
    mean_kill_seconds: float | None = None,
    mean_own_seconds: float | None = None,
) -> Story:
    """A story of a seed.

    Args:
        seed: equal seeds give equal stories.
        minutes: how long it lasts.
        sites: number of sites.
        workloads: number of workloads at the start.
        report_seconds: time between two reports of a site.
        mean_pause_seconds: mean time between two events.
        mean_kill_seconds: mean time between two more kills; None: no more.
        mean_own_seconds: the hub runs on the fleet, and this is the mean time between two events
            at its own sites; None: it runs outside.
    """
    rng = random.Random(seed)  # noqa: S311 - a story, nothing secret
    kinds = {**SITE_EVENTS, **HUB_EVENTS, **USER_EVENTS}
    events = []
    rest = min(_REST_SECONDS, minutes * 60.0 / 2)
    at, end = min(240.0, rest / 2), minutes * 60.0 - rest
    while at < end:
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        seconds = min(rng.choice((20, 40, 90, 200, 400, 900)), max(20.0, end - at))
        site = rng.randrange(sites) if kind in SITE_EVENTS or kind == "city-cut" else -1
        events.append(Event(round(at, 1), kind, site, seconds, rng.randrange(1_000_000)))
        at += rng.expovariate(1.0 / mean_pause_seconds)
    if mean_kill_seconds is not None:
        events += _draw_kills(seed, min(240.0, rest / 2), end, mean_kill_seconds)
    if mean_own_seconds is not None:
        events += _draw_own(seed, min(240.0, rest / 2), end, mean_own_seconds)
    events.sort(key=lambda one: one.at)
    return Story(
        seed=seed,
        minutes=minutes,
        sites=sites,
        workloads=workloads,
        report_seconds=report_seconds,
        events=tuple(events),
        has_own_hub=mean_own_seconds is not None,
    )


def _draw_kills(seed: int, start: float, end: float, mean_seconds: float) -> list[Event]:
    """Kills from a source of their own: the other events of a seed stay what they are."""
    rng = random.Random(f"kills of {seed}")  # noqa: S311 - a story, nothing secret
    events, at = [], start
    while (at := at + mean_seconds * rng.choice(_KILL_PAUSES)) < end:
        kind = rng.choices(list(KILLS), list(KILLS.values()))[0]
        seconds = min(rng.choice((10, 20, 40)), max(10.0, end - at))
        events.append(Event(round(at, 1), kind, -1, seconds, rng.randrange(1_000_000)))
    return events


def _draw_own(seed: int, start: float, end: float, mean_seconds: float) -> list[Event]:
    """What happens to the hub's own sites, from a source of its own too."""
    rng = random.Random(f"own hub of {seed}")  # noqa: S311 - a story, nothing secret
    events, at = [], start
    while (at := at + rng.expovariate(1.0 / mean_seconds)) < end:
        kind = rng.choices(list(OWN_EVENTS), list(OWN_EVENTS.values()))[0]
        seconds = min(rng.choice((20, 60, 200, 400)), max(20.0, end - at))
        events.append(Event(round(at, 1), kind, -1, seconds, rng.randrange(1_000_000)))
    return events


# ------------------------------------------------------------ objects of the story

CITIES = (
    ("CN-GD", "guangzhou"),
    ("CN-GD", "shenzhen"),
    ("CN-GD", "shaoguan"),
    ("CN-GZ", "guiyang"),
)
CLASSES = ("general-1", "general-2", "general-3")
Raw = dict[str, Any]


def city_of(number: int) -> tuple[str, str]:
    """Province and city of a site."""
    return CITIES[number % len(CITIES)]


def site_body(number: int, key: str) -> Raw:
    """The Site of a number."""
    province, city = city_of(number)
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Site",
        "metadata": {"name": f"s{number}", "labels": {"pool": "ab"[number // 4 % 2]}},
        "spec": {
            "tier": "edge",
            "location": {"province": province, "city": city, "metro": city},
            "energy": {"gridZone": "CN-GD", "pue": 1.3, "pueOrigin": "assumed"},
            "prices": {"energyCnyPerKwh": 0.5 + number % 7 / 20, "coreCnyPerHour": 0.05},
            "delivery": {"mode": "Pull", "agentKeys": [key]},
        },
        "status": {},
    }


def grant_body(number: int, data_class: str | None = None) -> Raw:
    """The SiteGrant of a site; two of three sites may hold general-3."""
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "SiteGrant",
        "metadata": {"name": f"g{number}"},
        "spec": {
            "sites": [f"s{number}"],
            "dataClass": data_class or ("general-2" if number % 3 == 2 else "general-3"),  # noqa: PLR2004
            "protectionLevel": 3,
            "networkZones": ["public-network"],
            "jurisdiction": city_of(number)[0],
            "authority": "test",
            "document": "test",
        },
    }


def tenant_body() -> Raw:
    """The Tenant of all workloads."""
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "city"},
        "spec": {"namespaces": ["city"], "maxPriority": 1000},
    }


def workload_body(name: str, rng: random.Random, *, kind: str = "") -> Raw:
    """A workload: services, gangs, spread services, stateful sets, and jobs on order."""
    kind = kind or rng.choices(("Deployment", "gang", "spread", "StatefulSet"), (70, 10, 12, 8))[0]
    replicas = rng.choice((1, 1, 2, 2, 3, 4)) if kind != "spread" else rng.choice((2, 4))
    placement: Raw = {}
    if kind == "gang":
        placement["gang"] = True
    if kind == "spread":
        placement["spread"] = [{"by": "city", "minGroups": 2, "required": True}]
    if kind == "StatefulSet":
        placement["identity"] = "Whole"
    if rng.random() < 0.2:  # noqa: PLR2004 - a share
        placement["siteSelector"] = {"matchLabels": {"pool": rng.choice("ab")}}
    cores = rng.choice((1, 1, 2, 4))
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "city"},
        "spec": {
            "dataClass": rng.choice(CLASSES),
            "priority": rng.choice((0, 0, 100, 1000)),
            "imagePlatforms": ["linux/amd64"],
            "manifests": [_manifest(name, kind, replicas, cores), *_budget(name, kind, rng)],
            **({} if kind == "Job" else {"replicas": replicas}),
            "placement": placement,
        },
    }


def _budget(name: str, kind: str, rng: random.Random) -> list[Raw]:
    """The disruption budget of some services; one of ten forbids everything."""
    if kind != "Deployment" or rng.random() > 0.4:  # noqa: PLR2004 - a share
        return []
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {
                "maxUnavailable": int(rng.random() > 0.1),  # noqa: PLR2004 - a share
                "selector": {"matchLabels": {"app": name}},
            },
        }
    ]


def _manifest(name: str, kind: str, replicas: int, cores: int) -> Raw:
    kind = kind if kind in ("StatefulSet", "Job") else "Deployment"
    pod: Raw = {
        "containers": [
            {
                "name": "main",
                "image": "registry.example/app:1",
                "resources": {"requests": {"cpu": str(cores), "memory": f"{cores}Gi"}},
            }
        ]
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec: Raw = {"template": template}
    if kind == "Job":
        pod["restartPolicy"] = "Never"
        spec |= {"parallelism": replicas, "completions": replicas}
    else:
        spec |= {"replicas": replicas, "selector": {"matchLabels": labels}}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
