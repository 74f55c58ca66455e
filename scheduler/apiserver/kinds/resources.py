"""What the API server knows of a resource: its names, its schema, what is special of its kind."""

from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import Subject
from scheduler.apiserver.kinds.names import dns_subdomain_problems
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem
from scheduler.hub.schema.structural import Node

ALL_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Table."""

    name: str
    value: Callable[[JsonObject], Json]
    """The cell of an object, or None."""
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    """0 always shown, above only with `-o wide`."""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its figures, as keys from the root."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a kind does beyond its schema. Functions change the object they get, or answer."""

    on_create: Callable[[JsonObject], None] = lambda _item: None
    on_update: Callable[[JsonObject, JsonObject], None] = lambda _item, _old: None
    defaults: Callable[[JsonObject], None] = lambda _item: None
    problems: Callable[[JsonObject, JsonObject | None], list[FieldProblem]] = lambda _item, _old: []
    """Of an object, and of the change from the old one."""
    name_problems: Callable[[str], list[str]] = dns_subdomain_problems
    has_generation: bool = True
    status_on_create: bool = False
    """A new object may bring its status: nodes do."""
    deletion_finalizer: str = ""
    """Given to an object when it is deleted, for the collector to take off."""
    returns_deleted: bool = False
    """Deleting answers with the object instead of a Status."""


@dataclass(slots=True)
class Resource:
    """One resource in one version."""

    subject: Subject
    version: str
    singular: str
    namespaced: bool
    node: Node
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    columns: tuple[Column, ...] = ()
    custom: bool = False
    fields: frozenset[str] = frozenset()
    """Paths that field selectors may name, besides metadata.name and metadata.namespace."""
    scale: ScalePaths | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)
    storage: str = ""
    """The collection; versions of one resource share it."""
    to_view: Callable[[JsonObject], JsonObject] | None = None
    """From the stored form to this version's; None where they are equal."""
    from_view: Callable[[JsonObject], JsonObject] | None = None
    definition: str = ""
    """The name of its schema in OpenAPI."""
    warning: str = ""
    """Sent with each request, for deprecated versions."""
    is_terminating: bool = False
    """Its definition is to be deleted: nothing new is taken."""
    owner: str = ""
    """The CustomResourceDefinition that it comes from."""

    def __post_init__(self) -> None:
        self.list_kind = self.list_kind or f"{self.subject.kind}List"
        self.storage = self.storage or f"{self.subject.group}/{self.subject.plural}"

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        group = self.subject.group
        return f"{group}/{self.version}" if group else self.version

    @property
    def has_status(self) -> bool:
        """Whether `status` is written through a subresource only."""
        return "status" in self.subresources

    def supports_field(self, path: str) -> bool:
        """Whether a field selector may name a path."""
        if path == "metadata.name" or (path == "metadata.namespace" and self.namespaced):
            return True
        return path in self.fields


@dataclass(slots=True)
class Catalog:
    """All resources that are served now."""

    _by_path: dict[tuple[str, str, str], Resource] = field(default_factory=dict)
    stamp: int = 0
    """Grows with every change; what is derived from the catalog is cached under it."""

    def add(self, resource: Resource) -> None:
        """Serves a resource, or replaces what was served under its names."""
        key = (resource.subject.group, resource.version, resource.subject.plural)
        self._by_path[key] = resource
        self.stamp += 1

    def remove_owned(self, owner: str) -> None:
        """Stops serving what came from a CustomResourceDefinition."""
        for key in [key for key, found in self._by_path.items() if found.owner == owner]:
            del self._by_path[key]
        self.stamp += 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path."""
        return self._by_path.get((group, version, plural))

    def all(self) -> list[Resource]:
        """Every resource, in the order in which they were added."""
        return list(self._by_path.values())

    def of_storage(self, storage: str) -> Resource | None:
        """A resource that stands for a collection."""
        return next((found for found in self._by_path.values() if found.storage == storage), None)

    def by_kind(self, group: str, kind: str) -> Resource | None:
        """A resource by its kind, in any version."""
        for found in self._by_path.values():
            if found.subject.group == group and found.subject.kind == kind:
                return found
        return None
