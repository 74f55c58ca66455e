"""What the API server knows of a resource: its names, its schema, what is special of its kind."""

from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import GroupResource
from scheduler.apiserver.kinds.names import dns_subdomain_problems
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem
from scheduler.hub.schema.structural import SchemaNode

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
class TableColumn:
    """A column of a Table."""

    name: str
    cell_of: Callable[[JsonObject], Json]
    """The cell of an object, or None."""
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    """0 always shown, above only with `-o wide`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where the scale subresource finds its figures, as keys from the root."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KindStrategy:
    """What a kind does beyond its schema. Functions change the object they get, or answer."""

    prepare_for_create: Callable[[JsonObject], None] = lambda _item: None
    prepare_for_update: Callable[[JsonObject, JsonObject], None] = lambda _item, _old: None
    set_defaults: Callable[[JsonObject], None] = lambda _item: None
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


@dataclass(slots=True, kw_only=True)
class ServerResource:
    """One resource in one version."""

    group_resource: GroupResource
    version: str
    singular: str
    namespaced: bool
    schema_node: SchemaNode
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    columns: tuple[TableColumn, ...] = ()
    is_custom: bool = False
    selectable_fields: frozenset[str] = frozenset()
    """Paths that field selectors may name, besides metadata.name and metadata.namespace."""
    scale_paths: ScalePaths | None = None
    strategy: KindStrategy = field(default_factory=KindStrategy)
    collection_name: str = ""
    """The collection; versions of one resource share it."""
    from_storage_version: Callable[[JsonObject], JsonObject] | None = None
    """From the stored form to this version's; None where they are equal."""
    to_storage_version: Callable[[JsonObject], JsonObject] | None = None
    openapi_name: str = ""
    """The name of its schema in OpenAPI."""
    deprecation_warning: str = ""
    """Sent with each request, for deprecated versions."""
    is_terminating: bool = False
    """Its definition is to be deleted: nothing new is taken."""
    crd_name: str = ""
    """The CustomResourceDefinition that it comes from."""

    def __post_init__(self) -> None:
        self.list_kind = self.list_kind or f"{self.group_resource.kind}List"
        self.collection_name = (
            self.collection_name or f"{self.group_resource.group}/{self.group_resource.plural}"
        )

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        group = self.group_resource.group
        return f"{group}/{self.version}" if group else self.version

    @property
    def has_status(self) -> bool:
        """Whether `status` is written through a subresource only."""
        return "status" in self.subresources

    def to_served_version(self, item: JsonObject) -> JsonObject:
        """A stored object in the version of this resource."""
        return self.from_storage_version(item) if self.from_storage_version else item

    def supports_field_selector(self, path: str) -> bool:
        """Whether a field selector may name a path."""
        if path == "metadata.name" or (path == "metadata.namespace" and self.namespaced):
            return True
        return path in self.selectable_fields


@dataclass(slots=True)
class ResourceCatalog:
    """All resources that are served now."""

    _by_path: dict[tuple[str, str, str], ServerResource] = field(default_factory=dict)
    change_count: int = 0
    """Grows with every change; what is derived from the catalog is cached under it."""

    def add(self, resource: ServerResource) -> None:
        """Serves a resource, or replaces what was served under its names."""
        key = (resource.group_resource.group, resource.version, resource.group_resource.plural)
        self._by_path[key] = resource
        self.change_count += 1

    def remove_crd(self, crd_name: str) -> None:
        """Stops serving what came from a CustomResourceDefinition."""
        for key in [key for key, found in self._by_path.items() if found.crd_name == crd_name]:
            del self._by_path[key]
        self.change_count += 1

    def find(self, group: str, version: str, plural: str) -> ServerResource | None:
        """The resource at a path."""
        return self._by_path.get((group, version, plural))

    def all(self) -> list[ServerResource]:
        """Every resource, in the order in which they were added."""
        return list(self._by_path.values())

    def find_by_collection(self, collection_name: str) -> ServerResource | None:
        """A resource that stands for a collection."""
        return next(
            (found for found in self._by_path.values() if found.collection_name == collection_name),
            None,
        )

    def find_by_kind(self, group: str, kind: str) -> ServerResource | None:
        """A resource by its kind, in any version."""
        for found in self._by_path.values():
            if found.group_resource.group == group and found.group_resource.kind == kind:
                return found
        return None
