"""What a demo runs: the objects of manifests/samples and the clusters of configs/demo.yaml."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, field

from scheduler.runtime.packaged_files import packaged_folder

Object = dict[str, Any]
SAMPLES_FOLDER = "samples"
SETTINGS_FILE = "demo.yaml"


class SamplesError(ValueError):
    """What is shipped does not fit together; the message names the file and what is missing."""


class _StrictStruct(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Unknown fields are refused: a typo must not become a default."""


class DemoCluster(_StrictStruct, frozen=True, kw_only=True):
    """What a member cluster consists of, and what nobody measures in a demo.

    Attributes:
        nodes: as `kapok simulate-cluster --spec` takes them.
        power_watts: assumed draw of the site.
        pv_watts: modelled yield of its own roof; None: it has none.
        intensity_gco2_per_kwh: of its grid, a yearly factor; None: unknown.
    """

    nodes: Annotated[tuple[Object, ...], Meta(min_length=1)]
    power_watts: float | None = None
    pv_watts: float | None = None
    intensity_gco2_per_kwh: float | None = None


class DemoSize(_StrictStruct, frozen=True, kw_only=True):
    """Which sites and workloads ("namespace/name") take part; empty: all that there are."""

    sites: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()


class _Settings(_StrictStruct, frozen=True, kw_only=True):
    sizes: dict[str, DemoSize] = field(default_factory=dict)
    clusters: dict[str, DemoCluster] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that a demo applies and plays.

    Attributes:
        clusters: by site name, in the order in which they are shown.
        sites: Site objects by name.
        prerequisites: namespaces, tenants, grants and schemes, in the order of applying.
        workloads: Workload objects.
    """

    clusters: Mapping[str, DemoCluster]
    sites: Mapping[str, Object]
    prerequisites: tuple[Object, ...]
    workloads: tuple[Object, ...]


def size_names() -> tuple[str, ...]:
    """The names of the sizes."""
    return tuple(_read_settings().sizes)


def load_samples(size: str) -> Samples:
    """Reads what a demo of this size runs.

    Raises:
        SamplesError: what is shipped does not fit together.
    """
    settings, objects = (
        _read_settings(),
        list(_read_objects(packaged_folder("manifests") / SAMPLES_FOLDER)),
    )
    chosen = settings.sizes[size]
    sites = {o["metadata"]["name"]: o for o in objects if o["kind"] == "Site"}
    names = chosen.sites or tuple(settings.clusters)
    missing = [name for name in names if name not in sites or name not in settings.clusters]
    if missing:
        raise SamplesError(
            f"{', '.join(missing)}: needs a Site in samples and a cluster in demo.yaml"
        )
    rules = (o for o in objects if o["kind"] not in ("Site", "Workload"))
    return Samples(
        clusters={name: settings.clusters[name] for name in names},
        sites={name: sites[name] for name in names},
        prerequisites=tuple(
            only for rule in rules if (only := _restrict_grant(rule, set(names))) is not None
        ),
        workloads=_select_workloads(objects, chosen.workloads),
    )


def _read_settings() -> _Settings:
    path = packaged_folder("configs") / SETTINGS_FILE
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), _Settings)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SamplesError(f"{path}: {error}") from error


def _read_objects(folder: Path) -> Iterator[Object]:
    for path in sorted(folder.rglob("*.yaml")):
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if item:
                yield item


def _restrict_grant(item: Object, sites: set[str]) -> Object | None:
    """A grant names only sites that take part; one that names none is left out."""
    if item["kind"] != "SiteGrant":
        return item
    grant = copy.deepcopy(item)
    grant["spec"]["sites"] = [name for name in grant["spec"]["sites"] if name in sites]
    return grant if grant["spec"]["sites"] else None


def _select_workloads(objects: list[Object], names: tuple[str, ...]) -> tuple[Object, ...]:
    workloads = {key_of(o): o for o in objects if o["kind"] == "Workload"}
    missing = [name for name in names if name not in workloads]
    if missing:
        raise SamplesError(f"{', '.join(missing)}: no such Workload in samples")
    return tuple(workloads[name] for name in names or workloads)


def key_of(item: Object) -> str:
    """`namespace/name`."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
