"""The resources that the API server serves: names, schema, and the strategy of the kind."""

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
    """Returns the cell of an object, or None."""
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    """0: always shown; greater: only with `-o wide`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """The paths of the scale subresource, as keys from the root of the object."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KindStrategy:
    """The behaviour of a kind beyond its schema.

    `prepare_for_create`, `prepare_for_update` and `set_defaults` change the object in place.
    """

    prepare_for_create: Callable[[JsonObject], None] = lambda _item: None
    prepare_for_update: Callable[[JsonObject, JsonObject], None] = lambda _item, _old: None
    set_defaults: Callable[[JsonObject], None] = lambda _item: None
    problems: Callable[[JsonObject, JsonObject | None], list[FieldProblem]] = lambda _item, _old: []
    """Returns the problems of an object, and of the change from the old one if there is one."""
    on_accepted: Callable[[JsonObject, JsonObject | None], None] = lambda _item, _old: None
    """Called beside the event loop with a valid object that is about to be written."""
    name_problems: Callable[[str], list[str]] = dns_subdomain_problems
    has_generation: bool = True
    generation_follows_labels: bool = False
    """Whether other labels raise the generation too."""
    status_on_create: bool = False
    """Whether a new object keeps the status that the client sends, as nodes do."""
    deletion_finalizer: str = ""
    """The finalizer that a deletion adds and the garbage collector removes; empty: none."""
    returns_deleted: bool = False
    """Whether the response to a deletion is the object instead of a Status."""
    not_enforced: str = ""
    """What writers are warned of: the server stores the kind and does not act on it."""


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
    """The paths that field selectors may use besides metadata.name and metadata.namespace."""
    scale_paths: ScalePaths | None = None
    strategy: KindStrategy = field(default_factory=KindStrategy)
    collection_name: str = ""
    """The name of the collection; all versions of a resource share it. Default: `GROUP/PLURAL`."""
    from_storage_version: Callable[[JsonObject], JsonObject] | None = None
    """Converts from the storage version to this version; None if they are equal."""
    to_storage_version: Callable[[JsonObject], JsonObject] | None = None
    openapi_name: str = ""
    """The name of the schema in OpenAPI documents."""
    deprecation_warning: str = ""
    """The warning for each request on a deprecated version; empty: not deprecated."""
    is_terminating: bool = False
    """Whether the definition is being deleted; then new objects are refused."""
    crd_name: str = ""
    """The name of the CustomResourceDefinition; empty for core kinds."""

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
        """Whether the resource has a status subresource."""
        return "status" in self.subresources

    def to_served_version(self, item: JsonObject) -> JsonObject:
        """A stored object in the version of this resource."""
        return self.from_storage_version(item) if self.from_storage_version else item

    def supports_field_selector(self, path: str) -> bool:
        """Whether a field selector may use a path."""
        if path == "metadata.name" or (path == "metadata.namespace" and self.namespaced):
            return True
        return path in self.selectable_fields


@dataclass(slots=True)
class ResourceCatalog:
    """The resources that are currently served."""

    _by_path: dict[tuple[str, str, str], ServerResource] = field(default_factory=dict)
    change_count: int = 0
    """Increases with each change; a key for caches of data derived from the catalog."""

    def add(self, resource: ServerResource) -> None:
        """Adds a resource, or replaces the one at its path."""
        key = (resource.group_resource.group, resource.version, resource.group_resource.plural)
        self._by_path[key] = resource
        self.change_count += 1

    def remove_crd(self, crd_name: str) -> None:
        """Removes the resources of a CustomResourceDefinition."""
        for key in [key for key, found in self._by_path.items() if found.crd_name == crd_name]:
            del self._by_path[key]
        self.change_count += 1

    def find(self, group: str, version: str, plural: str) -> ServerResource | None:
        """The resource at a path; None if it is not served."""
        return self._by_path.get((group, version, plural))

    def all(self) -> list[ServerResource]:
        """All resources, in the order in which they were added."""
        return list(self._by_path.values())

    def find_by_collection(self, collection_name: str) -> ServerResource | None:
        """One of the resources of a collection; None if there is none."""
        return next(
            (found for found in self._by_path.values() if found.collection_name == collection_name),
            None,
        )

    def find_by_kind(self, group: str, kind: str) -> ServerResource | None:
        """A resource by its kind, in any version; None if the kind is not served."""
        for found in self._by_path.values():
            if found.group_resource.group == group and found.group_resource.kind == kind:
                return found
        return None
