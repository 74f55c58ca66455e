"""The YAML files that describe the clusters to simulate and their nodes.

There are two forms. `--nodes FILE` is a list of nodes, the same for every kubeconfig, or one file
for each:

    nodes:
    - {name: edge, count: 3, labels: {zone: a}, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}}

`--spec FILE` describes several clusters:

    clusters:
    - kubeconfig: members/nansha.yaml
      context: nansha
      startSeconds: 1
      nodes: [...]
      loads:
      - {namespace: health, name: web, usage: {cpu: 2500m, memory: 4Gi}}
"""

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import yaml
from msgspec import Meta, field

from scheduler.model.kinds.fields import Taint
from scheduler.model.quantities import NotAQuantity, free_amount

_Quantities = dict[str, str | int | float]
_Seconds = Annotated[float, Meta(ge=0, le=86_400)]
_DEFAULT_ALLOCATABLE: _Quantities = {"cpu": "8", "memory": "32Gi", "pods": "110"}


class InvalidDescription(ValueError):
    """A description is invalid; the message names file and field."""


class _StrictStruct(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Refuses unknown fields, so that a typo is an error and not a silent default."""


class NodeDescription(_StrictStruct, frozen=True, kw_only=True):
    """One node, or `count` equal nodes named NAME-0, NAME-1 and so on.

    Attributes:
        name: the node's name, or its prefix with `count`.
        count: number of nodes; None: exactly one, of this name.
        labels: labels beside the usual ones (hostname, architecture, operating system).
        annotations: annotations, for example a fault from the start.
        allocatable: allocatable resources; missing ones get their default.
        taints: taints, as in a Node.
        architecture: CPU architecture as Go names it, for example arm64.
    """

    name: Annotated[str, Meta(min_length=1, max_length=240, pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    count: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    allocatable: _Quantities = field(default_factory=dict)
    taints: list[Taint] = field(default_factory=list)
    architecture: str = "amd64"

    def expand(self) -> list["NodeDescription"]:
        """The single nodes, with all defaults filled in."""
        names = [self.name]
        if self.count is not None:
            names = [f"{self.name}-{number}" for number in range(self.count)]
        whole = {k: str(v) for k, v in {**_DEFAULT_ALLOCATABLE, **self.allocatable}.items()}
        return [
            msgspec.structs.replace(self, name=name, count=None, allocatable=whole)
            for name in names
        ]


class LoadDescription(_StrictStruct, frozen=True, kw_only=True):
    """What the pods of one Deployment or StatefulSet use in all; autoscalers act on it.

    Attributes:
        namespace: the namespace of the object.
        name: its name.
        usage: the amounts, by resource; the ready pods share them equally.
    """

    namespace: str
    name: str
    usage: _Quantities = field(default_factory=dict)


class ClusterDescription(_StrictStruct, frozen=True, kw_only=True):
    """One cluster to simulate.

    Attributes:
        kubeconfig: its kubeconfig, relative to the description.
        context: context of the kubeconfig; None: the current one.
        nodes: its nodes; empty: the existing ones, or three of a default size if there are none.
        start_seconds: time from the binding of a pod until it is Ready; None: the command's.
        loads: what the pods of scaled objects use.
    """

    kubeconfig: str
    context: str | None = None
    nodes: list[NodeDescription] = field(default_factory=list)
    start_seconds: _Seconds | None = None
    loads: list[LoadDescription] = field(default_factory=list)


class _NodesFile(_StrictStruct, frozen=True, kw_only=True):
    nodes: list[NodeDescription]


class _ClustersFile(_StrictStruct, frozen=True, kw_only=True):
    clusters: Annotated[list[ClusterDescription], Meta(min_length=1)]


_File = TypeVar("_File", _NodesFile, _ClustersFile)

DEFAULT_NODES = [NodeDescription(name="node", count=3)]


def read_nodes(path: Path) -> list[NodeDescription]:
    """Reads a file of `--nodes`.

    Raises:
        InvalidDescription: the file is invalid; the message names file and field.
    """
    nodes = _read(path, _NodesFile).nodes
    _check_nodes(path, nodes)
    return nodes


def read_clusters(path: Path) -> list[ClusterDescription]:
    """Reads the file of `--spec`; resolves its kubeconfigs relative to the file.

    Raises:
        InvalidDescription: the file is invalid; the message names file and field.
    """
    found = _read(path, _ClustersFile).clusters
    for cluster in found:
        _check_nodes(path, cluster.nodes)
        for load in cluster.loads:
            _check_quantities(path, f"loads: {load.namespace}/{load.name}", load.usage)
    return [
        msgspec.structs.replace(cluster, kubeconfig=str(path.parent / cluster.kubeconfig))
        for cluster in found
    ]


def _read(path: Path, file_type: type[_File]) -> _File:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidDescription(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidDescription(f"{path}: not YAML: {error}") from error
    try:
        return msgspec.convert(raw, file_type)
    except msgspec.ValidationError as error:
        raise InvalidDescription(f"{path}: {error}") from error


def _check_nodes(path: Path, nodes: list[NodeDescription]) -> None:
    seen: set[str] = set()
    for node in (single for described in nodes for single in described.expand()):
        if node.name in seen:
            raise InvalidDescription(f"{path}: nodes: duplicate node {node.name}")
        seen.add(node.name)
        _check_quantities(path, f"nodes: {node.name}", node.allocatable)


def _check_quantities(path: Path, where: str, amounts: _Quantities) -> None:
    for resource, quantity in amounts.items():
        try:
            free_amount(resource, quantity)
        except NotAQuantity as error:
            raise InvalidDescription(f"{path}: {where}: {resource}: {error}") from error
