"""What a demo runs: the objects of manifests/samples and the clusters of configs/demo.yaml."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, field

from scheduler.hub.schema.yaml_documents import load_documents
from scheduler.runtime.packaged_files import packaged_folder

Object = dict[str, Any]
SAMPLES_FOLDER = "samples"
SETTINGS_FILE = "demo.yaml"


class SamplesError(ValueError):
    """The shipped samples are inconsistent; the message names the file and what is missing."""


class _StrictStruct(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Refuses unknown fields, so that a typo is an error and not a silent default."""


class DemoCluster(_StrictStruct, frozen=True, kw_only=True):
    """Nodes of a member cluster, and figures of its site that a demo cannot measure.

    Attributes:
        nodes: in the form of `kapok simulate-cluster --spec`.
        power_watts: assumed power draw of the site; None: unknown.
        pv_watts: modelled peak of its own solar panels; None: it has none.
        intensity_gco2_per_kwh: yearly average carbon intensity of its grid; None: unknown.
    """

    nodes: Annotated[tuple[Object, ...], Meta(min_length=1)]
    power_watts: float | None = None
    pv_watts: float | None = None
    intensity_gco2_per_kwh: float | None = None


class DemoSize(_StrictStruct, frozen=True, kw_only=True):
    """A named size of the demo.

    Attributes:
        sites: names of the sites that take part; empty: all.
        workloads: namespace/name of the workloads that take part; empty: all.
    """

    sites: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()


class _Settings(_StrictStruct, frozen=True, kw_only=True):
    sizes: dict[str, DemoSize] = field(default_factory=dict)
    clusters: dict[str, DemoCluster] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Everything that a demo applies and simulates.

    Attributes:
        clusters: member clusters by site name, in the order of display.
        sites: Site objects by name.
        prerequisites: namespaces, tenants, grants and schemes, in the order to apply them.
        workloads: Workload objects.
    """

    clusters: Mapping[str, DemoCluster]
    sites: Mapping[str, Object]
    prerequisites: tuple[Object, ...]
    workloads: tuple[Object, ...]


def size_names() -> tuple[str, ...]:
    """Names of the demo's sizes, as for `--size`."""
    return tuple(_read_settings().sizes)


def load_samples(size: str) -> Samples:
    """Reads what a demo of this size runs.

    Raises:
        SamplesError: the shipped samples are inconsistent.
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
            f"{', '.join(missing)}: needs a Site in manifests/samples and a cluster in demo.yaml"
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
        for document in load_documents(path.read_text(encoding="utf-8")):
            if isinstance(document.value, dict):
                yield document.value


def _restrict_grant(item: Object, sites: set[str]) -> Object | None:
    """A SiteGrant reduced to the sites that take part; None: it grants no such site."""
    if item["kind"] != "SiteGrant":
        return item
    grant = copy.deepcopy(item)
    grant["spec"]["sites"] = [name for name in grant["spec"]["sites"] if name in sites]
    return grant if grant["spec"]["sites"] else None


def _select_workloads(objects: list[Object], names: tuple[str, ...]) -> tuple[Object, ...]:
    workloads = {key_of(o): o for o in objects if o["kind"] == "Workload"}
    missing = [name for name in names if name not in workloads]
    if missing:
        raise SamplesError(f"{', '.join(missing)}: no such Workload in manifests/samples")
    return tuple(workloads[name] for name in names or workloads)


def key_of(item: Mapping[str, Any]) -> str:
    """namespace/name of an object."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
