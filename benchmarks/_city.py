"""A synthetic country with the machines and pods of the public trace, generated from one seed."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import msgspec

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import DataClass, NetworkZone, Taint, Toleration
from scheduler.model.kinds.policy import LatencyBound, PriceList, Spread
from scheduler.model.kinds.rights import SiteGrantSpec
from scheduler.model.kinds.site import (
    Intensity,
    Location,
    NodeClass,
    Rtt,
    SiteEnergy,
    SitePrices,
    SiteSpec,
    SiteStatus,
    Tier,
)
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
FOLDER = "openb-gpu-v2023"
PODS_FILE = "openb_pod_list_default.csv"
NODES_FILE = "openb_node_list_all_node.csv"
_PROVINCES = ("CN-GD", "CN-GX", "CN-HN", "CN-GZ", "CN-SC", "CN-GS", "CN-NX", "CN-NM")
_TIERS: tuple[Tier, ...] = ("edge", "edge", "regional", "central")
_ZONES: tuple[NetworkZone, ...] = ("public-network", "internet-access", "dedicated-network")
_CLASSES: tuple[DataClass, ...] = ("general-1", "general-2", "general-3")
_HUBS = ("hub-0", "hub-1", "hub-2")


@dataclass(frozen=True, slots=True)
class MachineType:
    """A machine type of the public trace, or another one that a city has."""

    architecture: str
    vendor: str
    cores: int
    mebibytes: int
    cards: int
    model: str


_OTHERS = (
    MachineType("arm64", "kunpeng", 48, 192 * 1024, 0, ""),
    MachineType("amd64", "hygon", 32, 128 * 1024, 0, ""),
)


def _is_within_percent(random: Random, percent: int) -> bool:
    return random.randrange(100) < percent


def site(number: int, nodes: int, forms: Sequence[MachineType], random: Random) -> SiteFacts:
    """One site with its grant, its prices and its nodes."""
    name = f"site-{number:05d}"
    province = random.choice(_PROVINCES)
    grant = SiteGrantSpec(
        sites=(name,),
        data_class=random.choice(("general-2", "general-3", "general-3", "general-4")),
        protection_level=random.choice((2, 3, 3, 4)),
        network_zones=tuple(random.sample(_ZONES, random.choice((1, 2, 3)))),
        jurisdiction=province,
    )
    spec = SiteSpec(
        tier=random.choice(_TIERS),
        provider=random.choice(("a", "b", "c")),
        location=Location(
            province=province, city=f"{province}-{random.randrange(6)}", metro=f"{province}-m"
        ),
        energy=SiteEnergy(pue=round(random.uniform(1.1, 1.9), 2), pue_origin="estimated"),
        prices=SitePrices(
            energy_cny_per_kwh=round(random.uniform(0.3, 0.9), 3),
            core_cny_per_hour=round(random.uniform(0.02, 0.08), 4),
        ),
        taints=(Taint(key="maintenance"),) if _is_within_percent(random, 10) else (),
        cordon=_is_within_percent(random, 2),
    )
    return SiteFacts(
        name=name,
        spec=spec,
        status=_status(nodes, forms, random),
        grants=(Grant(name="g", spec=grant),),
    )


def _status(nodes: int, forms: Sequence[MachineType], random: Random) -> SiteStatus:
    grams = None if _is_within_percent(random, 5) else round(random.uniform(100, 900), 1)
    return SiteStatus(
        observed_at=NOW,
        api_kinds=("apps/v1/Deployment", "batch/v1/Job"),
        rtt=tuple(
            Rtt(to=hub, milliseconds=round(random.uniform(1, 60), 1), origin="modelled")
            for hub in _HUBS
        ),
        intensity=Intensity(gco2_per_kwh=grams, origin="measured"),
        node_classes=_node_classes(nodes, forms, random),
    )


def _node_classes(
    nodes: int, forms: Sequence[MachineType], random: Random
) -> tuple[NodeClass, ...]:
    """Two node classes: one of the trace, and one of the trace or another one."""
    chosen = (random.choice(forms), random.choice((random.choice(forms), *_OTHERS)))
    classes = []
    for place, form in enumerate(chosen):
        count = nodes // 2 + (nodes % 2) * place
        classes.append(
            NodeClass(
                labels={"zone": random.choice("abc"), "cores": str(form.cores)},
                architecture=form.architecture,
                cpu_vendor=form.vendor,
                gpu_model=form.model,
                free=_rows(count, form, random),
            )
        )
    return tuple(classes)


def _rows(
    count: int, form: MachineType, random: Random
) -> tuple[dict[str, int | float | str], ...]:
    rows = []
    for _ in range(count):
        row: dict[str, int | float | str] = {
            "count": 1,
            "cpu": f"{random.randrange(form.cores * 1000)}m",
            "memory": random.randrange(form.mebibytes) * 2**20,
            "pods": random.randrange(10, 110),
        }
        for card in range(form.cards):
            row[f"kapok.dev/gpu-milli.{card}"] = random.choice((0, 400, 1000, 1000))
        rows.append(row)
    return tuple(rows)


def next_report(facts: SiteFacts, random: Random) -> SiteFacts:
    """The site's next report: other free capacity, and all ordered replicas are bound."""
    classes = tuple(
        msgspec.structs.replace(each, free=_rows(len(each.free), _form_of(each), random))
        for each in facts.status.node_classes
    )
    return msgspec.structs.replace(
        facts, in_flight=(), status=msgspec.structs.replace(facts.status, node_classes=classes)
    )


def _form_of(node_class: NodeClass) -> MachineType:
    first = node_class.free[0]
    return MachineType(
        architecture=node_class.architecture,
        vendor=node_class.cpu_vendor,
        cores=int(node_class.labels["cores"]),
        mebibytes=4096 * int(node_class.labels["cores"]),
        cards=sum("gpu-milli" in name for name in first),
        model=node_class.gpu_model,
    )


def read_machines(data: Path | None) -> list[MachineType]:
    """The machine types of the public trace, each as often as it occurs.

    Raises:
        FileNotFoundError: the data set is missing.
    """
    return [
        MachineType(
            "amd64",
            "intel",
            int(row["cpu_milli"]) // 1000,
            int(row["memory_mib"]),
            int(row["gpu"]),
            row["model"],
        )
        for row in _read(data, NODES_FILE)
    ]


def read_shapes(data: Path | None) -> list[PodShape]:
    """The requests of the pods of the public trace.

    Raises:
        FileNotFoundError: the data set is missing.
    """
    return [_shape(row) for row in _read(data, PODS_FILE)]


def _read(data: Path | None, name: str) -> list[dict[str, str]]:
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {FOLDER}/")
    with (data / FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shape(row: dict[str, str]) -> PodShape:
    cards = int(row["num_gpu"])
    return PodShape(
        requests={
            "cpu": int(row["cpu_milli"]),
            "memory": int(row["memory_mib"]) * 2**20,
            "pods": 1,
        },
        gpu_cards=cards,
        gpu_milli=int(row["gpu_milli"]) if cards else 0,
    )


def demands(shapes: list[PodShape], count: int, random: Random) -> Iterator[Demand]:
    """Demands of a country.

    Half of them have requests of their own (those of the trace times 0.5 to 1.5), 20 % have spread
    constraints, 10 % have tolerations, 5 % have more than 1,000 replicas, 10 % can only be refused.
    """
    common = random.sample(shapes, min(100, len(shapes)))
    for number in range(count):
        is_new = _is_within_percent(random, 50)
        shape = _scaled(random.choice(shapes), random) if is_new else random.choice(common)
        yield _demand(number, shape, random)


def _scaled(shape: PodShape, random: Random) -> PodShape:
    factor = random.uniform(0.5, 1.5)
    requests = {
        name: amount if name == "pods" else max(1, round(amount * factor))
        for name, amount in shape.requests.items()
    }
    return msgspec.structs.replace(shape, requests=requests)


def _small(shape: PodShape, random: Random) -> PodShape:
    requests = {
        "cpu": random.randrange(10, 100),
        "memory": random.randrange(32, 256) * 2**20,
        "pods": 1,
    }
    return msgspec.structs.replace(shape, requests=requests, gpu_cards=0, gpu_milli=0)


def _demand(number: int, shape: PodShape, random: Random) -> Demand:
    is_refused = _is_within_percent(random, 10)
    is_large = _is_within_percent(random, 5)
    usual = (1, 1, 1, 2, 4) if shape.gpu_cards else (1, 2, 3, 5, 8, 12)
    replicas = random.randrange(1001, 3000) if is_large else random.choice(usual)
    if is_large:  # thousands of replicas are web servers, not training jobs
        shape = _small(shape, random)
    return Demand(
        key=f"ns-{number % 50}/app-{number}",
        replicas=replicas,
        unit=(Pods(shape=shape, count=1),),
        api_kinds=("apps/v1/Deployment",),
        data_class="core" if is_refused else random.choice(_CLASSES),
        protection_level=random.choice((1, 2, 3)),
        network_zones=tuple(sorted(random.sample(_ZONES, random.choice((0, 1, 1, 2))))),
        jurisdictions=(("CN",),) if _is_within_percent(random, 70) else (),
        architectures=random.choice((("amd64",), ("amd64", "arm64"))),
        site_tolerations=(
            (Toleration(key="maintenance", operator="Exists"),)
            if _is_within_percent(random, 10)
            else ()
        ),
        spread=_spread(random) if _is_within_percent(random, 20) else (),
        latency=(
            (LatencyBound(from_=random.choice(_HUBS), within_milliseconds=30.0),)
            if _is_within_percent(random, 30)
            else ()
        ),
        prices=PriceList(carbon_cny_per_kg=0.1, latency_cny_per_millisecond_hour=0.0001),
    )


def _spread(random: Random) -> tuple[Spread, ...]:
    return random.choice(
        (
            (Spread(by="province", max_groups=2),),
            (Spread(by="provider", min_groups=2, required=False),),
            (Spread(by="province", max_groups=3), Spread(by="site", max_per_group=4)),
        )
    )
